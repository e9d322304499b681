package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/longwire/longwire/internal/private"
)

// Files names the files of a listener, all in PEM.
type Files struct {
	Cert     string // the certificate, then those between it and its root
	Key      string // its private key
	ClientCA string // authorities of client certificates; "" for none
}

// maxFile bounds the bytes of one file.
const maxFile = 1 << 20

// material is the content of Files.
type material struct {
	cert tls.Certificate // with its Leaf
	cas  *x509.CertPool  // nil without Files.ClientCA
}

// load reads the files. The error names the faulty file. A key or an authority
// that another user can change is an error.
func (f Files) load() (m material, err error) {
	for _, name := range []string{f.Key, f.ClientCA} {
		if err := private.Trusted(name); err != nil {
			return m, err
		}
	}
	cert, err := readFile(f.Cert)
	if err != nil {
		return m, err
	}
	key, err := readFile(f.Key)
	if err != nil {
		return m, err
	}
	if m.cert, err = tls.X509KeyPair(cert, key); err != nil {
		return m, fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)
	}
	if f.ClientCA == "" {
		return m, nil
	}
	pem, err := readFile(f.ClientCA)
	if err != nil {
		return m, err
	}
	m.cas = x509.NewCertPool()
	if !m.cas.AppendCertsFromPEM(pem) {
		return m, fmt.Errorf("%s: no certificate in it", f.ClientCA)
	}
	return m, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return b, nil
}

// state is the metadata of the files, symbolic links followed, which shows a
// change without reading them. nil stands for a missing file.
type state [3]os.FileInfo

func (f Files) look() (st state, err error) {
	var errs []error
	for i, name := range []string{f.Cert, f.Key, f.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		st[i] = info
	}
	return st, errors.Join(errs...)
}

func (st state) same(as state) bool {
	for i, a := range st {
		b := as[i]
		if a == nil || b == nil {
			if a != b {
				return false
			}
			continue
		}
		if !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
			return false
		}
	}
	return true
}
