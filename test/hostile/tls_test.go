package hostile

import (
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// tlsSite is a gateway that takes TLS only, and honest devices that speak it.
func tlsSite(t *testing.T, ca *authority, mine *tls.Certificate, change func(*config.Config)) *site {
	t.Helper()
	trust := &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}
	if mine != nil {
		trust.Certificates = []tls.Certificate{*mine}
	}
	dialer := &tls.Dialer{Config: trust}
	return openSite(t, func(c *config.Config) {
		c.TCP.TLS = config.Required
		c.TCP.TLSCertFile, c.TCP.TLSKeyFile = ca.write(ca.issue("gateway", time.Hour))
		if change != nil {
			change(c)
		}
	}, func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) })
}

func TestHostileTLS(t *testing.T) {
	alone(t, func(t *testing.T) {
		ca := newAuthority(t, "the gateway's")
		tlsSite(t, ca, nil, nil).face([]behaviour{
			{"plain where TLS is required", plainOnTLSPort},
			{"TLS 1.0 and 1.1", oldTLS},
			{"ciphers of yesterday", weakCiphers},
			{"handshakes that stall", stalledHandshakes},
			{"a hello byte by byte", dripHello},
			{"records that are none", brokenRecords},
			{"renegotiation", renegotiation},
			{"TLS in TLS, and a PROXY header in it", nested},
			{"handshakes that are given up", abandonedHandshakes},
			{"a reader that never reads", slowTLSReader},
		})
	})
}

// encrypted dials with TLS; c may be nil.
func (s *site) encrypted(c *tls.Config) (*tls.Conn, error) {
	s.Helper()
	if c == nil {
		c = &tls.Config{}
	}
	return handshake(s.dial(), c)
}

// handshake is an attacker's, who does not mind whom he attacks.
func handshake(on net.Conn, c *tls.Config) (*tls.Conn, error) {
	c.InsecureSkipVerify = true
	conn := tls.Client(on, c)
	err := conn.Handshake()
	if err != nil {
		conn.Close()
	}
	return conn, err
}

func (s *site) mustEncrypt() *peer {
	s.Helper()
	c, err := s.encrypted(nil)
	if err != nil {
		s.Fatal(err)
	}
	return s.peer(c)
}

func plainOnTLSPort(t *testing.T, s *site) {
	s.counted(refusedBy("tls_required"), 3, func() {
		p := s.dial()
		_ = p.send(frame(tRegister, `{"id":"plain"}`))
		p.wantClose(3500, "tls_required")
		p = s.dial()
		_ = p.send("REGISTER plain\n")
		p.wantLineClose(3500, "tls_required")
		p = s.dial()
		_ = p.send("\x01#plain")
		if said := p.wantGone(); said != v1Refused {
			t.Errorf("v1 was told %q, want 2#er", said)
		}
	})
}

const closedTLS = "tls_handshake"

func oldTLS(t *testing.T, s *site) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		s.counted(closedBy(closedTLS), 1, func() {
			_, err := s.encrypted(&tls.Config{MinVersion: version, MaxVersion: version})
			if err == nil || !strings.Contains(err.Error(), "protocol version") {
				t.Errorf("%s: %v, want an alert about the version", tls.VersionName(version), err)
			}
		})
	}
}

func weakCiphers(t *testing.T, s *site) {
	for _, suite := range tls.InsecureCipherSuites() {
		s.counted(closedBy(closedTLS), 1, func() {
			_, err := s.encrypted(&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			if err == nil {
				t.Errorf("%s was taken", suite.Name)
			}
		})
	}
}

// hello is a ClientHello as bytes.
func hello(t *testing.T) string {
	t.Helper()
	mine, its := net.Pipe()
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := its.Read(b) // what came is checked
		its.Close()
		got <- string(b[:n])
	}()
	_ = tls.Client(mine, &tls.Config{ServerName: "localhost"}).Handshake() // it is cut off
	first := <-got
	if !strings.HasPrefix(first, "\x16\x03") {
		t.Fatalf("no ClientHello: %q", first)
	}
	return first
}

func stalledHandshakes(t *testing.T, s *site) {
	whole := hello(t)
	parts := []string{"\x16", "\x16\x03", whole[:20], whole[:len(whole)-1], whole}
	s.counted(closedBy("register_timeout"), 50, func() {
		var peers []*peer
		for i := range 50 {
			p := s.dial()
			_ = p.send(parts[i%len(parts)])
			peers = append(peers, p)
		}
		for _, p := range peers {
			p.wantGone()
		}
	})
}

func dripHello(t *testing.T, s *site) {
	s.counted(closedBy("register_timeout"), 1, func() {
		p := s.dial()
		go p.drip(hello(t))
		p.wantGone()
	})
}

func brokenRecords(t *testing.T, s *site) {
	for name, bytes := range brokenHellos(t) {
		p := s.dial()
		go func() { _ = p.send(bytes) }()
		said := p.wantGone()
		if len(said) > 0 && said[0] != alert {
			t.Errorf("%s: answered %q", name, clip(said))
		}
	}
}

