package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// logLines is a slog sink that tests read.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func logTo(l *logLines, level slog.Level) func(*Config) {
	return func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level})) }
}

func TestRequestIDs(t *testing.T) {
	h := newHarness(t)
	a, b := h.call("GET", "/version", ""), h.call("GET", "/version", "")
	if x, y := a.header.Get("X-Request-Id"), b.header.Get("X-Request-Id"); x == "" || x == y {
		t.Errorf("ids %q and %q, want two", x, y)
	}
	if got := h.call("GET", "/version", "", "X-Request-Id", "caller-7").header.Get("X-Request-Id"); got == "caller-7" || got == "" {
		t.Errorf("got %q, want one of ours", got)
	}
	for _, bad := range []string{"a b", "é", strings.Repeat("x", 129), "a\"b"} {
		if got := h.call("GET", "/version", "", "X-Request-Id", bad).header.Get("X-Request-Id"); got == bad || got == "" {
			t.Errorf("%q was taken over as %q", bad, got)
		}
	}
}

func TestAccessLog(t *testing.T) {
	var info, debug logLines
	h := newHarness(t, logTo(&info, slog.LevelInfo))
	h.call("GET", "/v1/clients", "").want(200)
	h.call("GET", "/v1/clients/ghost", "", "X-Request-Id", "r-1").want(404)
	h.call("GET", "/readyz", "").want(200)
	if got := info.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "caller_request_id=r-1") || !strings.Contains(got, "status=404") {
		t.Errorf("info log: %s\nwant the refusal alone", got)
	}
	h = newHarness(t, logTo(&debug, slog.LevelDebug))
	h.call("GET", "/v1/clients", "").want(200)
	h.call("GET", "/livez", "").want(200)
	if got := debug.String(); strings.Count(got, "msg=request") != 1 {
		t.Errorf("debug log: %s\nwant the call and not the probe", got)
	}
	var asked logLines
	h = newHarness(t, logTo(&asked, slog.LevelInfo), func(c *Config) { c.AccessLog = true })
	h.call("GET", "/v1/clients", "").want(200)
	h.call("GET", "/livez", "").want(200)
	if got := asked.String(); strings.Count(got, "msg=request") != 1 {
		t.Errorf("info log with AccessLog: %s\nwant the call and not the probe", got)
	}
}

type recorded struct {
	route, method string
	status        int
}

type recorder struct{ got []recorded }

func (r *recorder) Request(route, method string, status int, _ time.Duration) {
	r.got = append(r.got, recorded{route, method, status})
}

func (r *recorder) Expect(string, string, int) {}

func TestRecorderIsToldPatterns(t *testing.T) {
	rec := new(recorder)
	h := newHarness(t, func(c *Config) { c.Recorder = rec })
	h.known("b")
	h.call("POST", "/v1/clients/b/messages", pushText("x")).want(202)
	h.call("GET", "/v1/messages/msg_none", "").want(404)
	h.call("GET", "/nowhere", "").want(404)
	h.call("DELETE", "/v1/clients/b", "").want(204)
	want := []recorded{{"/v1/clients/{id}/messages", "POST", 202}, {"/v1/messages/{id}", "GET", 404}, {"", "GET", 404}, {"/v1/clients/{id}", "DELETE", 204}}
	if fmt.Sprint(rec.got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", rec.got, want)
	}
}

func TestPanicIsAnInternalProblem(t *testing.T) {
	var log logLines
	h := newHarness(t, logTo(&log, slog.LevelInfo), func(c *Config) { c.Ready = func() []Check { panic("boom") } })
	p := h.call("GET", "/readyz", "").wantProblem(500, problem.Internal)
	if strings.Contains(p.Detail, "boom") {
		t.Errorf("detail %q tells the cause", p.Detail)
	}
	if got := log.String(); !strings.Contains(got, "boom") || !strings.Contains(got, "request_id="+p.Instance) || !strings.Contains(got, "exchange_test.go") {
		t.Errorf("log %s\nwant the cause, the id and the stack", got)
	}
}

