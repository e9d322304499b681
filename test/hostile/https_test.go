package hostile

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// httpsSite is a gateway whose API speaks TLS, and honest callers who check its
// certificate.
func httpsSite(t *testing.T, change func(*config.Config)) *site {
	t.Helper()
	ca := newAuthority(t, "the API's")
	s := &site{T: t, log: new(journal), trust: &tls.Config{RootCAs: ca.pool, ServerName: "localhost"}}
	s.open(func(c *config.Config) {
		c.HTTP.TLSCertFile, c.HTTP.TLSKeyFile = ca.write(ca.issue("gateway", time.Hour))
		c.HTTP.ReadHeaderTimeout = config.Duration(time.Second) // and for a handshake
		c.HTTP.ReadTimeout = config.Duration(2 * time.Second)
		if change != nil {
			change(c)
		}
	})
	return s
}

// The API over TLS: what comes before HTTP, and HTTP/1.1 in it.
func TestHostileHTTPS(t *testing.T) {
	alone(t, func(t *testing.T) {
		httpsSite(t, nil).face([]behaviour{
			{"plain HTTP where TLS is spoken", plainHTTP},
			{"TLS 1.0 and 1.1", oldHTTPS},
			{"ciphers of yesterday", weakHTTPS},
			{"handshakes that stall", stalledHTTPS},
			{"a hello byte by byte", dripHTTPS},
			{"records that are none", brokenHTTPS},
			{"renegotiation", func(_ *testing.T, s *site) { s.renegotiate(s.dialHTTP()) }},
			{"records without content, for ever", emptyRecords},
			{"handshakes that are given up", abandonedHTTPS},
			{"connections that say nothing", silentHTTP},
			{"headers byte by byte", dripHeaders},
			{"headers that are bombs", headerBombs},
			{"bodies that are bombs", bodyBombs},
			{"a body byte by byte", dripBody},
			{"a body that is announced and does not come", absentBody},
			{"a body that is announced too large", announcedBody},
			{"a chunked body without end", endlessChunks},
			{"two lengths for one body", smuggling},
			{"answers that nobody reads", unreadAnswers},
		})
		httpsSite(t, func(c *config.Config) {
			c.HTTP.MaxConnections = mostConnections
			c.HTTP.ReadHeaderTimeout = config.Duration(2 * time.Second)
		}).face([]behaviour{
			{"more handshakes than there may be connections", hoardHandshakes},
		})
	})
}

func plainHTTP(t *testing.T, s *site) {
	for _, said := range []string{"GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /v1/messages HTTP/1.0\r\n\r\n"} {
		w := s.wireOn(s.dialHTTP())
		_ = w.send(said)
		if got := w.wantGone(); !strings.HasPrefix(got, "HTTP/1.0 400 Bad Request\r\n") || strings.Contains(got, "{") {
			t.Errorf("%q was answered %q, want 400 and nothing of the API", said, clip(got))
		}
	}
	for _, said := range []string{h2Preface, frame(tRegister, `{"id":"x"}`), "REGISTER x\n" + strings.Repeat("x", 100), strings.Repeat("\x00", 100)} {
		w := s.wireOn(s.dialHTTP())
		_ = w.send(said)
		if got := w.wantGone(); len(got) > 0 && got[0] != alert {
			t.Errorf("%q was answered %q, want an alert at most", clip(said), clip(got))
		}
	}
}

func oldHTTPS(t *testing.T, s *site) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		_, err := handshake(s.dialHTTP(), &tls.Config{MinVersion: version, MaxVersion: version})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s: %v, want an alert about the version", tls.VersionName(version), err)
		}
	}
}

func weakHTTPS(t *testing.T, s *site) {
	for _, suite := range tls.InsecureCipherSuites() {
		_, err := handshake(s.dialHTTP(), &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		if err == nil {
			t.Errorf("%s was taken", suite.Name)
		}
	}
}

// A handshake has http.read_header_timeout.
func stalledHTTPS(_ *testing.T, s *site) {
	whole := hello(s.T)
	parts := []string{"", "\x16", "\x16\x03", whole[:20], whole[:len(whole)-1], whole}
	var list []*wire
	for i := range 60 {
		w := s.wireOn(s.dialHTTP())
		_ = w.send(parts[i%len(parts)])
		list = append(list, w)
	}
	s.wantServed()
	for _, w := range list {
		w.wantGone()
	}
}

func dripHTTPS(t *testing.T, s *site) {
	w := s.wireOn(s.dialHTTP())
	go w.drip("", hello(t))
	w.wantGone()
}

func brokenHTTPS(t *testing.T, s *site) {
	for name, bytes := range brokenHellos(t) {
		w := s.wireOn(s.dialHTTP())
		go func() { _ = w.send(bytes) }()
		if said := w.wantGone(); len(said) > 0 && said[0] != alert {
			t.Errorf("%s: answered %q", name, clip(said))
		}
	}
}

func emptyRecords(t *testing.T, s *site) {
	c := s.tls12(s.dialHTTP())
	for range 100_000 {
		if err := c.sendRecord(recordData, ""); err != nil {
			break
		}
	}
	if _, err := io.ReadAll(c.Conn); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("after records without content: %v, want an alert or a reset", err)
	}
	c.Close()
}

func abandonedHTTPS(t *testing.T, s *site) {
	whole := hello(t)
	for i := range 300 {
		c, err := net.Dial("tcp", s.http)
		if err != nil {
			t.Fatal(err)
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

const mostConnections = 16 // http.max_connections

// A hoarder of handshakes loses the oldest to each newcomer, and a caller who is
// there stays.
func hoardHandshakes(t *testing.T, s *site) {
	there := s.wire()
	served := func() {
		t.Helper()
		_ = there.send("GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if a := there.answer(); a.status != 200 {
			t.Errorf("the caller who is there gets %d", a.status)
		}
	}
	served()
	var list []*wire
	for i := range 4 * mostConnections {
		list = append(list, s.wireOn(s.dialHTTP()))
		if i%8 != 7 {
			continue
		}
		c, err := handshake(s.dialHTTP(), &tls.Config{})
		if err != nil {
			t.Errorf("a newcomer after %d stalled handshakes: %v", i+1, err)
			continue
		}
		c.Close()
		served()
	}
	for _, w := range list {
		w.wantGone()
	}
	served()
	there.Close()
	s.eventually("newcomers are taken again", func() bool {
		c, err := handshake(s.dialHTTP(), &tls.Config{})
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
