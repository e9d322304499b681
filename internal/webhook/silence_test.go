package webhook

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network whose connections can be lost: then neither end gets anything from
// the other, and neither is told.
type pipes struct {
	server chan net.Conn
	closed context.Context
	close  context.CancelFunc
	made   []*lossy // by dial, on the goroutines of the transport, one after the other
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.server:
		return c, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	c := &lossy{Conn: near}
	p.made = append(p.made, c)
	p.server <- far
	return c, nil
}

type lossy struct {
	net.Conn
	lost atomic.Bool
}

func (c *lossy) Write(b []byte) (int, error) {
	if c.lost.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *lossy) Read(b []byte) (int, error) {
	for {
		if n, err := c.Conn.Read(b); err != nil || !c.lost.Load() {
			return n, err
		}
	}
}

// An HTTP/2 connection that the network has lost is closed soon, so that the next requests
// take another one.
func TestALostConnectionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{server: make(chan net.Conn)}
		network.closed, network.close = context.WithCancel(t.Context())
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
		srv.Listener.Close()
		srv.Listener, srv.EnableHTTP2 = network, true
		srv.StartTLS()
		defer srv.Close()
		transport := (&Manager{}).newTransport()
		transport.DialContext = network.dial
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		defer transport.CloseIdleConnections()
		post := func() (proto string, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "POST", "https://backend.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(req)
			if err != nil {
				return "", err
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			return string(b), err
		}
		if proto, err := post(); err != nil || proto != "HTTP/2.0" {
			t.Fatalf("the first answer is %q, %v, want HTTP/2.0", proto, err)
		}
		network.made[0].lost.Store(true)
		begun := time.Now()
		for {
			if _, err := post(); err == nil {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Fatal("after a minute each request still takes the lost connection")
			}
		}
		if d := time.Since(begun); d > askAfter+answerWithin+2*time.Second {
			t.Errorf("the lost connection was given up after %v", d)
		}
	})
}
