package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fastRetry keeps the tests quick; the pauses themselves are tested apart.
var fastRetry = WithRetry(Retry{Attempts: 4, Base: time.Millisecond, Max: 50 * time.Millisecond})

// serve starts a gateway that answers with h and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc, opts ...Option) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(s.URL, append([]Option{fastRetry}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(w http.ResponseWriter, status int, body string) {
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func TestNewRefusesAddressesItCannotCall(t *testing.T) {
	for _, addr := range []string{"", "localhost:8080", "ftp://x", "http://", "http://user:pw@host"} {
		if _, err := New(addr); err == nil {
			t.Errorf("New(%q) took it", addr)
		}
	}
	c, err := New("https://example.test/gw/")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.BaseURL(), "https://example.test/gw"; got != want {
		t.Errorf("BaseURL = %q, want %q", got, want)
	}
}

func TestPushSendsTheEnvelope(t *testing.T) {
	var got map[string]any
	var path, query, auth, key string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, query, auth, key = r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key")
		json.NewDecoder(r.Body).Decode(&got)
		w.Header().Set("Idempotency-Replayed", "true")
		answer(w, 200, `{"id":"msg_1","status":"acked","attempts":1,"result":"done","brand_new":1}`)
	}, WithAPIKey("lwk_x"))
	m, err := c.Push(t.Context(), "a@b:1", Push{Payload: JSON(map[string]int{"n": 1}), TTL: time.Minute,
		Wait: 5 * time.Second, Metadata: map[string]string{"order": "7"}, QueueUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"json": map[string]any{"n": 1.0}, "ttl": "1m0s", "on_unknown": "queue",
		"metadata": map[string]any{"order": "7"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("body (-want +got):\n%s", d)
	}
	if path != "/v1/clients/a@b:1/messages" || query != "wait=5s" || auth != "Bearer lwk_x" || key == "" {
		t.Errorf("path %q, query %q, authorization %q, key %q", path, query, auth, key)
	}
	if m.ID != "msg_1" || m.Status != Acked || string(m.Answer()) != "done" || !m.Replayed {
		t.Errorf("message = %+v", m)
	}
}

func TestPayloadForms(t *testing.T) {
	for _, tt := range []struct {
		p    Payload
		want string
	}{
		{Text(""), `{"text":""}`},
		{Text("hi"), `{"text":"hi"}`},
		{JSON(nil), `{"json":null}`},
		{JSON(json.RawMessage(`{"a":1}`)), `{"json":{"a":1}}`},
		{Bytes(nil), `{"base64":""}`},
		{Bytes([]byte{0xff}), `{"base64":"/w=="}`},
	} {
		b, err := Push{Payload: tt.p}.body(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(b)
		if string(got) != tt.want {
			t.Errorf("body = %s, want %s", got, tt.want)
		}
	}
	if _, err := (Push{}).body(nil); err == nil {
		t.Error("a push without payload was taken")
	}
	if _, err := (Push{Payload: JSON(func() {})}).body(nil); err == nil {
		t.Error("a value that JSON cannot say was taken")
	}
}

// A repeat after a lost answer must name the same message.
func TestPushIsRepeatedUnderOneKey(t *testing.T) {
	var keys []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) < 3 {
			panic(http.ErrAbortHandler) // the answer is lost
		}
		answer(w, 202, `{"id":"msg_1","status":"queued"}`)
	})
	if _, err := c.Push(t.Context(), "a", Push{Payload: Text("x")}); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
		t.Errorf("keys = %q, want one key three times", keys)
	}
}

func TestOnlinePushIsNotRepeatedWhenItMayHaveActed(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if k := r.Header.Get("Idempotency-Key"); k != "" {
			t.Errorf("key %q with mode online", k)
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := c.Push(t.Context(), "a", Push{Payload: Text("x"), Mode: Online}); err == nil {
		t.Fatal("no error for a lost answer")
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("sent %d times, want once", got)
	}
}

// With a key the gateway sends an online push at most once, so that a repeat is safe.
func TestOnlinePushWithAKeyIsRepeated(t *testing.T) {
	var keys []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if len(keys) < 2 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Idempotency-Replayed", "true")
		answer(w, 200, `{"id":"msg_1","status":"acked","mode":"online"}`)
	})
	m, err := c.Push(t.Context(), "a", Push{Payload: Text("x"), Mode: Online, IdempotencyKey: "k"})
	if err != nil || !m.Replayed || len(keys) != 2 || keys[0] != "k" || keys[1] != "k" {
		t.Errorf("%+v, %v, keys %q", m, err, keys)
	}
}

