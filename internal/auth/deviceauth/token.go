package deviceauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// A device token is TokenPrefix and base64url of 24 random bytes and their
// CRC-32:
//
//	lwd_<32 characters of secret><6 of checksum>
//
// The prefix lets secret scanners find it, the checksum tells a typing error
// from a wrong token. Only its SHA-256 is kept. That is enough because the
// secret has 192 random bits: there is no dictionary to try, and a slow hash
// would only cost the gateway time at each registration. For the same reason a
// secret that a person has chosen cannot be one: what has not this form is
// never looked up.
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

// WellFormed reports whether token has the form of one of ours. It says nothing
// about whether it is valid anywhere.
func WellFormed(token string) bool {
	body, ok := strings.CutPrefix(token, TokenPrefix)
	if !ok || len(token) != tokenLength {
		return false
	}
	var b [secretBytes + 4]byte
	n, err := tokenEncoding.Decode(b[:], []byte(body))
	return err == nil && n == len(b) && crc32.ChecksumIEEE(b[:secretBytes]) == binary.BigEndian.Uint32(b[secretBytes:])
}

// HashToken is what is kept of a token.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
