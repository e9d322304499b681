package tcpserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/longwire/longwire/gateway"
)

// callTLS registers a text device over TLS.
func callTLS(t testing.TB, srv *Server, cfg *tls.Config, id string) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := tls.Dial("tcp", srv.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(nc, "REGISTER %s\n", id)
	in := bufio.NewReaderSize(nc, 64<<10)
	wantLine(t, in, "REGISTERED ses_"+id+greeting)
	return nc, in
}

func wantLine(t testing.TB, in *bufio.Reader, want string) {
	t.Helper()
	got, err := in.ReadString('\n')
	if got = strings.TrimRight(got, "\n"); got != want || err != nil {
		t.Fatalf("heard %.60q, %v, want %.60q", got, err, want)
	}
}

// streamOf is the transport of a registered device.
func streamOf(gw *recorder, id string) *stream {
	c := gw.session(id).link.(*conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tr.(*stream)
}

// waitsOverTLS reports whether the one read loop there is waits.
func waitsOverTLS() bool {
	buf := make([]byte, 1<<20)
	return bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("waitReadable"))
}

func TestConversationOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			a, gw := newAuthority(t), newRecorder()
			srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
			cfg := a.client()
			cfg.MaxVersion = version
			nc, in := callTLS(t, srv, cfg, "d")

			big := strings.Repeat("x", 40_000) // three records
			for i := 1; i <= 50; i++ {
				fmt.Fprintf(nc, "DATA %d %s\n", i, big)
				wantLine(t, in, fmt.Sprint("ACK ", i))
			}
			if got := strings.Count(gw.all(), "d: received "); got != 50 {
				t.Errorf("%d uplinks arrived, want 50", got)
			}
			// Several records at once, then one in pieces.
			io.WriteString(nc, "PING\n")
			io.WriteString(nc, "PING\nPI")
			io.WriteString(nc, "NG\n")
			for range 3 {
				wantLine(t, in, "PONG")
			}
			go func() {
				for i := range 20 {
					gw.session("d").deliver(gateway.Seq(i+1), big)
				}
			}()
			for i := range 16 { // the window
				wantLine(t, in, fmt.Sprintf("DATA %d %s", i+1, big))
			}
			nc.Close()
			eventually(t, "the end is told", func() bool { return strings.Contains(gw.all(), "d: closed hung_up") })
			eventually(t, "the socket is closed", func() bool { return srv.Stats().Open == 0 })
		})
	}
}

// A reset is no end of the stream.
func TestResetOverTLS(t *testing.T) {
	a, gw := newAuthority(t), newRecorder()
	srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
	nc, _ := callTLS(t, srv, a.client(), "d")
	eventually(t, "it waits", waitsOverTLS)
	tcp := nc.NetConn().(*net.TCPConn)
	tcp.SetLinger(0)
	tcp.Close()
	eventually(t, "the end is told", func() bool { return strings.Contains(gw.all(), "d: closed ") })
	if !strings.Contains(gw.all(), "d: closed connection_lost") {
		t.Errorf("the gateway was told %q, want connection_lost", gw.all())
	}
}

// An idle TLS connection holds no buffer, whatever it has read before.
func TestIdleTLSConnectionHoldsNoBuffer(t *testing.T) {
	if rawInput < 0 || handshake < 0 {
		t.Fatalf("package tls of %s keeps its buffers elsewhere: %d, %d", runtime.Version(), rawInput, handshake)
	}
	a, gw := newAuthority(t), newRecorder()
	srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
	nc, in := callTLS(t, srv, a.client(), "d")
	server := streamOf(gw, "d").nc.(*tls.Conn)
	fmt.Fprintf(nc, "DATA 1 %s\n", strings.Repeat("x", 40_000))
	wantLine(t, in, "ACK 1")
	eventually(t, "it waits", waitsOverTLS)
	srv.Close() // nobody else looks at the buffers any more; it has made room for one more read
	held := func(offset int) int { return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(server), offset)).Cap() }
	if got := held(rawInput); got > 1<<10 {
		t.Errorf("it held %d bytes of input", got)
	}
	if got := held(handshake); got > 0 {
		t.Errorf("it held %d bytes of handshakes", got)
	}
}

func TestIdleTLSConnectionsHaveSmallStacks(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's memory is not ours")
	}
	const n = 200
	a := newAuthority(t)
	srv := liveServer(t, (&counting{}).connect, func(c *Config) { c.TLS = a.server() })
	connect := func(i int) {
		nc, err := tls.Dial("tcp", srv.Addr().String(), a.client())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.NetConn().Close() })
		if _, err := nc.Write(registerFrame(fmt.Sprint("c", i))); err != nil {
			t.Fatal(err)
		}
		readFrame(t, nc)
	}
	connect(n) // the server has all of its own goroutines then
	before, _ := memory()
	goroutines := runtime.NumGoroutine()
	for i := range n {
		connect(i)
	}
	eventually(t, "one goroutine each", func() bool { return runtime.NumGoroutine() <= goroutines+n })
	after, _ := memory()
	if each := (after - before) / n; each > 3<<10 {
		t.Errorf("%d bytes of stack for each connection, want 2 KB", each)
	}
}

// What a device sends in one go with the end of its handshake is not waited for
// again.
func TestDataBehindTheHandshakeIsSeen(t *testing.T) {
	a, gw := newAuthority(t), newRecorder()
	srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
	nc, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	corked := &corked{Conn: nc}
	c := tls.Client(corked, a.client())
	corked.hold.Store(1) // the hello passes
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "REGISTER d\n")
	io.WriteString(c, "PING\n")
	corked.flush(t)
	in := bufio.NewReader(c)
	wantLine(t, in, "REGISTERED ses_d"+greeting)
	wantLine(t, in, "PONG")
}

// A ticket spares the second handshake its signature.
func TestSessionsResume(t *testing.T) {
	a, gw := newAuthority(t), newRecorder()
	srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
	cfg := a.client()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	first, _ := callTLS(t, srv, cfg, "first")
	second, _ := callTLS(t, srv, cfg, "second")
	if first.ConnectionState().DidResume || !second.ConnectionState().DidResume {
		t.Errorf("resumed: first %v, second %v, want false and true", first.ConnectionState().DidResume, second.ConnectionState().DidResume)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	a := newAuthority(t)
	srv := liveServer(t, newRecorder().connect, func(c *Config) { c.TLS = a.server() })
	cfg := a.client()
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := tls.Dial("tcp", srv.Addr().String(), cfg); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	eventually(t, "it is counted", func() bool { return srv.Stats().Closed["tls_handshake"] == 1 })
}

// corked holds writes back after the first ones, until flush.
type corked struct {
	net.Conn
	hold atomic.Int32 // writes that still pass
	held bytes.Buffer
}

func (c *corked) Write(p []byte) (int, error) {
	if c.hold.Add(-1) >= 0 {
		return c.Conn.Write(p)
	}
	return c.held.Write(p)
}

func (c *corked) flush(t testing.TB) {
	t.Helper()
	c.hold.Store(1 << 30)
	if _, err := c.Conn.Write(c.held.Bytes()); err != nil {
		t.Fatal(err)
	}
}
