package tcpserver

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, Subject: pkix.Name{CommonName: "authority"}})
	return a
}

func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter, template.BasicConstraintsValid = big.NewInt(1), time.Now().Add(24*time.Hour), true
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue returns a certificate for a server at localhost or for a client.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// server and client are the two ends' configurations.
func (a *authority) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue("localhost")}}
}

func (a *authority) client() *tls.Config {
	return &tls.Config{RootCAs: a.pool(), ServerName: "localhost"}
}

// speakTLS puts TLS over d's connection and reads from then on.
func (d *device) speakTLS(cfg *tls.Config) error {
	t := tls.Client(wide{d.nc, bufio.NewReaderSize(d.nc, 64<<10)}, cfg)
	if err := t.Handshake(); err != nil {
		return err
	}
	d.nc = t
	d.read()
	return nil
}

// wide is the end of a pipe that takes a whole write in one read, so that
// neither end waits for the other to read the rest.
type wide struct {
	net.Conn
	in *bufio.Reader
}

func (w wide) Read(p []byte) (int, error) { return w.in.Read(p) }

// told is what the gateway was told by devices that wanted to register.
type told struct{ hellos chan gateway.Hello }

func (w *world) listenToHellos() *told {
	all := &told{make(chan gateway.Hello, 100)}
	w.gw.onConnect = func(h gateway.Hello) error { all.hellos <- h; return nil }
	return all
}

func (w *world) wantRefused(reason string, want uint64) {
	w.Helper()
	synctest.Wait()
	if got := w.srv.Stats().Refused[reason]; got != want {
		w.Errorf("refused for %s = %d, want %d", reason, got, want)
	}
}

func (w *world) wantEndedFor(reason string, want uint64) {
	w.Helper()
	synctest.Wait()
	if got := w.srv.Stats().Closed[reason]; got != want {
		w.Errorf("closed for %s = %d, want %d", reason, got, want)
	}
}

// wantNobody checks that no connection is left and that each one accepted has
// been counted as closed.
func (w *world) wantNobody() {
	w.Helper()
	synctest.Wait()
	s := w.srv.Stats()
	closed := uint64(0)
	for _, n := range s.Closed {
		closed += n
	}
	if s.Open != 0 || s.Unregistered != 0 || s.Accepted != closed {
		w.Errorf("%d open, %d unregistered, %d accepted, %d closed; want none left", s.Open, s.Unregistered, s.Accepted, closed)
	}
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	if w.srv.unregistered.Len() != 0 || len(w.srv.entering) != 0 {
		w.Errorf("%d places and %d preambles are left", w.srv.unregistered.Len(), len(w.srv.entering))
	}
}

func TestTLSAndPlainOnOnePort(t *testing.T) {
	a := newAuthority(t)
	inBubble(t, func(w *world) {
		told := w.listenToHellos()
		for transport, prepare := range map[string]func(*device) error{
			"tls": func(d *device) error { return d.speakTLS(a.client()) },
			"tcp": func(d *device) error { d.read(); return nil },
		} {
			for dialect, register := range map[string]string{"v1": "\x01#d", "v2": string(registerFrame("d")), "text": "REGISTER d\n"} {
				d := w.dialSilently("192.0.2.1:1000")
				if err := prepare(d); err != nil {
					t.Fatal(err)
				}
				d.send(register)
				h := <-told.hellos
				if h.Transport != transport || h.Dialect != dialect || h.Certificate != nil {
					t.Errorf("%s over %s came as %s over %s, certificate %v", dialect, transport, h.Dialect, h.Transport, h.Certificate)
				}
				if got := w.gw.session("d").link.Stats().Transport; got != transport {
					t.Errorf("transport of the link = %s, want %s", got, transport)
				}
				if d.heard() == "" {
					t.Errorf("%s over %s: no answer", dialect, transport)
				}
				d.nc.Close()
				synctest.Wait()
			}
		}
		w.wantNobody()
		if got := w.srv.Stats().TLSHandshakes; got != 3 {
			t.Errorf("handshakes = %d, want 3", got)
		}
	}, func(c *Config) { c.TLS = a.server() })
}

func TestPlainIsRefusedWhereTLSIsRequired(t *testing.T) {
	a := newAuthority(t)
	for said, want := range map[string]string{
		"\x01#d":                   "\x02#er",
		string(registerFrame("d")): "\x07\x02\x2c\x0d\xac\x00\x00\x00\x00tls_required: this port takes TLS only",
		"REGISTER d\n":             "CLOSE 3500 0 tls_required: this port takes TLS only\n",
		"R":                        "CLOSE 3500 0 tls_required: this port takes TLS only\n",
		"\x00\x00":                 "",
	} {
		inBubble(t, func(w *world) {
			d := w.dial()
			d.send(said)
			w.pass(time.Second)
			d.wantHeard(want)
			if d.closedAt() < 0 {
				t.Error("the connection is open")
			}
			w.wantSaid("")
			w.wantRefused("tls_required", 1)
			w.wantNobody()
		}, func(c *Config) { c.TLS, c.TLSRequired = a.server(), true })
	}
}

