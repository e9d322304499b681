package certs

import (
	"bufio"
	"bytes"
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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a certificate that signs itself, as PEM.
type pair struct {
	leaf      *x509.Certificate
	cert, key []byte
}

func newPair(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

func (p pair) tls(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rename replaces a file in one step.
func rename(t *testing.T, name string, b []byte) {
	t.Helper()
	write(t, name+".new", b)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// fixture is a reloader with its own directory of files and its log.
type fixture struct {
	*testing.T
	Files
	*Reloader
	log *bytes.Buffer
}

func open(t *testing.T, first pair, change func(*Options)) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{T: t, Files: Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}, log: new(bytes.Buffer)}
	write(t, f.Cert, first.cert)
	write(t, f.Key, first.key)
	o := Options{Listener: "tcp", Logger: slog.New(slog.NewTextHandler(f.log, nil)), Files: f.Files}
	if change != nil {
		change(&o)
	}
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Reloader, f.Files = k, o.Files
	return f
}

// handshake returns the client's view of the server, and the server's verdict.
func (f *fixture) handshake(client *tls.Config) (tls.ConnectionState, error) {
	f.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	verdict := make(chan error, 1)
	go func() {
		s := tls.Server(theirs, f.Config())
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		theirs.Close()
		verdict <- err
	}()
	c := tls.Client(wide{ours, bufio.NewReaderSize(ours, 64<<10)}, client)
	if err := c.Handshake(); err != nil {
		f.Fatalf("client: %v", err)
	}
	io.ReadAll(c) // so that a ticket arrives
	return c.ConnectionState(), <-verdict
}

// wide is the end of a pipe that takes a whole write in one read, so that
// neither end waits for the other to read the rest.
type wide struct {
	net.Conn
	in *bufio.Reader
}

func (w wide) Read(p []byte) (int, error) { return w.in.Read(p) }

// wantServed checks whose certificate the next handshake gets.
func (f *fixture) wantServed(name string) {
	f.Helper()
	state, err := f.handshake(&tls.Config{InsecureSkipVerify: true})
	if err != nil {
		f.Fatal(err)
	}
	if got := state.PeerCertificates[0].Subject.CommonName; got != name {
		f.Errorf("served the certificate of %s, want %s", got, name)
	}
}

func (f *fixture) wantStats(loads, failures uint64, expires time.Time) {
	f.Helper()
	if got, want := f.Stats(), (Stats{expires, loads, failures}); !got.NotAfter.Equal(want.NotAfter) || got.Loads != loads || got.Failures != failures {
		f.Errorf("stats = %+v, want %+v", got, want)
	}
}

func TestChangedFilesAreUsed(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	for name, replace := range map[string]func(f *fixture){
		"written in place": func(f *fixture) { write(t, f.Cert, b.cert); write(t, f.Key, b.key) },
		"renamed":          func(f *fixture) { rename(t, f.Key, b.key); rename(t, f.Cert, b.cert) },
		"same times": func(f *fixture) {
			info, err := os.Stat(f.Cert)
			if err != nil {
				t.Fatal(err)
			}
			rename(t, f.Key, b.key)
			rename(t, f.Cert, b.cert)
			for _, name := range []string{f.Cert, f.Key} {
				if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, a, nil)
			f.T = t
			f.Refresh()
			f.wantServed("a")
			f.wantStats(1, 0, a.leaf.NotAfter)
			replace(f)
			f.Refresh()
			f.wantServed("b")
			f.wantStats(2, 0, b.leaf.NotAfter)
			if !strings.Contains(f.log.String(), `msg="certificate loaded" listener=tcp`) {
				t.Errorf("the log does not tell: %s", f.log)
			}
		})
	}
}

// Kubernetes mounts secrets as links into a directory that a link names, and
// moves that one.
func TestSymlinkThatMoves(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	dir := t.TempDir()
	for name, p := range map[string]pair{"one": a, "two": b} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "tls.crt"), p.cert)
		write(t, filepath.Join(dir, name, "tls.key"), p.key)
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("one", "..data")
	link("..data/tls.crt", "tls.crt")
	link("..data/tls.key", "tls.key")
	f := open(t, a, func(o *Options) {
		o.Files = Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	})
	f.wantServed("a")
	link("two", "..data")
	f.Refresh()
	f.wantServed("b")
}

