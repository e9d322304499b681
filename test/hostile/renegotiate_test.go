package hostile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
)

// tls12 is a TLS 1.2 connection whose keys are known, so that it can send what
// package tls never would: handshake messages after the handshake.
type tls12 struct {
	*tls.Conn
	below *recorder
	aead  cipher.AEAD
	iv    []byte // 4 bytes, implicit
	sent  uint64 // records under these keys
}

// recorder keeps what the server says during the handshake: its random is in
// there.
type recorder struct {
	net.Conn
	in bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if r.in.Len() < 256 {
		r.in.Write(p[:n])
	}
	return n, err
}

func (s *site) tls12(conn net.Conn) *tls12 {
	s.Helper()
	var keys strings.Builder // "CLIENT_RANDOM <random> <master secret>"
	below := &recorder{Conn: conn}
	c := tls.Client(below, &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, KeyLogWriter: &keys, SessionTicketsDisabled: true,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err := c.Handshake(); err != nil {
		s.Fatal(err)
	}
	var clientRandom, master []byte
	if _, err := fmt.Sscanf(keys.String(), "CLIENT_RANDOM %x %x", &clientRandom, &master); err != nil {
		s.Fatalf("key log %q: %v", keys.String(), err)
	}
	// A record header of 5 bytes, a handshake header of 4, the version, the random.
	serverRandom := below.in.Bytes()[11:43]
	block := prf12(master, "key expansion", append(bytes.Clone(serverRandom), clientRandom...), 40)
	key, err := aes.NewCipher(block[:16]) // the client's write key; 32:36 is its IV
	if err != nil {
		s.Fatal(err)
	}
	aead, err := cipher.NewGCM(key)
	if err != nil {
		s.Fatal(err)
	}
	return &tls12{c, below, aead, block[32:36], 1} // the client's Finished had the number 0
}

const recordHandshake, recordData = 0x16, 0x17

// sendRecord sends a message in a record of its own (RFC 5288 §3).
func (c *tls12) sendRecord(kind byte, message string) error {
	explicit := binary.BigEndian.AppendUint64(nil, c.sent)
	c.sent++
	head := []byte{kind, 3, 3}
	extra := append(bytes.Clone(explicit), head...)
	extra = binary.BigEndian.AppendUint16(extra, uint16(len(message)))
	sealed := c.aead.Seal(nil, append(bytes.Clone(c.iv), explicit...), []byte(message), extra)
	record := binary.BigEndian.AppendUint16(head, uint16(len(explicit)+len(sealed)))
	_, err := c.below.Write(append(append(record, explicit...), sealed...))
	return err
}

// prf12 is P_SHA256 (RFC 5246 §5).
func prf12(secret []byte, label string, seed []byte, n int) (out []byte) {
	seed = append([]byte(label), seed...)
	sum := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}