func TestClientCertificateReachesTheGateway(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	for name, c := range map[string]struct {
		auth tls.ClientAuthType
		show []tls.Certificate
		want string // common name; "none", or "refused"
	}{
		"required and shown":        {tls.RequireAndVerifyClientCert, []tls.Certificate{a.issue("d")}, "d"},
		"required and missing":      {tls.RequireAndVerifyClientCert, nil, "refused"},
		"required, of a stranger":   {tls.RequireAndVerifyClientCert, []tls.Certificate{stranger.issue("d")}, "refused"},
		"optional and shown":        {tls.VerifyClientCertIfGiven, []tls.Certificate{a.issue("d")}, "d"},
		"optional and missing":      {tls.VerifyClientCertIfGiven, nil, "none"},
		"optional, of a stranger":   {tls.VerifyClientCertIfGiven, []tls.Certificate{stranger.issue("d")}, "refused"},
		"asked for, never verified": {tls.RequestClientCert, []tls.Certificate{stranger.issue("d")}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				told := w.listenToHellos()
				client := a.client()
				// Whatever the server asks for: this is what the device shows.
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(c.show) == 0 {
						return &tls.Certificate{}, nil
					}
					return &c.show[0], nil
				}
				d := w.dialSilently("192.0.2.1:1000")
				if err := d.speakTLS(client); err != nil {
					t.Fatal(err) // in TLS 1.3 the refusal comes after the client's end of it
				}
				io.WriteString(d.nc, "REGISTER d\n")
				w.pass(0)
				got := "refused"
				select {
				case h := <-told.hellos:
					if got = "none"; h.Certificate != nil {
						got = h.Certificate.Subject.CommonName
					}
				default:
					w.wantEndedFor("tls_handshake", 1)
					w.wantNobody()
				}
				if got != c.want {
					t.Errorf("certificate = %s, want %s", got, c.want)
				}
				d.nc.Close()
			}, func(cfg *Config) {
				cfg.TLS = a.server()
				cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = c.auth, a.pool()
			})
		})
	}
}

// What comes before REGISTER, and REGISTER itself, has the register deadline in
// all, however slowly it goes on.
func TestDripFedBeginningsEndAtTheRegisterDeadline(t *testing.T) {
	a := newAuthority(t)
	hello := helloOf(t, a.client())
	for name, c := range map[string]struct {
		bytes string
		where func(*Config)
	}{
		"register":         {"REGISTER a-device-with-a-long-name", nil},
		"register, framed": {string(registerFrame("a-device-with-a-long-name")), nil},
		"TLS hello":        {string(hello), func(c *Config) { c.TLS = a.server() }},
		"plain beside TLS": {"REGISTER a-device-with-a-long-name", func(c *Config) { c.TLS = a.server() }},
		"PROXY line":       {"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\nREGISTER d\n", trustEverybody},
		"PROXY frame":      {string(proxyFrame("203.0.113.7:51000")) + "REGISTER d\n", trustEverybody},
		"PROXY, then TLS":  {string(proxyFrame("203.0.113.7:51000")) + string(hello), func(c *Config) { trustEverybody(c); c.TLS = a.server() }},
		"silence":          {"", func(c *Config) { trustEverybody(c); c.TLS = a.server() }},
	} {
		t.Run(name, func(t *testing.T) {
			options := []func(*Config){}
			if c.where != nil {
				options = append(options, c.where)
			}
			inBubble(t, func(w *world) {
				d := w.dial()
				for _, b := range []byte(c.bytes) {
					if w.pass(800 * time.Millisecond); d.closedAt() >= 0 {
						break
					}
					d.send(string(b))
				}
				w.until(12 * time.Second)
				if at := d.closedAt(); at < 10*time.Second || at > 11*time.Second+2*tick {
					t.Errorf("closed after %v, want 10 s, or 11 s with last words", at)
				}
				w.wantEndedFor("register_timeout", 1)
				w.wantSaid("")
				w.wantNobody()
			}, options...)
		})
	}
}

// helloOf is the first record of a TLS client.
func helloOf(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go tls.Client(ours, cfg).Handshake()
	defer ours.Close()
	buf := make([]byte, 4096)
	n, err := theirs.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	return buf[:n]
}

