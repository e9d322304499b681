package deviceauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// A device token is TokenPrefix and base64url of 24 random bytes and their CRC-32:
//
//	lwd_<32 characters of secret><6 of checksum>
//
// Secret scanners find the prefix. The checksum distinguishes a typing error from a
// wrong token. Files contain only its SHA-256. That is enough because the secret
// has 192 random bits: an attacker has no dictionary to try, and a slow hash would
// only cost the gateway time at each registration. For the same reason a secret
// chosen by a person cannot be a token: the gateway never looks up a text without
// this form.
const (
	TokenPrefix = "lwd_"
	secretBytes = 24
	tokenLength = len(TokenPrefix) + 38
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// NewToken returns a new random token.
func NewToken() string {
	var b [secretBytes + 4]byte
	rand.Read(b[:secretBytes]) // never fails
	binary.BigEndian.PutUint32(b[secretBytes:], crc32.ChecksumIEEE(b[:secretBytes]))
	return TokenPrefix + tokenEncoding.EncodeToString(b[:])
}

// WellFormed reports whether token has the form of a device token. The token need
// not be valid anywhere.
func WellFormed(token string) bool {
	body, ok := strings.CutPrefix(token, TokenPrefix)
	if !ok || len(token) != tokenLength {
		return false
	}
	var b [secretBytes + 4]byte
	n, err := tokenEncoding.Decode(b[:], []byte(body))
	return err == nil && n == len(b) && crc32.ChecksumIEEE(b[:secretBytes]) == binary.BigEndian.Uint32(b[secretBytes:])
}

// HashToken returns the hash that files keep instead of the token.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
