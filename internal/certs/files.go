package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/longwire/longwire/internal/private"
)

// Files names the files of a listener, all in PEM.
type Files struct {
	Cert     string // the certificate, then those between it and its root
	Key      string // its private key
	ClientCA string // authorities of client certificates; "" for none
}

// names returns those of the files.
func (f Files) names() []string {
	if f.ClientCA == "" {
		return []string{f.Cert, f.Key}
	}
	return []string{f.Cert, f.Key, f.ClientCA}
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
	cert, err := private.Read(f.Cert, maxFile)
	if err != nil {
		return m, err
	}
	key, err := private.ReadTrusted(f.Key, maxFile)
	if err != nil {
		return m, err
	}
	if m.cert, err = tls.X509KeyPair(cert, key); err != nil {
		return m, fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)
	}
	if f.ClientCA == "" {
		return m, nil
	}
	pem, err := private.ReadTrusted(f.ClientCA, maxFile)
	if err != nil {
		return m, err
	}
	m.cas = x509.NewCertPool()
	if !m.cas.AppendCertsFromPEM(pem) {
		return m, fmt.Errorf("%s: no certificate in it", f.ClientCA)
	}
	return m, nil
}
