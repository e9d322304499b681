package tcpserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/longwire/longwire/gateway"
)

// A device that ends its direction, as nc -N does after its input, gets the
// answers to what it sent before; then the gateway closes (SPEC §7).
func TestADeviceThatHalfClosesGetsItsAnswers(t *testing.T) {
	var uplinks, acks strings.Builder
	for i := 1; i <= 40; i++ { // more than the buffer of one read
		fmt.Fprintf(&uplinks, "DATA %d %s\n", i, strings.Repeat("x", 1000))
		fmt.Fprintf(&acks, "ACK %d\n", i)
	}
	for _, c := range []struct{ name, said, answers, closed string }{
		{"one uplink", "DATA 1 hi\n", "ACK 1\n", "hung_up"},
		{"many uplinks", uplinks.String(), acks.String(), "hung_up"},
		{"a question", "PING\n", "PONG\n", "hung_up"},
		{"half a line", "DATA 1 hi\nDATA 2 half", "ACK 1\n", "hung_up"},
		{"nothing", "", "", "hung_up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forEachDriver(t, func(t *testing.T, driver func(*Config)) {
				gw := newRecorder()
				srv := liveServer(t, gw.connect, driver)
				p := call(t, srv)
				sayLast(t, p.nc, "REGISTER d\n"+c.said)
				wantAll(t, p.in, c.answers)
				eventually(t, "closed "+c.closed, func() bool { return strings.HasSuffix(gw.all(), "d: closed "+c.closed) })
				eventually(t, "the socket is closed", func() bool { return srv.Stats().Open == 0 })
			})
			t.Run("TLS", func(t *testing.T) {
				a, gw := newAuthority(t), newRecorder()
				srv := liveServer(t, gw.connect, func(c *Config) { c.TLS = a.server() })
				nc, in := callTLS(t, srv, a.client(), "d")
				sayLast(t, nc, c.said)
				if got, err := io.ReadAll(in); string(got) != c.answers || err != nil {
					t.Errorf("heard %.60q, %v, want %.60q and the end", got, err, c.answers)
				}
				eventually(t, "the socket is closed", func() bool { return srv.Stats().Open == 0 })
			})
		})
	}
}

// A connection that was reset while its registration is decided is known to be lost; one
// that the device has half-closed is not, because the device still gets its answers.
func TestAResetDuringTheDecisionIsKnown(t *testing.T) {
	dial := map[string]func(t *testing.T, srv *Server, a *authority) net.Conn{
		"plain": func(t *testing.T, srv *Server, a *authority) net.Conn { return call(t, srv).nc },
		"TLS": func(t *testing.T, srv *Server, a *authority) net.Conn {
			nc, err := tls.Dial("tcp", srv.Addr().String(), a.client())
			if err != nil {
				t.Fatal(err)
			}
			return nc
		},
	}
	for name, dial := range dial {
		t.Run(name, func(t *testing.T) {
			forEachDriver(t, func(t *testing.T, driver func(*Config)) {
				a, gw := newAuthority(t), newRecorder()
				asked, decide := make(chan func() bool), make(chan struct{})
				gw.onConnect = func(h gateway.Hello) error {
					asked <- h.Lost
					<-decide
					return gateway.ErrConnectionLost
				}
				srv := liveServer(t, gw.connect, driver, func(c *Config) { c.TLS = a.server() })
				nc := dial(t, srv, a)
				io.WriteString(nc, "REGISTER d\n")
				lost := <-asked
				if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if lost() {
					t.Error("a half-close counts as lost")
				}
				if u, ok := nc.(*tls.Conn); ok {
					nc = u.NetConn()
				}
				nc.(*net.TCPConn).SetLinger(0)
				nc.Close()
				eventually(t, "the reset is known", lost)
				close(decide)
				eventually(t, "the socket is closed", func() bool { return srv.Stats().Open == 0 })
				if n := srv.Stats().Refused["overloaded"]; n != 0 {
					t.Errorf("%d registrations count as refused", n)
				}
			})
		})
	}
}

// sayLast sends words and ends the direction.
func sayLast(t *testing.T, nc net.Conn, words string) {
	t.Helper()
	_, err := io.WriteString(nc, words)
	if err == nil {
		err = nc.(interface{ CloseWrite() error }).CloseWrite()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantAll wants a registration, the answers and the end of the stream.
func wantAll(t *testing.T, in io.Reader, answers string) {
	t.Helper()
	got, err := io.ReadAll(in)
	first, rest, _ := strings.Cut(string(got), "\n")
	if !strings.HasPrefix(first, "REGISTERED ") || rest != answers || err != nil {
		t.Errorf("heard %.60q, %v, want REGISTERED, %.60q and the end", got, err, answers)
	}
}