// Unusable files are logged once and change nothing; usable files that follow are
// loaded.
func TestBrokenFilesChangeNothing(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	for name, damage := range map[string]func(f *fixture){
		"a torn certificate":  func(f *fixture) { write(t, f.Cert, b.cert[:len(b.cert)/2]) },
		"an empty file":       func(f *fixture) { write(t, f.Key, nil) },
		"only the new key":    func(f *fixture) { rename(t, f.Key, b.key) },
		"a missing file":      func(f *fixture) { os.Remove(f.Cert) },
		"an endless file":     func(f *fixture) { write(t, f.Cert, append(bytes.Repeat([]byte("#"), maxFile), b.cert...)) },
		"text without a cert": func(f *fixture) { write(t, f.Cert, []byte("not PEM")) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, a, nil)
			f.T = t
			damage(f)
			for range 3 {
				f.Refresh()
			}
			f.wantServed("a")
			f.wantStats(1, 1, a.leaf.NotAfter)
			if got := strings.Count(f.log.String(), "cannot be used"); got != 1 {
				t.Errorf("told %d times, want once: %s", got, f.log)
			}
			write(t, f.Cert, b.cert)
			write(t, f.Key, b.key)
			f.Refresh()
			f.wantServed("b")
			f.wantStats(2, 1, b.leaf.NotAfter)
		})
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	dir := t.TempDir()
	in := func(name string, b []byte) string { name = filepath.Join(dir, name); write(t, name, b); return name }
	good, key := in("good.pem", a.cert), in("good.key", a.key)
	for _, c := range []struct {
		Files
		want string
	}{
		{Files{Cert: filepath.Join(dir, "absent.pem"), Key: key}, "absent.pem"},
		{Files{Cert: good, Key: in("other.key", b.key)}, "other.key"},
		{Files{Cert: good, Key: key, ClientCA: in("empty.pem", nil)}, "empty.pem: no certificate"},
	} {
		if _, err := Open(Options{Listener: "http", Files: c.Files}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "of http") {
			t.Errorf("Open(%+v) = %v, want it to name the listener and %s", c.Files, err, c.want)
		}
	}
}

func TestExpiredCertificateIsTold(t *testing.T) {
	a := newPair(t, "a")
	synctest.Test(t, func(t *testing.T) {
		// In a bubble it is the year 2000: this waits for the end of a's life.
		time.Sleep(time.Until(a.leaf.NotAfter) + time.Second)
		f := open(t, a, nil)
		if !strings.Contains(f.log.String(), "the certificate has expired") {
			t.Errorf("the log does not tell: %s", f.log)
		}
	})
}

// The client's authorities are watched like the rest, and a session from before
// does not outlive the authority that vouched for it.
func TestClientAuthoritiesAreReplaced(t *testing.T) {
	server, old, next := newPair(t, "server"), newPair(t, "old"), newPair(t, "next")
	f := open(t, server, func(o *Options) {
		o.ClientCA = filepath.Join(filepath.Dir(o.Cert), "ca.pem")
		o.ClientAuth = tls.RequireAndVerifyClientCert
		write(t, o.ClientCA, old.cert)
	})
	client := func(p pair) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { c := p.tls(t); return &c, nil }}
	}
	was, is := client(old), client(next)
	want := func(cfg *tls.Config, when string, ok, resumed bool) {
		t.Helper()
		state, err := f.handshake(cfg)
		if (err == nil) != ok || state.DidResume != resumed {
			t.Errorf("%s: %v, resumed %v; want ok %v, resumed %v", when, err, state.DidResume, ok, resumed)
		}
	}
	want(was, "known authority", true, false)
	want(was, "with a ticket", true, true)
	want(is, "unknown authority", false, false)
	rename(t, f.ClientCA, next.cert)
	f.Refresh()
	want(is, "new authority", true, false)
	want(was, "with a ticket from before", false, false)
}

// Tickets outlast a new certificate.
func TestTicketsOutlastAReload(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	f := open(t, a, nil)
	cfg := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if _, err := f.handshake(cfg); err != nil {
		t.Fatal(err)
	}
	rename(t, f.Key, b.key)
	rename(t, f.Cert, b.cert)
	f.Refresh()
	if state, err := f.handshake(cfg); err != nil || !state.DidResume {
		t.Errorf("resumed %v, %v; want true", state.DidResume, err)
	}
}

func TestWatchLooksEveryFewSeconds(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	synctest.Test(t, func(t *testing.T) {
		f := open(t, a, nil)
		f.Start()
		defer f.Stop()
		rename(t, f.Key, b.key)
		rename(t, f.Cert, b.cert)
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		f.wantStats(1, 0, a.leaf.NotAfter)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		f.wantStats(2, 0, b.leaf.NotAfter)
	})
}

func TestProtocolsAreOffered(t *testing.T) {
	f := open(t, newPair(t, "a"), func(o *Options) { o.Protocols = []string{"h2", "http/1.1"} })
	state, err := f.handshake(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1", "h2"}})
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("negotiated %q, %v, want h2", state.NegotiatedProtocol, err)
	}
}
