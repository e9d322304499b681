package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"github.com/longwire/longwire/internal/private"
)

// tlsFlags select how a simulated device encrypts.
type tlsFlags struct {
	on            bool
	ca, cert, key string
}

func (f *tlsFlags) add(fl *pflag.FlagSet) {
	fl.BoolVar(&f.on, "tls", false, "speak TLS; so do --ca and --cert")
	fl.StringVar(&f.ca, "ca", "", "PEM file of the authorities that may sign the gateway's certificate, instead of the system's")
	fl.StringVar(&f.cert, "cert", "", "PEM file of the device's own certificate")
	fl.StringVar(&f.key, "key", "", "PEM file of its private key")
}

// dialer returns the function that makes the device's connections.
func (f *tlsFlags) dialer() (func(ctx context.Context, addr string) (net.Conn, error), error) {
	if (f.cert == "") != (f.key == "") {
		return nil, usagef("--cert and --key go together")
	}
	if !f.on && f.ca == "" && f.cert == "" {
		return func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if f.ca != "" {
		pool, err := readCAs(f.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		cfg.RootCAs = pool
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	d := &tls.Dialer{Config: cfg}
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }, nil
}

// maxCAFile bounds the bytes read of a file of authorities.
const maxCAFile = 1 << 20

func readCAs(name string) (*x509.CertPool, error) {
	pem, err := readBounded(name, maxCAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(private.WithoutMark(pem)) {
		return nil, fmt.Errorf("%s: no certificate in it", name)
	}
	return pool, nil
}