func TestWhatIsRepeated(t *testing.T) {
	lost := errors.New("connection reset")
	problem := func(status int, code Code) error {
		return &Problem{Status: status, Type: "/docs/problems/" + string(code)}
	}
	for _, tt := range []struct {
		name             string
		err              error
		safe, idempotent bool // want for a call that is not idempotent, and for one that is
	}{
		{"lost answer", lost, false, true},
		{"rate limited", problem(429, CodeRateLimited), true, true},
		{"draining", problem(503, CodeDraining), true, true},
		{"store unknown", problem(503, CodeUnavailable), false, true},
		{"proxy lost the gateway", problem(502, ""), false, true},
		{"proxy timeout", problem(504, ""), false, true},
		{"device did not answer", problem(504, CodeAckTimeout), false, false},
		{"queue full", problem(409, CodeQueueFull), false, false},
		{"not found", problem(404, CodeClientNotFound), false, false},
		{"internal", problem(500, "internal"), false, false},
		{"foreign answer", &notGatewayError{lost}, false, false},
		{"too large", errAnswerTooLarge, false, false},
	} {
		if got := repeatable(tt.err, false); got != tt.safe {
			t.Errorf("%s: repeatable = %v, want %v", tt.name, got, tt.safe)
		}
		if got := repeatable(tt.err, true); got != tt.idempotent {
			t.Errorf("%s: idempotent repeatable = %v, want %v", tt.name, got, tt.idempotent)
		}
	}
}

func TestRetryPauses(t *testing.T) {
	r := Retry{}.withDefaults()
	for range 100 {
		for attempt, ceiling := range map[int]time.Duration{1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 40: 10 * time.Second} {
			if got := r.backoff(attempt); got < ceiling/2 || got > ceiling {
				t.Fatalf("backoff(%d) = %s, want %s to %s", attempt, got, ceiling/2, ceiling)
			}
		}
	}
	busy := &Problem{Status: 429, RetryAfter: 3 * time.Second}
	if d, again := r.after(1, busy, false); !again || d < 3*time.Second || d > 3200*time.Millisecond {
		t.Errorf("after a Retry-After of 3s: %s, %v", d, again)
	}
	if _, again := r.after(1, &Problem{Status: 429, RetryAfter: time.Minute}, false); again {
		t.Error("waits for longer than Max")
	}
	if _, again := r.after(4, busy, true); again {
		t.Error("a fifth attempt")
	}
}

func TestRetryAfterForms(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-3": 0, "soon": 0, "1h": 0,
		"99999999999": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		"Sun, 22 Nov 2026 08:00:07 GMT": 7 * time.Second,
		"Sun, 22 Nov 2026 07:00:00 GMT": 0,
	} {
		h := http.Header{}
		h.Set("Retry-After", v)
		if got := retryAfter(h, now); got != want {
			t.Errorf("Retry-After %q = %s, want %s", v, got, want)
		}
	}
}

func TestProblem(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 422, `{"type":"/docs/problems/validation-failed","title":"Validation failed","status":422,
			"detail":"the body breaks a rule","instance":"req-1","errors":[{"pointer":"/ttl","detail":"is negative"}]}`)
	})
	_, err := c.Push(t.Context(), "a", Push{Payload: Text("x")})
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		t.Fatalf("error = %v, want a *Problem", err)
	}
	if p.Code() != CodeValidation || p.Status != 422 || p.Instance != "req-1" {
		t.Errorf("problem = %+v", p)
	}
	if got, want := p.Error(), "Validation failed: the body breaks a rule (/ttl: is negative)"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}