// alert is the first byte of a TLS alert.
const alert = 0x15

// brokenHellos begin like TLS, and are none.
func brokenHellos(t *testing.T) map[string]string {
	t.Helper()
	whole := hello(t)
	return map[string]string{
		"too long":             "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70_000),
		"of another type":      "\x16\x03\x01\x00\x04\x05\x00\x00\x00",
		"empty, many":          strings.Repeat("\x16\x03\x01\x00\x00", 1000),
		"truncated, then more": whole[:40] + "\x16\x03\x01\x00\x02\x01\x00" + strings.Repeat("\x00", 400),
		"a hello of 16 MB":     "\x16\x03\x01\x00\x04\x01\xff\xff\xff" + strings.Repeat("\x16\x03\x01\x40\x00"+strings.Repeat("a", 16384), 64),
	}
}

// TLS 1.3 has none, and in 1.2 it is refused.
func renegotiation(_ *testing.T, s *site) { s.renegotiate(s.dial().Conn) }

func (s *site) renegotiate(conn net.Conn) {
	s.Helper()
	c := s.tls12(conn)
	if err := c.sendRecord(recordHandshake, hello(s.T)[5:]); err != nil {
		s.Fatal(err)
	}
	_, err := io.ReadAll(c.Conn)
	if err == nil || !strings.Contains(err.Error(), "no renegotiation") && !strings.Contains(err.Error(), "unexpected message") {
		s.Errorf("after a second hello: %v, want an alert that refuses it", err)
	}
	c.Close()
}

func nested(t *testing.T, s *site) {
	for first, reason := range map[string]string{hello(t): "tls_unsupported", "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n": "proxy_unexpected"} {
		s.counted(closedBy(reason), 1, func() {
			p := s.mustEncrypt()
			_ = p.send(first)
			if said := p.wantGone(); said != "" {
				t.Errorf("%s: told %q", reason, said)
			}
		})
	}
}

func abandonedHandshakes(t *testing.T, s *site) {
	whole := hello(t)
	for i := range 300 {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			continue // as many as may be are not registered
		}
		_, _ = io.WriteString(c, whole)
		if i%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
		if i == 150 {
			s.wantServed()
		}
	}
}

func slowTLSReader(t *testing.T, s *site) {
	s.counted(closedBy("slow_consumer"), 1, func() {
		p := s.mustEncrypt()
		p.register("slow-tls", `"window":256`)
		payload := strings.Repeat("x", 200<<10)
		s.stored(60 * len(payload))
		for range 60 { // 12 MB: more than the socket buffers take
			if a := s.ask("POST", "/v1/clients/slow-tls/messages", payload, "Content-Type", "text/plain"); a.status != 202 {
				t.Fatalf("push: %d %s", a.status, a.body)
			}
		}
		s.eventually("the slow reader is closed", func() bool {
			return strings.Contains(s.ask("GET", "/v1/clients/slow-tls", "").body, `"last_close":{"reason":"slow_consumer","by":"gateway"}`)
		})
		_ = p.Conn.(*tls.Conn).NetConn().Close()
	})
	if a := s.ask("DELETE", "/v1/clients/slow-tls?purge=true", ""); a.status >= 300 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
}

// Where devices have to show a certificate, nothing else gets them in.
func TestHostileWithoutCertificate(t *testing.T) {
	alone(t, func(t *testing.T) {
		ca, other := newAuthority(t, "ours"), newAuthority(t, "ours")
		mine := ca.issue("honest", time.Hour)
		s := tlsSite(t, ca, &mine, func(c *config.Config) {
			c.TCP.TLSClientAuth, c.TCP.TLSClientCAFile = config.Required, ca.file()
		})
		s.face([]behaviour{{"certificates that are not ours", func(t *testing.T, s *site) {
			for name, certs := range map[string][]tls.Certificate{
				"none":                 nil,
				"of another authority": {other.issue("honest", time.Hour)},
				"expired":              {ca.issue("honest", -time.Hour)},
				"signed by a device":   {signedByDevice(t, ca, mine)},
			} {
				s.counted(closedBy(closedTLS), 1, func() {
					c, err := s.encrypted(&tls.Config{Certificates: certs})
					if err == nil { // TLS 1.3 tells the client with the first read
						_, err = c.Read(make([]byte, 1))
					}
					if err == nil || strings.Contains(err.Error(), "timeout") {
						t.Errorf("a certificate that is %s: %v, want a refusal", name, err)
					}
				})
			}
		}}})
	})
}

// signedByDevice is a certificate that an honest device's certificate has
// signed, which is no authority.
func signedByDevice(t *testing.T, ca *authority, device tls.Certificate) tls.Certificate {
	t.Helper()
	forger := *ca
	forger.cert, forger.key = device.Leaf, device.PrivateKey.(crypto.Signer)
	forged := forger.issue("honest", time.Hour)
	forged.Certificate = append(forged.Certificate, device.Certificate[0])
	return forged
}
