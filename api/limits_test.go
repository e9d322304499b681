package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestRateLimitPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Rate, c.Burst = 2, 3 })
		time.Sleep(time.Minute) // virtual: what made the world is forgotten
		for left := 2; left >= 0; left-- {
			a := w.as("clients:read", "GET", "/v1/clients", "").want(200)
			want := fmt.Sprintf(`"key";r=%d;t=%d`, left, (3-left+1)/2)
			if got, policy := a.header.Get("RateLimit"), a.header.Get("RateLimit-Policy"); got != want || policy != `"key";q=3;w=2` {
				t.Errorf("RateLimit %q, policy %q, want %q", got, policy, want)
			}
		}
		a := w.as("clients:read", "GET", "/v1/clients", "")
		a.wantProblem(429, problem.RateLimited)
		if got := a.header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q, want 1", got)
		}
		w.as("unlimited", "GET", "/v1/clients", "").want(200) // another key
		w.call("GET", "/readyz", "").want(200)                // and what needs none
		time.Sleep(500 * time.Millisecond)
		w.as("clients:read", "GET", "/v1/clients", "").want(200)
		w.as("clients:read", "GET", "/v1/clients", "").wantProblem(429, problem.RateLimited)
	})
}

// TestRetryAfterIsWhenThereIsRoomAgain, also where that is more than a second.
func TestRetryAfterIsWhenThereIsRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Rate, c.Burst = 0.1, 30 })
		time.Sleep(time.Hour) // virtual: what made the world is forgotten
		for range 30 {
			w.as("clients:read", "GET", "/v1/clients", "").want(200)
		}
		a := w.as("clients:read", "GET", "/v1/clients", "")
		a.wantProblem(429, problem.RateLimited)
		if got := a.header.Get("Retry-After"); got != "10" {
			t.Errorf("Retry-After %q, want 10", got)
		}
	})
}

// TestARefusedCallCountsToo: a key without the scope has no more tries than one
// with it.
func TestARefusedCallCountsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Rate, c.Burst = 1, 3 })
		time.Sleep(time.Minute)
		for range 3 {
			w.as("clients:read", "POST", "/v1/clients/a-truck/messages", "x").wantProblem(403, problem.InsufficientScope)
		}
		w.as("clients:read", "POST", "/v1/clients/a-truck/messages", "x").wantProblem(429, problem.RateLimited)
		w.as("clients:read", "GET", "/v1/clients", "").wantProblem(429, problem.RateLimited)
	})
}

// from calls with a key from an address.
func (w *world) from(remote, secret string) answer {
	w.t.Helper()
	r := newRequest(w.t.Context(), "GET", "/v1/clients", "")
	r.RemoteAddr = remote
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	rec := newRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{t: w.t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
}

// TestARightKeyPassesWhereOthersGuess: it may share its address with the guesser.
func TestARightKeyPassesWhereOthersGuess(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AuthFailures = 6 })
	for i := range 200 {
		a := w.from(fmt.Sprintf("[2001:db8::%x]:1", i), "lwk_wrong")
		if i >= 6 {
			a.wantProblem(429, problem.RateLimited)
		}
		if i%10 == 9 {
			w.from("[2001:db8::ffff]:1", w.secrets["unlimited"]).want(200)
		}
	}
}

// TestGuessingIsSlow: after so many wrong keys a short key of the settings is
// refused from that address like a wrong one, so that guessing on tells nothing.
func TestGuessingIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chosen = "lwk_correct-horse-battery"
		w := newWorld(t)
		w.handler = New(Config{Gateway: w.gateway, Authorizer: APIKeys(chosen), AuthFailures: 6})
		for range 6 {
			w.from("203.0.113.9:1000", "lwk_wrong").wantProblem(401, problem.Unauthenticated)
		}
		a := w.from("203.0.113.9:1001", chosen)
		a.wantProblem(429, problem.RateLimited)
		if got := a.header.Get("Retry-After"); got != "10" {
			t.Errorf("Retry-After %q, want 10", got)
		}
		w.from("203.0.113.10:1000", chosen).want(200)
		time.Sleep(10 * time.Second)
		w.from("203.0.113.9:1002", chosen).want(200)
		for range 100 {
			w.from("127.0.0.1:1000", "lwk_wrong").wantProblem(401, problem.Unauthenticated) // a proxy on this machine is everybody
		}
		for range 100 {
			w.from("203.0.113.11:1000", "").wantProblem(401, problem.Unauthenticated) // shows none
		}
		w.from("203.0.113.11:1000", chosen).want(200)
		for i := range 6 {
			w.from(fmt.Sprintf("[2001:db8::%d]:1", i), "lwk_wrong").wantProblem(401, problem.Unauthenticated)
		}
		w.from("[2001:db8::ffff]:1", chosen).wantProblem(429, problem.RateLimited) // one host has the /64
		w.from("[2001:db8:0:1::1]:1", chosen).want(200)
		for range 6 {
			w.from("203.0.113.20:1", "lwk_wrong").wantProblem(401, problem.Unauthenticated)
		}
		w.from("[::ffff:203.0.113.20]:1", chosen).wantProblem(429, problem.RateLimited) // the same in another spelling
		w.from("203.0.113.21:1", chosen).want(200)
		for _, zone := range []string{"eth0", "eth1", "a", "b", "c", "d"} {
			w.from("[fe80::1%"+zone+"]:1", "lwk_wrong").wantProblem(401, problem.Unauthenticated)
		}
		w.from("[fe80::1%z]:1", chosen).wantProblem(429, problem.RateLimited)
	})
}

