package tcpserver

import (
	"bytes"
	"crypto/tls"

	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// script is a connection that says what it has in pieces and hangs up.
type script struct {
	said   *bytes.Reader
	piece  int
	closed chan struct{}
	once   sync.Once
}

func newScript(said []byte, piece int) *script {
	return &script{said: bytes.NewReader(said), piece: piece, closed: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error)     { return s.said.Read(p[:min(len(p), s.piece)]) }
func (*script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                   { s.once.Do(func() { close(s.closed) }); return nil }
func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 6666} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1000} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// FuzzPreamble says anything to a server that expects a PROXY header and takes
// TLS: every connection ends and is counted once, however it is cut into pieces,
// and nothing is left of it.
func FuzzPreamble(f *testing.F) {
	a := newAuthority(f)
	server := a.server()
	hello := helloOf(f, a.client())
	for _, said := range []string{"", "PROXY", "PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\nREGISTER d\nPING\n", "PROXY UNKNOWN\r\n\x01#d",
		string(proxyFrame("203.0.113.7:51000")) + string(hello), string(proxyFrameOf(0x20, 0, nil)) + "\x16\x03", string(withTLVs(proxyFrame("[2001:db8::7]:1"), 100)) + string(registerFrame("d")),
		string(proxyFrameOf(0x21, 0x31, make([]byte, 216))), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "GET / HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(said), uint8(255), false)
		f.Add([]byte(said), uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, said []byte, piece uint8, required bool) {
		ln := newPipeListener()
		srv := fuzzServer(t, ln, server, required)
		c := newScript(said, int(piece)+1)
		ln.offer(c)
		<-c.closed
		eventually(t, "nothing is left", func() bool { return srv.Stats().Open == 0 })
		s := srv.Stats()
		ended := uint64(0)
		for _, n := range s.Closed {
			ended += n
		}
		if s.Accepted != 1 || ended != 1 || s.Unregistered != 0 || s.Panics != 0 {
			t.Errorf("accepted %d, ended %d, unregistered %d, panics %d; want 1, 1, 0, 0", s.Accepted, ended, s.Unregistered, s.Panics)
		}
	})
}

func fuzzServer(t *testing.T, ln net.Listener, cfg *tls.Config, required bool) *Server {
	t.Helper()
	w := wheel.New()
	w.Start()
	srv, err := newServer(Config{Listener: ln, Wheel: w, Workers: 1, TLS: cfg, TLSRequired: required, LingerTimeout: time.Millisecond,
		ProxyTrusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, (&counting{}).connect)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	t.Cleanup(func() {
		srv.Close()
		w.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return srv
}

// FuzzProxyHeader finds the end of a header as soon as it is there and not
// before, and takes only what it can stand for.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\nx"))
	f.Add(append(proxyFrame("[2001:db8::7]:51000"), 'x'))
	f.Add(withTLVs(proxyFrame("203.0.113.7:51000"), 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := proxyHeaderSize(b)
		if n > maxProxyFrame || n < 0 || err != nil && n != 0 {
			t.Fatalf("size %d, %v", n, err)
		}
		for i := range b {
			some, early := proxyHeaderSize(b[:i])
			if early != nil && err == nil || some != 0 && some != n {
				t.Fatalf("after %d bytes size %d, %v; after all %d, %v", i, some, early, n, err)
			}
		}
		if n == 0 || n > len(b) {
			return
		}
		remote, err := parseProxyHeader(b[:n])
		if err == nil && remote.IsValid() && remote.Addr().Is4In6() {
			t.Errorf("address %v is not told apart from itself", remote)
		}
		words := closeOutput(&protocol.Config{}, b[n:], *overloaded())
		if len(words) > 4<<10 {
			t.Errorf("%d bytes of last words", len(words))
		}
	})
}