func TestProblemSaysNothingTwice(t *testing.T) {
	for want, p := range map[string]Problem{
		"Simulated devices are off: the API needs a key": {Title: "Simulated devices are off", Detail: "simulated devices are off: the API needs a key"},
		"Invalid parameter: confirm must be 1":           {Title: "Invalid parameter", Detail: "confirm must be 1", Errors: []FieldError{{Parameter: "confirm", Detail: "must be 1"}}},
		"Validation failed: is negative (/ttl: is negative)": {Title: "Validation failed", Detail: "is negative",
			Errors: []FieldError{{Pointer: "/ttl", Detail: "is negative"}}},
		"Queue full":                 {Title: "Queue full", Detail: "Queue full"},
		"HTTP status 418: no coffee": {Status: 418, Detail: "no coffee"},
	} {
		if got := p.Error(); got != want {
			t.Errorf("Error = %q, want %q", got, want)
		}
	}
}

func TestProblemOfSomethingElse(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(404)
		io.WriteString(w, "<h1>nginx</h1>")
	})
	_, err := c.Client(t.Context(), "a")
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Code() != "" || p.Error() != "HTTP status 404 Not Found" {
		t.Errorf("error = %#v", err)
	}
}

// A server of another kind often says in plain text what is wrong.
func TestProblemInPlainText(t *testing.T) {
	for _, kind := range []string{"", "text/plain; charset=utf-8"} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{kind}
			w.WriteHeader(400)
			io.WriteString(w, "Client sent an HTTP request\n to an HTTPS server.\n"+strings.Repeat("é", 1000))
		})
		_, err := c.Client(t.Context(), "a")
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.Code() != "" || !strings.HasPrefix(p.Error(), "HTTP status 400 Bad Request: Client sent an HTTP request to an HTTPS server. é") {
			t.Errorf("%q: error = %v", kind, err)
		}
		if len(p.Detail) > maxPlain {
			t.Errorf("%q: %d bytes of detail", kind, len(p.Detail))
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"`)
		chunk := strings.Repeat("x", 1<<20)
		for range maxAnswer>>20 + 1 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	if _, err := c.Message(t.Context(), "msg_1", 0); !errors.Is(err, errAnswerTooLarge) {
		t.Errorf("error = %v, want %v", err, errAnswerTooLarge)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
}

func TestContextEndsACall(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 8)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { arrived <- struct{}{}; <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Message(ctx, "msg_1", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func TestListsFollowCursors(t *testing.T) {
	var queries []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		switch r.URL.Query().Get("cursor") {
		case "":
			answer(w, 200, `{"items":[{"id":"a"},{"id":"b"}],"next_cursor":"c1"}`)
		case "c1":
			answer(w, 200, `{"items":[],"next_cursor":"c2"}`) // a page may be empty and not the last
		default:
			answer(w, 200, `{"items":[{"id":"c"}]}`)
		}
	})
	var ids []string
	for info, err := range c.Clients(t.Context(), ClientQuery{Presence: PresenceAll, Labels: map[string]string{"m": "x2", "a": "b"}}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, info.ID)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, ids); d != "" {
		t.Error(d)
	}
	if got, want := queries[0], "label=a%3Db&label=m%3Dx2&limit=500&status=all"; got != want {
		t.Errorf("query = %q, want %q", got, want)
	}
	queries = nil
	for range c.Clients(t.Context(), ClientQuery{Limit: 2}) {
	}
	if d := cmp.Diff([]string{"limit=2"}, queries); d != "" {
		t.Errorf("with a limit of one page: %s", d)
	}
}

func TestListYieldsItsErrorLast(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			answer(w, 200, `{"items":[{"client":"a","status":"acked"}],"next_cursor":"same"}`)
			return
		}
		answer(w, 200, `{"items":[],"next_cursor":"same"}`)
	})
	var got []string
	for d, err := range c.Deliveries(t.Context(), "msg_1", DeliveryQuery{}) {
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, d.Client)
	}
	if d := cmp.Diff([]string{"a", "error"}, got); d != "" {
		t.Error(d)
	}
}