// held is a server with one request under way that waits for an ack.
func held(t *testing.T, change func(*Config)) (h *harness, release func()) {
	t.Helper()
	h = newHarness(t, change)
	transmissions := make(chan gateway.Transmission, 1)
	link := h.device("slow", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) { l.Sent(p); transmissions <- p }})
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.handler.ServeHTTP(newRecorder(), newRequest(t.Context(), "POST", "/v1/clients/slow/messages?mode=online&wait=60s", `{"text":"`+strings.Repeat("x", 1000)+`"}`))
	}()
	p := <-transmissions
	return h, func() { link.Ack(p, gateway.AckOK, nil); <-done }
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	h, release := held(t, func(c *Config) { c.MaxRequests = 1 })
	a := h.call("GET", "/v1/clients", "")
	a.wantProblem(503, problem.Overloaded)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.call("GET", "/livez", "").want(200)
	release()
	h.call("GET", "/v1/clients", "").want(200)
}

// TestATenantsCallsLeaveRoom: of the connections and of the requests, calls of a tenant that
// wait take a half.
func TestATenantsCallsLeaveRoom(t *testing.T) {
	for version, c := range map[int]func(*Config){
		1: func(c *Config) { c.MaxConnections, c.MaxRequests = 8, 1000 },
		2: func(c *Config) { c.MaxConnections, c.MaxRequests = 2, 8 },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, c)
			get := func(key, target string) *httptest.ResponseRecorder {
				r := newRequest(t.Context(), "GET", target, "")
				r.ProtoMajor = version
				r.Header.Set("Authorization", "Bearer "+w.secrets[key])
				to := newRecorder()
				w.handler.ServeHTTP(to, r)
				return to
			}
			var refused atomic.Int64
			for range 8 {
				go func() {
					if res := get("a", "/v1/uplinks?after=now&wait=10s"); res.Code == 429 && res.Header().Get("Retry-After") != "" {
						refused.Add(1)
					}
				}()
			}
			synctest.Wait()
			if n := refused.Load(); n != 4 {
				t.Errorf("HTTP/%d: %d of 8 calls of a tenant are refused, want 4", version, n)
			}
			for _, key := range []string{"b", "g", "unlimited"} {
				if res := get(key, "/v1/clients"); res.Code != 200 {
					t.Errorf("HTTP/%d: %s gets %d beside them", version, key, res.Code)
				}
			}
			time.Sleep(11 * time.Second)
			if res := get("a", "/v1/clients"); res.Code != 200 {
				t.Errorf("HTTP/%d: the tenant gets %d after them", version, res.Code)
			}
		})
	}
}

func TestBodiesInMemoryAreBounded(t *testing.T) {
	h, release := held(t, func(c *Config) { c.MaxBodies = 2050 })
	body := `{"text":"` + strings.Repeat("y", 100) + `"}`
	h.call("POST", "/v1/clients/slow/messages", body).wantProblem(503, problem.Overloaded)
	line := `{"to":{"client":"slow"},"text":"` + strings.Repeat("y", 100) + `"}`
	if results, _ := h.bulk("/v1/messages/bulk", line); results[0].Status != 503 {
		t.Errorf("a line is answered %d, want 503", results[0].Status)
	}
	h.call("GET", "/v1/clients", "").want(200)
	release()
	h.call("POST", "/v1/clients/slow/messages", body).want(202)
	h.call("POST", "/v1/clients/slow/messages", `{"text":1}`).want(400)
	h.call("POST", "/v1/clients/slow/messages", body).want(202) // a refusal gives back what it took
}

