package deviceauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/longwire/longwire/internal/private"
)

// loadJWKS reads a set of keys. It ignores keys for encryption and keys of
// unsupported kinds, as RFC 7517 §5 says. A broken key is an error, and so is a member
// that comes twice (§4).
func (s *KeySet) loadJWKS(text []byte) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := private.Pick(text, &set, "keys"); err != nil || set.Keys == nil {
		return errors.New(`not a JWKS: want a JSON object with "keys"`)
	}
	for i, text := range set.Keys {
		var j jwk
		if err := private.Pick(text, &j, "kty", "kid", "use", "key_ops", "alg", "crv", "n", "e", "x", "y", "k", "d"); err != nil {
			return fmt.Errorf("key %d cannot be read: a member is there twice, or of another type", i+1)
		}
		k, err := j.key()
		switch {
		case err != nil:
			return fmt.Errorf("key %d (kid %q): %w", i+1, j.ID, err)
		case k.alg == "" || j.Algorithm != "" && j.Algorithm != k.alg:
			s.Ignored++
		default:
			if err := s.add(j.ID, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// jwk is one key of a JWKS (RFC 7517, 7518, 8037).
type jwk struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid"`
	Use       string   `json:"use"`
	Uses      []string `json:"key_ops"` // nil = any
	Algorithm string   `json:"alg"`
	Curve     string   `json:"crv"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
	K         string   `json:"k"`
	D         string   `json:"d"`
}

// forSignatures reports whether the key is for signatures that the gateway knows, as far
// as it says.
func (j *jwk) forSignatures() bool {
	return (j.Use == "" || j.Use == "sig") && (j.Uses == nil || slices.Contains(j.Uses, "verify")) &&
		(j.Algorithm == "" || slices.Contains(algorithms, j.Algorithm))
}

// key returns the key that j describes. The result has no algorithm if the gateway
// does not verify with that kind of key, or the key is for another use. No error reveals
// the key's material.
func (j *jwk) key() (signingKey, error) {
	if j.D != "" {
		return signingKey{}, errors.New("a private key; only the signer needs it, want the public key")
	}
	switch {
	case !j.forSignatures():
		return signingKey{}, nil
	case j.Type == "oct":
		return j.secret()
	case j.Type == "RSA":
		return j.rsa()
	case j.Type == "EC" && j.Curve == "P-256":
		return j.ecdsa()
	case j.Type == "OKP" && j.Curve == "Ed25519":
		x, err := decodeMember(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return signingKey{}, errors.New("x is not 32 bytes in base64url")
		}
		return publicKey(ed25519.PublicKey(x))
	}
	return signingKey{}, nil
}

func (j *jwk) secret() (signingKey, error) {
	k, err := decodeMember(j.K)
	if err != nil {
		return signingKey{}, errors.New("k is not base64url")
	}
	if len(k) < minSecret {
		return signingKey{}, errors.New("k is shorter than 32 bytes: a secret that short can be guessed from one token")
	}
	return signingKey{alg: "HS256", key: k}, nil
}

func (j *jwk) rsa() (signingKey, error) {
	n, err1 := decodeMember(j.N)
	e, err2 := decodeMember(j.E)
	if err1 != nil || err2 != nil || len(n) == 0 || len(e) == 0 || len(e) > 4 {
		return signingKey{}, errors.New("n or e is not base64url, or e is too large")
	}
	return publicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())})
}

func (j *jwk) ecdsa() (signingKey, error) {
	x, err1 := decodeMember(j.X)
	y, err2 := decodeMember(j.Y)
	if err1 != nil || err2 != nil || len(x) != 32 || len(y) != 32 {
		return signingKey{}, errors.New("x or y is not 32 bytes in base64url")
	}
	point := append(append([]byte{4}, x...), y...) // uncompressed
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return signingKey{}, errors.New("x and y are not a point on P-256")
	}
	return publicKey(k)
}

func decodeMember(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