// A handshake inside the deadline does not begin it anew.
func TestDeadlineCountsFromTheAcceptThroughTheHandshake(t *testing.T) {
	a := newAuthority(t)
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		w.until(6 * time.Second)
		if err := d.speakTLS(a.client()); err != nil {
			t.Fatal(err)
		}
		d.send("REGIST")
		w.until(10*time.Second - 1)
		d.wantOpen()
		w.until(10*time.Second + tick)
		d.wantHeard("CLOSE 3003 0 register_timeout\n")
	}, func(c *Config) { c.TLS = a.server() })
}

func TestPreamblesCountAsUnregistered(t *testing.T) {
	a := newAuthority(t)
	inBubble(t, func(w *world) {
		first, second := w.dial(), w.dial()
		third := w.dial()
		w.pass(time.Second)
		if first.closedAt() < 0 {
			t.Error("the first is open, want its place to be the third's")
		}
		second.wantOpen()
		third.wantOpen()
		w.wantRefused("max_unregistered_per_ip", 1)
		if s := w.srv.Stats(); s.Open != 2 || s.Unregistered != 2 {
			t.Errorf("%d open, %d unregistered, want 2 of each", s.Open, s.Unregistered)
		}
		third.send("REGISTER d\n")
		if s := w.srv.Stats(); s.Open != 2 || s.Unregistered != 1 {
			t.Errorf("after a registration: %d open, %d unregistered, want 2 and 1", s.Open, s.Unregistered)
		}
	}, func(c *Config) { c.TLS, c.MaxUnregisteredPerIP = a.server(), 2 })
}

func TestStoppingCutsPreamblesOff(t *testing.T) {
	a := newAuthority(t)
	for name, stop := range map[string]func(*Server) error{
		"drain": func(s *Server) error { return s.Drain(context.Background(), DrainOptions{RetrySpread: -1}) },
		"close": (*Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				silent, half := w.dial(), w.dial()
				half.send("\x16\x03")
				if err := stop(w.srv); err != nil {
					t.Fatal(err)
				}
				silent.wantClosed(0)
				half.wantClosed(0)
				w.wantEndedFor("shutdown", 2)
				w.wantNobody()
			}, func(c *Config) { c.TLS = a.server() })
		})
	}
}

// Whoever takes its time over a handshake does not keep others from theirs: only
// who computes counts.
func TestSlowHandshakesHoldNobodyUp(t *testing.T) {
	a := newAuthority(t)
	hello := helloOf(t, a.client())
	inBubble(t, func(w *world) {
		for range 10 * cap(w.srv.handshakes) {
			slow := w.dial()
			slow.send(string(hello[:len(hello)/2]))
			stuck := w.dialSilently("192.0.2.1:1000") // does not read the answer
			stuck.send(string(hello))
		}
		d := w.dialSilently("192.0.2.1:1000")
		if err := d.speakTLS(a.client()); err != nil {
			t.Fatal(err)
		}
		d.send("REGISTER d\n")
		if !strings.HasPrefix(d.heard(), "REGISTERED ") {
			t.Errorf("answer = %q", d.heard())
		}
		w.until(time.Second)
		if got := len(w.srv.handshakes); got != 0 {
			t.Errorf("%d handshakes compute while all wait", got)
		}
	}, func(c *Config) { c.TLS = a.server() })
}

func TestHandshakesThatComputeAreBounded(t *testing.T) {
	a := newAuthority(t)
	inBubble(t, func(w *world) {
		for range cap(w.srv.handshakes) {
			w.srv.handshakes <- struct{}{} // as if others computed
		}
		d := w.dialSilently("192.0.2.1:1000")
		done := make(chan error, 1)
		go func() { done <- d.speakTLS(a.client()) }()
		w.until(time.Second)
		select {
		case err := <-done:
			t.Fatalf("the handshake has ended, %v, while there was no room", err)
		default:
		}
		for range cap(w.srv.handshakes) {
			<-w.srv.handshakes
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}, func(c *Config) { c.TLS = a.server() })
}

// A connection that loses its place at the end of its preamble leaves nothing behind.
func TestADisplacedPreambleCountsForNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		in := takeLarge()
		in.n = copy(in.buf, "\x01\x02\x80\x20{"+strings.Repeat(" ", 2000)) // a half of a REGISTER
		ours, theirs := net.Pipe()
		defer ours.Close()
		p := &preamble{srv: w.srv, base: theirs, nc: theirs, since: time.Now(), in: in, counted: true}
		w.srv.mu.Lock()
		w.srv.open++
		w.srv.leaving++
		w.srv.mu.Unlock()
		w.srv.begin(p)
		if st := w.srv.Stats(); st.Open != 0 || st.Unfinished != 0 {
			t.Errorf("%d connections are open with %d bytes of incomplete frames, want none", st.Open, st.Unfinished)
		}
	})
}