// MaxBody bounds a body that is the payload itself, and also its decoded form.
func TestMaxBodyBoundsEveryBody(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBody = 1 << 10 })
	h.device("a", gatewaytest.Options{})
	fits, tooLong := strings.Repeat("x", 1<<10), strings.Repeat("x", 1<<10+1)
	const target = "/v1/clients/a/messages?wait=5s"
	for _, content := range []string{"text/plain", "application/octet-stream", formType, "image/png"} {
		h.call("POST", target, fits, "Content-Type", content).want(200)
		h.call("POST", target, tooLong, "Content-Type", content).wantProblem(413, problem.PayloadTooLarge)
		for coding, encode := range map[string]func(string) string{"gzip": gzipped, "zstd": zstded} {
			h.call("POST", target, encode(fits), "Content-Type", content, "Content-Encoding", coding).want(200)
			h.call("POST", target, encode(tooLong), "Content-Type", content, "Content-Encoding", coding).wantProblem(413, problem.PayloadTooLarge)
		}
	}
	long := `{"text":"` + tooLong + `"}`
	h.call("POST", target, long).wantProblem(413, problem.PayloadTooLarge)
	h.call("POST", target, gzipped(long), "Content-Type", "application/json", "Content-Encoding", "gzip").wantProblem(413, problem.PayloadTooLarge)
}

// TestBodiesAreCountedAsTheyCome: what is announced takes nothing.
func TestBodiesAreCountedAsTheyCome(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBody, c.MaxBodies = 1000, 1500 })
	h.known("a")
	admitted := make(chan struct{})
	blocked, feed := io.Pipe()
	done := make(chan int)
	go func() {
		r := newRequest(t.Context(), "POST", "/v1/clients/a/messages", "")
		r.Body, r.ContentLength = readCloser{io.MultiReader(onRead(func() { close(admitted) }), blocked)}, -1
		w := newRecorder()
		h.handler.ServeHTTP(w, r)
		done <- w.Code
	}()
	<-admitted
	h.call("POST", "/v1/clients/a/messages", strings.Repeat("x", 600), "Content-Type", "text/plain").want(202)
	h.call("POST", "/v1/clients/a/messages", strings.Repeat("x", 800), "Content-Type", "text/plain").wantProblem(503, problem.Overloaded)
	io.WriteString(feed, `{"text":"x"}`)
	feed.Close()
	if status := <-done; status != 202 {
		t.Errorf("the body of unknown length is answered %d, want 202", status)
	}
	r := newRequest(t.Context(), "POST", "/v1/clients/a/messages", "x")
	r.ContentLength = 1 << 40
	w := newRecorder()
	h.handler.ServeHTTP(w, r)
	answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}.wantProblem(413, problem.PayloadTooLarge)
}

// onRead is an empty reader that tells when it is read.
type onRead func()

func (f onRead) Read([]byte) (int, error) { f(); return 0, io.EOF }

// TestStrangersTakeNoRoom: who may not call is refused before it counts as a
// request, and before its body does.
func TestStrangersTakeNoRoom(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRequests, c.MaxBodies = 1, 1000 })
	body := `{"to":{"all":true},"text":"` + strings.Repeat("x", 2000) + `"}`
	w.as("none", "POST", "/v1/messages", body).wantProblem(401, problem.Unauthenticated)
	w.as("clients:read", "POST", "/v1/messages", body).wantProblem(403, problem.InsufficientScope)
	w.as("unlimited", "POST", "/v1/messages", body).wantProblem(503, problem.Overloaded)
}

// TestStreamsAreBounded over all keys, and one that has ended makes room.
func TestStreamsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxStreams, c.MaxStreamsPerKey = 3, 16 })
	bearer := func(key string) []string { return []string{"Authorization", "Bearer " + w.secrets[key]} }
	var open []*reader
	for _, key := range []string{"a", "b", "g"} {
		open = append(open, w.subscribe("/v1/events", bearer(key)...))
	}
	for range 3 { // a refusal takes nothing
		w.send("events:read", "GET", ask{target: "/v1/events"}).wantProblem(429, problem.RateLimited)
	}
	for _, r := range open {
		r.cancel()
		<-r.ended
	}
	for _, key := range []string{"a", "a", "b"} {
		if r := w.subscribe("/v1/events", bearer(key)...); !strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("%s is refused after others have left: %v", key, r.header)
		}
	}
	w.send("a", "GET", ask{target: "/v1/events"}).wantProblem(429, problem.RateLimited)
}