func TestBrokenAnswerIsCut(t *testing.T) {
	s := newServer(Config{})
	h := s.observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "half")
		s.fail(exchangeOf(w), r, errors.New("late"))
	}))
	defer func() {
		if got := recover(); got != http.ErrAbortHandler {
			t.Errorf("panicked with %v, want ErrAbortHandler", got)
		}
	}()
	h.ServeHTTP(newRecorder(), newRequest(t.Context(), "GET", "/", ""))
	t.Error("the answer ended as if it were whole")
}

// brokenStore fails every acceptance.
type brokenStore struct {
	gateway.Store
	err error
}

func (b brokenStore) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	return gateway.Receipt{}, b.err
}

func (b brokenStore) StartAccept(_ gateway.Acceptance, done func(gateway.Receipt, error)) {
	done(gateway.Receipt{}, b.err)
}

func TestStoreFailureIsNeverA202(t *testing.T) {
	var log logLines
	failure := *gateway.ErrUnavailable
	failure.Cause = errors.New("write /data: no space left on device")
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	h := newHarness(t, logTo(&log, slog.LevelInfo))
	h.known("b")
	g := gatewaytest.New(t, brokenStore{store, &failure}, gateway.Config{})
	gatewaytest.Connect(t, g, "b", gatewaytest.Options{})
	cfg := Config{Gateway: g}
	logTo(&log, slog.LevelInfo)(&cfg)
	h.handler = New(cfg)
	a := h.call("POST", "/v1/clients/b/messages", pushText("x"))
	p := a.wantProblem(503, "store-unavailable")
	if p.MessageID == "" || a.header.Get("Retry-After") == "" {
		t.Errorf("problem %+v, want the message id and Retry-After", p)
	}
	if strings.Contains(string(a.body), "no space left") || !strings.Contains(log.String(), "no space left") {
		t.Errorf("answer %s and log %s: the cause belongs in the log alone", a.body, log.String())
	}
	results, summary := h.bulk("/v1/messages/bulk", `{"to":{"client":"b"},"text":"x"}`)
	if results[0].Status != 503 || summary.Accepted != 0 {
		t.Errorf("bulk: %+v %+v, want 503", results, summary)
	}
}

func TestStats(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{})
	h.call("POST", "/v1/clients/a/messages?wait=5s", pushText("x")).want(200)
	s := decode[Stats](h.call("GET", "/v1/stats", "").want(200))
	if s.Online != 1 || s.Accepted != 1 || s.Settled["acked"] != 1 || s.Store.Engine != "memory" || s.Store.Durable {
		t.Errorf("got %+v, want one client online and one message acked in memory", s)
	}
}

func TestJSONIsNotEscapedForHTML(t *testing.T) {
	h := newHarness(t)
	h.device("a", answering(gateway.AckOK, "<ok> & done"))
	a := h.call("POST", "/v1/clients/a/messages?wait=5s", pushText("x")).want(200)
	if !bytes.Contains(a.body, []byte(`"<ok> & done"`)) || !json.Valid(a.body) {
		t.Errorf("got %s, want the result readable", a.body)
	}
}

// TestSlowBodyIsGivenUp: the server answers in time, and names why.
func TestSlowBodyIsGivenUp(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	url := h.serve(Config{Gateway: h.gateway, ReadTimeout: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/clients/b/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	answer{t: t, status: resp.StatusCode, header: resp.Header, body: body}.wantProblem(408, problem.RequestTimeout)
}

// TestWaitOutlastsTheReadTimeout: the deadline for the body must not look like
// a caller who has left.
func TestWaitOutlastsTheReadTimeout(t *testing.T) {
	h := newHarness(t)
	h.device("deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
	url := h.serve(Config{Gateway: h.gateway, ReadTimeout: 50 * time.Millisecond})
	began := time.Now()
	resp, err := http.Post(url+"/v1/clients/deaf/messages?wait=300ms", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if elapsed := time.Since(began); resp.StatusCode != 202 || elapsed < 300*time.Millisecond {
		t.Errorf("%d after %s, want 202 after 300ms", resp.StatusCode, elapsed)
	}
}
