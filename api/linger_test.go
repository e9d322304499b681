package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve serves the API on l until the test ends.
func serve(t *testing.T, c Config, l net.Listener) {
	t.Helper()
	srv := NewServer(c)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		srv.Serve(l)
	}()
	t.Cleanup(func() { srv.Close(); <-ended })
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A caller that sends all of a large body before it reads a byte gets the
// answer, whatever refuses it.
func TestRefusalsReachWhoeverStillSends(t *testing.T) {
	const size = 3 << 20
	body := strings.Repeat("x", size)
	announced, chunked := fmt.Sprintf("Content-Length: %d\r\n", size), "Transfer-Encoding: chunked\r\n"
	w := newWorld(t)
	key := func(name string) string { return "Authorization: Bearer " + w.secrets[name] + "\r\n" }
	const push, text = "POST /v1/clients/a/messages", "Content-Type: text/plain\r\n"
	for _, tt := range []struct {
		name, request, headers string
		change                 func(*Config)
		status                 int
	}{
		{"no key", push, announced, nil, 401},
		{"no scope", push, announced + key("clients:read"), nil, 403},
		{"no scope, chunked", push, chunked + key("clients:read"), nil, 403},
		{"another origin", push, announced + key("unlimited") + "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n", nil, 403},
		{"no route", "POST /v1/nothing", announced, nil, 404},
		{"no method", "PUT /v1/clients", chunked, nil, 405},
		{"too large, as announced", push, announced + key("unlimited") + text, nil, 413},
		{"too large, as it turns out", push, chunked + key("unlimited") + text, nil, 413},
		{"another type", "POST /v1/messages", announced + key("unlimited") + text, nil, 415},
		{"a parameter", push + "?wait=x", announced + key("unlimited") + text, nil, 400},
		{"too fast", push, announced + key("unlimited"), func(c *Config) { c.Rate, c.Burst = 1e-9, 1 }, 429},
		{"too much", "POST /v1/messages", announced + key("unlimited") + "Content-Type: application/json\r\n", func(c *Config) { c.MaxBody, c.MaxBodies = 4<<20, 1 }, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Gateway: w.gateway, Authorizer: w.keys}
			if tt.change != nil {
				tt.change(&cfg)
			}
			l := listen(t)
			serve(t, cfg, l)
			if cfg.Rate > 0 { // the one that is free
				spent, err := http.NewRequest("GET", "http://"+l.Addr().String()+"/v1/clients", nil)
				if err != nil {
					t.Fatal(err)
				}
				spent.Header.Set("Authorization", "Bearer "+w.secrets["unlimited"])
				if res, err := http.DefaultTransport.RoundTrip(spent); err != nil || res.StatusCode != 200 {
					t.Fatalf("the first request: %v %v", res, err)
				}
			}
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			conn.(*net.TCPConn).SetWriteBuffer(256 << 10) // less than the body
			io.WriteString(conn, tt.request+" HTTP/1.1\r\nHost: localhost\r\n"+tt.headers+"\r\n")
			if strings.Contains(tt.headers, "chunked") {
				fmt.Fprintf(conn, "%x\r\n", size)
			}
			if _, err := io.WriteString(conn, body); err != nil {
				t.Fatalf("the body was not taken: %v", err)
			}
			if strings.Contains(tt.headers, "chunked") {
				io.WriteString(conn, "\r\n0\r\n\r\n")
			}
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("the answer was lost: %v", err)
			}
			said, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || !res.Close {
				t.Errorf("%d %s %v, close %v; want %d and the end of the connection", res.StatusCode, said, err, res.Close, tt.status)
			}
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("behind the answer: %q %v, want the end", rest, err)
			}
		})
	}
}