// TestStreamsOfAnOpenAPIAreNotOnes: without keys everybody is the same caller.
func TestStreamsOfAnOpenAPIAreNotOnes(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxStreams, c.MaxStreamsPerKey = 3, 1 })
	for range 3 {
		if r := h.subscribe("/v1/events"); !strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("refused: %v", r.header)
		}
	}
	h.call("GET", "/v1/events", "").wantProblem(429, problem.RateLimited)
}

// TestTheServerWaitsForNobodyForever: the handler's bounds need those of the
// server around it.
func TestTheServerWaitsForNobodyForever(t *testing.T) {
	srv := NewServer(Config{Gateway: newHarness(t).gateway, ReadTimeout: 7 * time.Second, MaxWait: 20 * time.Second})
	if srv.ReadHeaderTimeout != 10*time.Second || srv.ReadTimeout != 7*time.Second || srv.IdleTimeout != 2*time.Minute || srv.MaxHeaderBytes != 32<<10 {
		t.Errorf("header within %v and %d bytes, body within %v, idle for %v", srv.ReadHeaderTimeout, srv.MaxHeaderBytes, srv.ReadTimeout, srv.IdleTimeout)
	}
	if longest := 27 * time.Second; srv.WriteTimeout <= longest || srv.WriteTimeout > longest+time.Minute {
		t.Errorf("answers within %v, want some time above reading and waiting, which is %v", srv.WriteTimeout, longest)
	}
	if c := (Config{Gateway: newHarness(t).gateway, MaxWait: time.Hour}).withDefaults(); c.MaxWait != gateway.MaxWait {
		t.Errorf("a wait of up to %v, want at most %v", c.MaxWait, gateway.MaxWait)
	}
}

func TestStreamsPerKeyAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxStreamsPerKey = 16 })
	first := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["a"])
	w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["a"])
	w.send("a", "GET", ask{target: "/v1/events"}).wantProblem(429, problem.RateLimited)
	w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["b"])
	first.cancel()
	<-first.ended
	if r := w.subscribe("/v1/events", "Authorization", "Bearer "+w.secrets["a"]); !strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("refused after another stream has ended: %v", r.header)
	}
}

// TestSlowCallersAreCut: neither a header nor a body that drips in keeps a
// connection for longer than its time.
func TestSlowCallersAreCut(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	srv := NewServer(Config{Gateway: h.gateway, ReadTimeout: 200 * time.Millisecond})
	srv.ReadHeaderTimeout = 200 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	for name, start := range map[string]string{
		"header": "GET /v1/clients HTTP/1.1\r\nHost: localhost\r\n",
		"body":   "POST /v1/clients/a/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, start)
		stop := make(chan struct{})
		go func() { // a byte now and then keeps no deadline from passing
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					io.WriteString(conn, "x")
				}
			}
		}()
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		answer, err := io.ReadAll(bufio.NewReader(conn))
		close(stop)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still there", name)
		}
		if name == "body" && !strings.Contains(string(answer), " 408 ") {
			t.Errorf("a slow body is answered %q, want 408", answer)
		}
	}
}

func TestProblemsOfHasteSayWhenToComeBack(t *testing.T) {
	for _, kind := range []problem.Kind{problem.RateLimited, problem.Overloaded} {
		if p := problem.New(kind, ""); p.Retry() < 1 || levelOf(p) > 0 && p.Status >= http.StatusInternalServerError {
			t.Errorf("%s: retry after %d at level %s, want a time and no error in the log", kind, p.Retry(), levelOf(p))
		}
	}
}

// TestAuthenticationAllocatesNothing beyond the request itself.
func TestAuthenticationAllocatesNothing(t *testing.T) {
	keys := apikey.NewKeyset("lwk_0123456789abcdef")
	_, secret, err := keys.Create(apikey.Spec{Name: "x", Scopes: apikey.Admin}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(Config{Authorizer: keys})
	r := newRequest(t.Context(), "GET", "/", "")
	r.Header.Set("Authorization", "Bearer "+secret)
	x := &exchange{ResponseWriter: newRecorder(), started: time.Now()}
	e := endpoint{need: apikey.MessagesWrite}
	got := testing.AllocsPerRun(100, func() {
		if err := s.allow(x, r, &e); err != nil {
			t.Fatal(err)
		}
		if err := s.admit(x, r); err != nil {
			t.Fatal(err)
		}
		s.release(x)
	})
	if got != 0 {
		t.Errorf("%v allocations for each request, want none", got)
	}
}
