package deviceauth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/longwire/longwire/internal/private"
	"github.com/longwire/longwire/internal/watch"
)

// Bounds of signing keys.
const (
	maxKeyFile = 1 << 20 // bytes
	maxKeys    = 256
	minRSA     = 2048 // bits
	maxRSA     = 8192 // bits; larger keys take longer to verify with
	minSecret  = 32   // bytes of an HMAC key, the size of its hash (RFC 7518 §3.2)
)

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// signingKey is one key and its one algorithm. A token cannot choose: the algorithm
// in its header must be this one.
type signingKey struct {
	alg string // one of algorithms
	key any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey

	print fingerprint // set by KeySet.add
}

// KeySet holds the keys that sign tokens, by their ids. Several are valid at once,
// so that an operator can add a new key before removing the old one.
type KeySet struct {
	keys    map[string]signingKey
	prints  map[fingerprint]bool // of keys
	Ignored int                  // keys of a JWKS that have other uses
}

func newKeySet() *KeySet {
	return &KeySet{keys: make(map[string]signingKey), prints: make(map[fingerprint]bool)}
}

// errNoKeys is the error of LoadKeys with an empty set.
var errNoKeys = errors.New("no key for HS256, RS256, ES256 or EdDSA")

// LoadKeys reads a JWKS file (RFC 7517), a PEM file with a public key or a
// certificate, or a directory of such files. The id of a key in a PEM file is
// the file's name without its ending.
func LoadKeys(name string) (*KeySet, error) {
	files := []string{name}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if files, err = watch.In(name); err != nil {
			return nil, err
		}
	}
	s := newKeySet()
	for _, f := range files {
		if err := s.load(f); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	if len(s.keys) == 0 {
		return s, fmt.Errorf("%s: %w", name, errNoKeys)
	}
	return s, nil
}

func (s *KeySet) load(file string) error {
	b, err := private.ReadTrusted(file, maxKeyFile)
	if err != nil {
		return err
	}
	if text := bytes.TrimSpace(b); len(text) > 0 && text[0] == '{' {
		return s.loadJWKS(text)
	}
	base := filepath.Base(file)
	return s.loadPEM(strings.TrimSuffix(base, filepath.Ext(base)), b)
}

func (s *KeySet) add(id string, k signingKey) error {
	if _, ok := s.keys[id]; ok {
		return fmt.Errorf("a second key with the id %q", id)
	}
	if len(s.keys) == maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	k.print = printKey(k.key)
	s.keys[id] = k
	s.prints[k.print] = true
	return nil
}

// Secrets returns the file or directory of keys if one of them signs as well as it
// verifies (HS256). Then no other user may read it. For a file that cannot be
// loaded it returns none.
func Secrets(name string) []private.Place {
	if s, err := LoadKeys(name); err == nil {
		return s.secrets(name)
	}
	return nil
}

func (s *KeySet) secrets(name string) []private.Place {
	for _, k := range s.keys {
		if _, ok := k.key.([]byte); ok {
			return []private.Place{{Kind: "secrets of signed device tokens", Path: name}}
		}
	}
	return nil
}

// printKey is the fingerprint of a public key or of a secret. The forms of the two
// differ, so that they cannot be confused.
func printKey(k any) fingerprint {
	if secret, ok := k.([]byte); ok {
		return sha256.Sum256(append([]byte("HS256 "), secret...))
	}
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		panic(err) // publicKey has accepted only three kinds
	}
	return sha256.Sum256(der)
}

// loadPEM reads the one public key of a PEM file.
func (s *KeySet) loadPEM(id string, text []byte) error {
	block, rest := pem.Decode(text)
	if block == nil {
		return errors.New("neither a JWKS nor PEM")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return errors.New("more than one PEM block; give each key a separate file, whose name is the key's id")
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE") {
			return errors.New("a private key; only the signer needs it, want the public key")
		}
		return fmt.Errorf("a PEM block %q; want PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return err
	}
	k, err := publicKey(public)
	if err != nil {
		return err
	}
	return s.add(id, k)
}

// publicKey pins the algorithm of a public key.
func publicKey(public any) (signingKey, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA || k.E < 3 {
			return signingKey{}, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSA, maxRSA)
		}
		return signingKey{alg: "RS256", key: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return signingKey{}, errors.New("an elliptic curve other than P-256")
		}
		return signingKey{alg: "ES256", key: k}, nil
	case ed25519.PublicKey:
		return signingKey{alg: "EdDSA", key: k}, nil
	}
	return signingKey{}, fmt.Errorf("a key of type %T; want RSA, P-256 or Ed25519", public)
}