// Short bodies are read as ever, and long ones that were read: a refusal does
// not cost the connection.
func TestRefusalsKeepConnections(t *testing.T) {
	w := newWorld(t)
	l := listen(t)
	serve(t, Config{Gateway: w.gateway, Authorizer: w.keys}, l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for _, tt := range []struct {
		key, body string
		status    int
	}{
		{w.secrets["clients:read"], strings.Repeat("x", leftToHTTP-1), 403},
		{w.secrets["clients:read"], "x", 403},
		{w.secrets["unlimited"], `{"text":` + strings.Repeat(" ", 2*leftToHTTP) + `}`, 400},
		{w.secrets["unlimited"], `{"text":"x"}`, 404},
	} {
		fmt.Fprintf(conn, "POST /v1/clients/unknown/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
			tt.key, len(tt.body), tt.body)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("want %d: %v", tt.status, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != tt.status || res.Close {
			t.Errorf("%d %v, close %v; want %d and a connection that stays", res.StatusCode, err, res.Close, tt.status)
		}
	}
}

// pipe is a listener with one connection, in memory.
type pipe struct {
	conns chan net.Conn
	ended chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}
func (p *pipe) Close() error   { close(p.ended); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

// pipeTo returns a connection in memory to a server.
func pipeTo(t *testing.T, c Config) net.Conn {
	t.Helper()
	mine, its := net.Pipe()
	l := &pipe{conns: make(chan net.Conn, 1), ended: make(chan struct{})}
	l.conns <- its
	serve(t, c, l)
	t.Cleanup(func() { mine.Close() })
	return mine
}

// refusedOn is a connection in memory on which a request was refused, with
// another body still to be sent.
func refusedOn(t *testing.T, headers string, change func(*Config)) net.Conn {
	t.Helper()
	cfg := Config{Gateway: newHarness(t).gateway, Authorizer: APIKeys("lwk_first"), Hosts: []string{"localhost"}}
	change(&cfg)
	mine := pipeTo(t, cfg)
	io.WriteString(mine, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n"+headers+"\r\n")
	begun := time.Now()
	res, err := http.ReadResponse(bufio.NewReader(mine), nil)
	if err != nil || res.StatusCode != 401 || time.Since(begun) != 0 {
		t.Fatalf("%v %v after %v, want 401 at once", res, err, time.Since(begun))
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return mine
}

// TestStrangersGetTheirAnswerAtOnce: a body that is announced and does not come holds up
// no answer to a caller without a key, whatever answers it.
func TestStrangersGetTheirAnswerAtOnce(t *testing.T) {
	for _, tt := range []struct {
		request string
		status  int
	}{
		{"POST /v1/messages", 401}, {"DELETE /v1/clients/a", 401}, {"POST /v1/nothing", 404}, {"PUT /v1/clients", 405}, {"OPTIONS /v1/clients", 405},
		{"POST /livez", 405}, {"GET /livez", 200}, {"GET /", 200}, {"GET /openapi.json", 200}, {"GET /docs/problems/nothing", 404}, {"HEAD /readyz", 200},
	} {
		for _, length := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
			synctest.Test(t, func(t *testing.T) {
				conn := pipeTo(t, Config{Gateway: newHarness(t).gateway, Authorizer: APIKeys("lwk_first"), Hosts: []string{"localhost"}})
				io.WriteString(conn, tt.request+" HTTP/1.1\r\nHost: localhost\r\n"+length)
				begun, in := time.Now(), bufio.NewReader(conn)
				method, _, _ := strings.Cut(tt.request, " ")
				res, err := http.ReadResponse(in, &http.Request{Method: method})
				if err != nil || res.StatusCode != tt.status || time.Since(begun) != 0 {
					t.Fatalf("%s: %v %v after %v, want %d at once", tt.request, res, err, time.Since(begun), tt.status)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
				if _, err := in.ReadByte(); err != io.EOF || time.Since(begun) > shortTime {
					t.Errorf("%s: %v after %v, want the end of the connection within %v", tt.request, err, time.Since(begun), shortTime)
				}
			})
		}
	}
}

// Whoever goes on sending is read for a while only, and so far only.
func TestLingeringIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration // Config.ReadTimeout
		want    time.Duration
	}{{"by its own time", 30 * time.Second, shortTime}, {"by the time for bodies", time.Second, time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := refusedOn(t, "Content-Length: 1000000\r\n", func(c *Config) { c.ReadTimeout = tt.timeout })
				begun := time.Now()
				for { // a byte a second
					if _, err := io.WriteString(conn, "x"); err != nil {
						break
					}
					time.Sleep(time.Second)
				}
				if got := time.Since(begun); got < tt.want || got > tt.want+time.Second {
					t.Errorf("it was read for %v, want %v", got, tt.want)
				}
			})
		})
	}
	for name, headers := range map[string]string{
		"announced": "Content-Length: 1099511627776\r\n", "chunked": "Transfer-Encoding: chunked\r\n\r\n10000000000",
	} {
		t.Run("by its size, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := refusedOn(t, headers, func(c *Config) { c.MaxBody = 1 << 20 })
				sent, block := 0, strings.Repeat("x", 32<<10)
				for sent < 64<<20 {
					n, err := io.WriteString(conn, block)
					sent += n
					if err != nil {
						break
					}
				}
				// Of chunks net/http reads another leftToHTTP before it gives up.
				if least, most := lingerSize<<20, lingerSize<<20+leftToHTTP+8<<10; sent < least || sent > most {
					t.Errorf("%d bytes were read, want %d to %d", sent, least, most)
				}
			})
		})
	}
}

// Who asks before sending, or has been too slow already, is not waited for.
func TestLingeringIsForThoseWhoSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := refusedOn(t, "Expect: 100-continue\r\nContent-Length: 1000000\r\n", func(*Config) {})
		begun := time.Now()
		if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 || time.Since(begun) > time.Second {
			t.Errorf("behind the answer: %q %v after %v, want the end soon", rest, err, time.Since(begun))
		}
	})
	x := &exchange{identified: true}
	r := newRequest(t.Context(), "POST", "/v1/messages", strings.Repeat("x", leftToHTTP))
	for status, want := range map[int]bool{http.StatusRequestTimeout: false, http.StatusForbidden: true} {
		if got := lingers(x, r, status); got != want {
			t.Errorf("%d lingers: %v, want %v", status, got, want)
		}
	}
	if r.ProtoMajor = 2; lingers(x, r, http.StatusForbidden) {
		t.Error("HTTP/2 lingers: the stream ends without that")
	}
}
