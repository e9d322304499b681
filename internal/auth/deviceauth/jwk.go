package deviceauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
)

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