func TestUpdateAndDisconnect(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+string(b))
		if r.Method == http.MethodDelete {
			w.WriteHeader(204)
			return
		}
		answer(w, 200, `{"id":"a","labels":{"k":"v"}}`)
	})
	v := "v"
	if _, err := c.UpdateClient(t.Context(), "a", ClientChange{Labels: map[string]*string{"k": &v, "old": nil}, Groups: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Disconnect(t.Context(), "a", DisconnectOptions{Purge: true, Block: 10 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	want := []string{`PATCH /v1/clients/a {"labels":{"k":"v","old":null},"groups":[]}`, "DELETE /v1/clients/a?block=10m0s&purge=true "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCreateClient(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.RequestURI() + " " + string(b)
		answer(w, 201, `{"id":"a","online":false,"groups":["g"]}`)
	})
	info, err := c.CreateClient(t.Context(), NewClient{ID: "a", Groups: []string{"g"}})
	if err != nil || info.ID != "a" || info.Online || len(info.Groups) != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	if want := `POST /v1/clients {"id":"a","groups":["g"]}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

func TestReady(t *testing.T) {
	status := 200
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, status, `{"status":"ok"}`) })
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	status = 503
	if err := c.Ready(t.Context()); err == nil {
		t.Error("503 was taken for ready")
	}
}

// A server that answers 101 is no gateway, and so not a ready one.
func TestReadyOfAnotherProtocol(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "other")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}))
	defer s.Close()
	c, err := New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err == nil {
		t.Error("it is ready")
	}
}

// The answer of a gateway that is not ready is no problem document, and has the reason.
func TestAGatewayThatIsNotReadySaysWhy(t *testing.T) {
	for want, body := range map[string]string{
		"store-unavailable Not ready: store: no space": `{"status":"unavailable","checks":[{"name":"store","status":"unavailable","detail":"no space"},{"name":"accepting","status":"ok"}]}`,
		"draining Not ready: accepting: it stops":      `{"status":"unavailable","checks":[{"name":"store","status":"ok"},{"name":"accepting","status":"unavailable","detail":"it stops"}]}`,
		" HTTP status 503 Service Unavailable":         `{"message":"no upstream"}`,
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 503, body) })
		p, ok := errors.AsType[*Problem](c.Ready(t.Context()))
		if !ok || string(p.Code())+" "+p.Error() != want {
			t.Errorf("%s is read as %v %v, want %q", body, p.Code(), p, want)
		}
	}
}

func TestUplinksFollowTheSequence(t *testing.T) {
	var queries []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		if len(queries) == 1 {
			answer(w, 200, `{"items":[{"seq":5,"client":"a","text":"21.5"}],"next_after":9,"more":true}`)
			return
		}
		answer(w, 200, `{"items":[{"seq":12,"client":"a","base64":"/w=="}],"next_after":12,"more":false}`)
	})
	var got []string
	for u, err := range c.Uplinks(t.Context(), UplinkQuery{Client: "a", After: 4}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, u.Display())
	}
	if d := cmp.Diff([]string{"21.5", "/w=="}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"after=4&client=a&limit=500", "after=9&client=a&limit=500"}, queries); d != "" {
		t.Error(d)
	}
}

func TestUplinksThatFollowWaitForMore(t *testing.T) {
	var queries []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		switch len(queries) {
		case 1: // a filter has made it short
			answer(w, 200, `{"items":[],"next_after":9,"more":true}`)
		case 2: // the wait is over
			answer(w, 200, `{"items":[],"next_after":9,"more":false}`)
		default:
			answer(w, 200, `{"items":[{"seq":12,"client":"a","text":"21.5"}],"next_after":12,"more":false}`)
		}
	})
	since := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for u, err := range c.Uplinks(t.Context(), UplinkQuery{Follow: true, Since: since, Limit: 1}) {
		if err != nil || u.Seq != 12 {
			t.Errorf("got %+v, %v", u, err)
		}
	}
	const rest = "&limit=1&since=2026-11-01T00%3A00%3A00Z&wait=30s"
	if d := cmp.Diff([]string{"after=0" + rest, "after=9" + rest, "after=9" + rest}, queries); d != "" {
		t.Error(d)
	}
}

// A following query goes on behind the last uplink when the gateway was away for more calls
// than a list repeats, and ends when no other call can help.
func TestUplinksThatFollowGoOnAfterAFailure(t *testing.T) {
	calls := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch {
		case calls == 1:
			answer(w, 200, `{"items":[{"seq":5,"client":"a"}],"next_after":9,"more":false}`)
		case calls <= 10:
			panic(http.ErrAbortHandler)
		case calls == 11 && r.URL.Query().Get("after") == "9":
			answer(w, 200, `{"items":[{"seq":12,"client":"a"}],"next_after":12,"more":false}`)
		default:
			answer(w, 401, `{"type":"/docs/problems/unauthenticated","title":"No","status":401}`)
		}
	})
	var got []uint64
	var end error
	for u, err := range c.Uplinks(t.Context(), UplinkQuery{Follow: true}) {
		if end = err; err == nil {
			got = append(got, u.Seq)
		}
	}
	if p, ok := errors.AsType[*Problem](end); !cmp.Equal(got, []uint64{5, 12}) || !ok || p.Status != 401 {
		t.Errorf("got the uplinks %v and %v, want 5, 12 and the 401", got, end)
	}
}

// silent answers nothing, until the request is given up.
type silent struct{ asked int }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A gateway that never answers is not asked for minutes.
func TestACallWithoutAnAnswerEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		call  func(ctx context.Context, c *Client) error
		after time.Duration
		asked int
	}{
		"a read":            {func(ctx context.Context, c *Client) error { _, err := c.Client(ctx, "a"); return err }, 30 * time.Second, 1},
		"a read that waits": {func(ctx context.Context, c *Client) error { _, err := c.Message(ctx, "m", time.Minute); return err }, 90 * time.Second, 1},
		"a list": {func(ctx context.Context, c *Client) error {
			for _, err := range c.Clients(ctx, ClientQuery{}) {
				return err
			}
			return nil
		}, 30 * time.Second, 1},
		"a change": {func(ctx context.Context, c *Client) error { return c.EndTrace(ctx, "a") }, time.Minute, 2},
		"a push": {func(ctx context.Context, c *Client) error {
			_, err := c.Push(ctx, "a", Push{Payload: Text("x")})
			return err
		}, time.Minute, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(silent)
				c, err := New("http://gateway.test", WithHTTPClient(&http.Client{Transport: s}))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = tt.call(t.Context(), c)
				took := time.Since(began).Round(time.Second)
				if !errors.Is(err, context.DeadlineExceeded) || took != tt.after || s.asked != tt.asked {
					t.Fatalf("%v after %v and %d attempts, want no answer after %v and %d", err, took, s.asked, tt.after, tt.asked)
				}
				if want := "no answer within " + tt.after.String(); !strings.HasSuffix(err.Error(), want) {
					t.Errorf("the error is %q, want %q at its end", err, want)
				}
			})
		})
	}
}

func TestDeviceTokens(t *testing.T) {
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+string(b))
		switch r.Method {
		case http.MethodGet:
			answer(w, 200, `{"items":[{"id":"dtk_1","client":"m","status":"active"}]}`)
		case http.MethodPost:
			answer(w, 201, `{"id":"dtk_2","client":"m","status":"active","token":"lwd_x"}`)
		default:
			w.WriteHeader(204)
		}
	})
	list, err := c.DeviceTokens(t.Context(), "m")
	if err != nil || len(list) != 1 || list[0].ID != "dtk_1" {
		t.Errorf("%+v, %v", list, err)
	}
	made, err := c.CreateDeviceToken(t.Context(), "m", NewDeviceToken{ExpiresIn: time.Hour, Groups: []string{"g"}, Note: "n", Replaces: "dtk_1"})
	if err != nil || made.Token != "lwd_x" || made.ID != "dtk_2" {
		t.Errorf("%+v, %v", made, err)
	}
	if err := c.RevokeDeviceToken(t.Context(), "m", "dtk_2"); err != nil {
		t.Error(err)
	}
	want := []string{"GET /v1/clients/m/tokens ", `POST /v1/clients/m/tokens {"expires_in":"1h0m0s","groups":["g"],"note":"n","replaces":"dtk_1"}`,
		"DELETE /v1/clients/m/tokens/dtk_2 "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestALifeThatIsOverIsNotForEver: a deadline that has passed gives a negative duration.
func TestALifeThatIsOverIsNotForEver(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); !strings.Contains(string(b), `"expires_in":"-1s"`) {
			t.Errorf("%s %s: %s, and it would live for ever", r.Method, r.URL, b)
		}
		answer(w, 201, `{"id":"x"}`)
	})
	if _, err := c.CreateDeviceToken(t.Context(), "m", NewDeviceToken{ExpiresIn: -time.Second}); err != nil {
		t.Error(err)
	}
	if _, err := c.CreateAPIKey(t.Context(), NewAPIKey{Name: "x", Scopes: []string{"clients:read"}, ExpiresIn: -time.Second}); err != nil {
		t.Error(err)
	}
}
