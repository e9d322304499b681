package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"strings"
)

// A secret is the prefix, 43 random letters and digits (256 bits of entropy) and
// a checksum of 6. The checksum shows a mistyped or cut key without a lookup, and
// scanners for leaked keys find few false ones.
const (
	SecretPrefix = "lwk_"
	randomLen    = 43
	checksumLen  = 6
	secretLen    = len(SecretPrefix) + randomLen + checksumLen

	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// ErrMistyped means that a secret was never generated.
var ErrMistyped = errors.New("the API key is mistyped: its checksum does not fit")

func newSecret() string {
	b := make([]byte, 0, secretLen)
	b = append(b, SecretPrefix...)
	for buf := make([]byte, 64); len(b) < len(SecretPrefix)+randomLen; {
		rand.Read(buf) // never fails: crypto/rand aborts the process instead
		for _, r := range buf {
			// 248 is the largest multiple of 62 in a byte, so all letters are
			// equally likely.
			if r < 248 && len(b) < len(SecretPrefix)+randomLen {
				b = append(b, alphabet[r%62])
			}
		}
	}
	return string(append(b, checksum(string(b[len(SecretPrefix):]))...))
}

// checksum is the CRC-32 of s in base 62.
func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var b [checksumLen]byte
	for i := checksumLen - 1; i >= 0; i-- {
		b[i] = alphabet[sum%62]
		sum /= 62
	}
	return string(b[:])
}

// CheckSecret returns ErrMistyped for a secret that has the form of a generated
// one but a wrong checksum. A configured secret, as in auth.api_keys, may have
// any form.
func CheckSecret(secret string) error {
	rest, ok := strings.CutPrefix(secret, SecretPrefix)
	if !ok || len(secret) != secretLen {
		return nil
	}
	if checksum(rest[:randomLen]) != rest[randomLen:] {
		return ErrMistyped
	}
	return nil
}

// digest is the stored hash of a secret. A fast hash is enough, and it runs on
// every request: a slow one only protects secrets that can be guessed, and 256
// random bits cannot.
func digest(secret string) [sha256.Size]byte {
	var buf [128]byte // on the stack
	if len(secret) > len(buf) {
		return sha256.Sum256([]byte(secret))
	}
	return sha256.Sum256(buf[:copy(buf[:], secret)])
}
