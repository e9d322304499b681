package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/internal/config"
)

// identity is a certificate that signs itself, in files.
type identity struct {
	cert, key string
	pool      *x509.CertPool
	expires   time.Time
}

func newIdentity(t *testing.T, dir, name string) identity {
	t.Helper()
	return newIdentityFor(t, dir, name, 24*time.Hour)
}

func newIdentityFor(t *testing.T, dir, name string, life time.Duration) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := identity{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"), x509.NewCertPool(), leaf.NotAfter}
	id.pool.AddCert(leaf)
	for file, block := range map[string]*pem.Block{id.cert: {Type: "CERTIFICATE", Bytes: der}, id.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// A device with a certificate of its own and a backend over HTTPS, on a process
// that takes nothing else from devices.
func TestEverythingOverTLS(t *testing.T) {
	dir := t.TempDir()
	server, own := newIdentity(t, dir, "server"), newIdentity(t, dir, "device")
	cfg := testConfig(filepath.Join(dir, "data"))
	cfg.TCP.TLS, cfg.TCP.TLSCertFile, cfg.TCP.TLSKeyFile = config.Required, server.cert, server.key
	cfg.TCP.TLSClientAuth, cfg.TCP.TLSClientCAFile = config.Required, own.cert
	cfg.HTTP.TLSCertFile, cfg.HTTP.TLSKeyFile = server.cert, server.key
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	a := start(t, cfg)

	pair, err := tls.LoadX509KeyPair(own.cert, own.key)
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.New(device.Config{Addr: a.TCPAddr().String(), ID: "d", TLS: &tls.Config{RootCAs: server.pool, Certificates: []tls.Certificate{pair}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	c, err := client.New("https://"+a.HTTPAddr().String(), client.WithRootCAs(server.pool))
	if err != nil {
		t.Fatal(err)
	}
	push, err := c.Push(ctx, "d", client.Push{Payload: client.Text("hello"), Wait: 20 * time.Second, QueueUnknown: true})
	if err != nil || push.Status != "acked" {
		t.Fatalf("push = %+v, %v, want acked", push, err)
	}
	got, err := c.Client(ctx, "d")
	if err != nil || got.Transport != "tls" {
		t.Errorf("client = %+v, %v, want transport tls", got, err)
	}
	page, proto := fetch(t, server.pool, "https://"+a.HTTPAddr().String()+"/metrics")
	if proto != "HTTP/2.0" {
		t.Errorf("the API spoke %s, want HTTP/2.0", proto)
	}
	for _, want := range []string{`longwire_tls_certificate_expiry_timestamp_seconds{listener="http"} `, `longwire_tls_certificate_expiry_timestamp_seconds{listener="tcp"} `,
		`longwire_tls_certificate_loads_total{listener="tcp"} 1`, `longwire_tls_certificate_failures_total{listener="tcp"} 0`, "longwire_tcp_tls_handshakes_total 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

func fetch(t *testing.T, roots *x509.CertPool, url string) (body, proto string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.Proto
}

// A certificate that cannot be read is found before anything listens.
func TestStartWithoutItsCertificateFails(t *testing.T) {
	dir := t.TempDir()
	server := newIdentity(t, dir, "server")
	for name, set := range map[string]func(*config.Config){
		"tcp": func(c *config.Config) {
			c.TCP.TLS, c.TCP.TLSCertFile, c.TCP.TLSKeyFile = config.Optional, server.cert, "absent.key"
		},
		"http": func(c *config.Config) { c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile = "absent.pem", server.key },
	} {
		cfg := testConfig(filepath.Join(dir, name))
		set(cfg)
		if a, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "certificate of "+name) || !strings.Contains(err.Error(), "absent") {
			t.Errorf("%s: New = %v, %v, want an error that names the file", name, a, err)
		}
	}
}
