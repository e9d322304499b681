package deviceauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/longwire/longwire/internal/private"
)

// authorities are the client CAs that are trusted now. The TLS handshake has
// verified a device's chain against them. The Authenticator looks at them to notice
// a removed one.
type authorities map[fingerprint]bool

// authorityPrint identifies an authority by its name and key, as chains do. A
// renewed certificate of the authority has the same print.
func authorityPrint(c *x509.Certificate) (p fingerprint) {
	h := sha256.New()
	name := sha256.Sum256(c.RawSubject) // hashed to a fixed length, so that name and key cannot be confused
	h.Write(name[:])
	h.Write(c.RawSubjectPublicKeyInfo)
	h.Sum(p[:0])
	return p
}

// readAuthorities reads the certificates of authorities.
func readAuthorities(name string) (authorities, error) {
	certificates, err := readCertificates(name)
	if err != nil {
		return nil, err
	}
	list := make(authorities)
	for _, c := range certificates {
		list[authorityPrint(c)] = true
	}
	return list, nil
}

// readCertificates reads the certificates of a PEM file. It skips other blocks, as
// the listener does.
func readCertificates(name string) (list []*x509.Certificate, err error) {
	text, err := private.ReadTrusted(name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", name)
	}
	return list, nil
}
