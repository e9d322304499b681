package api

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/webhook"
)

// sample is how the walk calls one route: with a body, where the route takes
// one, and with each of the queries.
type sample struct {
	content string
	body    string
	queries []string
	stores  bool // a 2xx answer means that something has changed
}

// samples is by method and pattern. A route that takes a body must be here; the
// others are called as they are.
var samples = map[string]sample{
	"PATCH /v1/clients/{id}":         {content: "application/json", body: `{"labels":{"site":"berlin-mitte-north-9"}}`, stores: true},
	"POST /v1/clients/{id}/messages": {content: "text/plain", body: strings.Repeat("open ", 20), stores: true, queries: []string{"", "wait=200ms", "mode=online&wait=200ms"}},
	"POST /v1/messages":              {content: "application/json", body: `{"to":{"client":"a"},"text":"open the gate"}`, stores: true, queries: []string{"", "wait=200ms"}},
	"POST /v1/messages/bulk":         {content: ndjson, body: `{"to":{"client":"a"},"text":"open the gate"}` + "\n", stores: true, queries: []string{"", "wait=200ms"}},
	"POST /v1/clients":               {content: "application/json", body: `{"id":"line-1"}`, stores: true},
	"POST /v1/clients/{id}/trace":    {content: "application/json", body: `{"for":"5m"}`, stores: true},
	"POST /v1/clients/{id}/tokens":   {content: "application/json", body: `{"expires_in":"90d"}`, stores: true},
	"PUT /v1/simulator":              {content: "application/json", body: `{"count":1}`},
	"PUT /v1/consumers/{name}":       {content: "application/json", body: `{"types":["message.received"],"group":"line-one"}`, stores: true},
	"POST /v1/consumers/{name}/ack":  {content: "application/json", body: `{"through":"1","lease":"none"}`},
	"POST /v1/keys":                  {content: "application/json", body: `{"name":"line-1","scopes":["clients:read"]}`, stores: true},
	"GET /v1/messages/{id}":          {queries: []string{"", "wait=200ms"}},
	"DELETE /v1/messages/{id}":       {stores: true},
	"DELETE /v1/keys/{id}":           {stores: true},
	"POST /v1/webhooks":              {content: "application/json", body: `{"url":"http://127.0.0.1:1/","state":"paused"}`, stores: true},
	"PATCH /v1/webhooks/{id}":        {content: "application/json", body: `{"name":"orders"}`, stores: true},
	"DELETE /v1/webhooks/{id}":       {stores: true},
	"POST /v1/webhooks/{id}/replay":  {content: "application/json", body: `{"after":"earliest"}`},
}

// called is the API for one call, with a client with a queued message that is offline, one that is
// connected and acks, a key that may do everything and one to be revoked.
type called struct {
	*harness
	device       *gatewaytest.Link
	addr         string
	secret       string
	message, key string
	hook         string // id of a paused webhook
}

func newCalled(t *testing.T) *called {
	h := newHarness(t)
	h.known("a")
	c := &called{harness: h, device: h.device("b", answering(gateway.AckOK, "done"))}
	keys := apikey.NewKeyset()
	_, secret, err := keys.Create(apikey.Spec{Name: "all", Scopes: apikey.Admin}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	idle, _, err := keys.Create(apikey.Spec{Name: "idle", Scopes: apikey.ClientsRead}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h.tokens.issue("a")
	hook, err := h.hooks.Create(t.Context(), webhook.Spec{URL: "http://127.0.0.1:1/", State: webhook.Paused}, apikey.Limit{}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Gateway: h.gateway, Webhooks: h.hooks, Consumers: h.consumers, Timeline: h.timeline, Tokens: h.tokens, Authorizer: keys, ReadTimeout: 300 * time.Millisecond,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up 1\n") })}
	h.handler = New(cfg)
	c.secret, c.key, c.hook = secret, idle.ID, hook.ID
	c.message = decode[Message](c.call("POST", "/v1/clients/a/messages", pushText("waits"), "Authorization", "Bearer "+secret).want(202)).ID
	l := listen(t)
	serve(t, cfg, l)
	c.addr = l.Addr().String()
	return c
}

// state is what callers can have changed, as the API shows it.
func (c *called) state() string {
	var all strings.Builder
	for _, target := range []string{"/v1/messages?limit=1000", "/v1/clients?id=a&id=line-1", "/v1/clients/a/tokens", "/v1/keys", "/v1/webhooks", "/v1/consumers", "/v1/traces"} {
		r := httptest.NewRequest("GET", "http://localhost"+target, nil)
		r.Header.Set("Authorization", "Bearer "+c.secret)
		w := newRecorder()
		c.handler.ServeHTTP(w, r)
		for line := range strings.Lines(w.Body.String()) {
			all.WriteString(lag.ReplaceAllString(line, ""))
		}
	}
	return fmt.Sprintf("%s%d online deliveries", withoutUse(all.String()), len(c.device.Transmissions()))
}

// lag is what of a webhook or consumer changes by itself, or by a pull.
var lag = regexp.MustCompile(`"lag_events":\d+|"holder":"[^"]*",?|"now":"[^"]*"`)

// withoutUse leaves out when a key was used last.
func withoutUse(s string) string {
	for {
		i := strings.Index(s, `"last_used_at":"`)
		if i < 0 {
			return s
		}
		rest := s[i+len(`"last_used_at":"`):]
		s = s[:i] + rest[strings.IndexByte(rest, '"')+1:]
	}
}

// target fills the parameters of a pattern.
func (c *called) target(pattern, query string) string {
	id := "a"
	switch {
	case strings.Contains(query, "mode=online"):
		id = "b"
	case strings.HasPrefix(pattern, "/v1/messages/"):
		id = c.message
	case strings.HasPrefix(pattern, "/v1/keys/"):
		id = c.key
	case strings.HasPrefix(pattern, "/v1/webhooks/"):
		id = cmp.Or(c.hook, "wh_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11")
	}
	t := strings.NewReplacer("{id}", id, "{name}", "orders", "{token}", "dtk_1", "{file}", "index.css", "{slug}", "draining").Replace(pattern)
	if query != "" {
		t += "?" + query
	}
	return t
}

// send sends a request, or its first half, and ends the caller's direction as
// told. It returns what came back: status 0 for a connection that was cut.
func (c *called) send(method, target string, s sample, half bool, end string) (status int, body string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	payload, length := s.body, len(s.body)
	if half {
		if payload == "" {
			payload, length = strings.Repeat("x", 40), 40
		}
		payload = payload[:length/2]
	}
	request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n", method, target, c.secret)
	if length > 0 {
		request += fmt.Sprintf("Content-Length: %d\r\nContent-Type: %s\r\n", length, s.content)
	}
	io.WriteString(conn, request+"\r\n"+payload)
	switch end {
	case "half-close":
		conn.(*net.TCPConn).CloseWrite()
	case "reset":
		conn.(*net.TCPConn).SetLinger(0)
		return 0, ""
	}
	return readAnswer(c.t, conn, method)
}

// readAnswer reads an answer to its end; of a stream that does not end, what
// comes at once.
func readAnswer(t *testing.T, conn net.Conn, method string) (status int, body string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("no answer, and the connection is not cut")
		}
		return 0, ""
	}
	if strings.Contains(resp.Header.Get("Content-Type"), "event-stream") {
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, string(b) // cut in the middle
	}
	return resp.StatusCode, string(b)
}

// TestEveryRequestGetsItsTrueAnswer: whatever a caller does to its end of the
// connection, there is no success without a body, a request that was read is
// carried out and answered, and of half a request nothing is stored.
func TestEveryRequestGetsItsTrueAnswer(t *testing.T) {
	walked := 0
	bare := map[string]bool{} // that take no body
	for _, e := range newServer(Config{}).endpoints() {
		bare[e.method+" "+e.pattern] = e.noBody
	}
	err := chi.Walk(newServer(Config{}).routes(), func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		s, known := samples[method+" "+pattern]
		if !known && (method == "POST" || method == "PATCH") && !bare[method+" "+pattern] {
			t.Errorf("%s %s takes a body and has no sample here", method, pattern)
		}
		if s.queries == nil {
			s.queries = []string{""}
		}
		for _, query := range s.queries {
			for _, half := range []bool{false, true} {
				for _, end := range []string{"half-close", "reset", "waits"} {
					if half && end == "waits" && pattern == "/v1/messages/bulk" {
						continue // it may take bulkTimeout for its next bytes
					}
					walked++
					name := fmt.Sprintf("%s %s?%s half=%v %s", method, pattern, query, half, end)
					t.Run(strings.ReplaceAll(name, "/", "|"), func(t *testing.T) {
						t.Parallel()
						c := newCalled(t)
						c.judge(method, pattern, query, s, half, end)
					})
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if walked < 200 {
		t.Errorf("%d calls were made, want one for each route, body and end", walked)
	}
}

func (c *called) judge(method, pattern, query string, s sample, half bool, end string) {
	t := c.t
	t.Helper()
	before := c.state()
	status, body := c.send(method, c.target(pattern, query), s, half, end)
	api := strings.HasPrefix(pattern, "/v1/") || pattern == "/metrics"
	if kind := typeIn(body); status >= 400 && kind != "" && api {
		met(t, method+" "+pattern, status, kind)
	}
	if status >= 200 && status < 300 && status != http.StatusNoContent && body == "" && method != http.MethodHead {
		t.Errorf("answered %d with no body", status)
	}
	switch {
	case end == "reset":
		// There is no caller to answer. What was read of the request is carried out
		// or not; half of it never is.
		if half && c.state() != before {
			t.Errorf("half a request has changed the state")
		}
	case !half:
		if status == 0 {
			t.Fatal("a whole request got no answer")
		}
		if status < 400 && s.stores && c.state() == before {
			t.Errorf("answered %d %s, and nothing was done", status, body)
		}
	case !api:
	case end == "half-close" && pattern == "/v1/messages/bulk":
		if !strings.Contains(body, `{"done":false,`) || !strings.Contains(body, string(problem.IncompleteBody)) {
			t.Errorf("answered %d %s, want a summary that names %s", status, body, problem.IncompleteBody)
		}
	case end == "half-close":
		want, _ := json.Marshal(problem.Path + string(problem.IncompleteBody))
		if status != http.StatusBadRequest || method != http.MethodHead && !strings.Contains(body, string(want)) {
			t.Errorf("answered %d %s, want 400 %s", status, body, problem.IncompleteBody)
		}
	}
	if half && c.state() != before {
		t.Errorf("half a request has changed the state: answered %d %s", status, body)
	}
	if resp, err := http.Get("http://" + c.addr + "/livez"); err != nil || resp.StatusCode != 200 {
		t.Errorf("afterwards /livez: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// typeIn is the type of the problem in a body, "" for none.
func typeIn(body string) string {
	var p problem.Problem
	if json.Unmarshal([]byte(body), &p) != nil {
		return ""
	}
	return p.Type
}

// A stream of lines that ends with its caller's direction is no empty success
// either.
func TestAStreamOfLinesOfACallerWhoHalfCloses(t *testing.T) {
	c := newCalled(t)
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", c.secret)
	conn.(*net.TCPConn).CloseWrite()
	if status, body := readAnswer(t, conn, "GET"); status != 200 || body == "" {
		t.Errorf("answered %d %q, want 200 and the blank line that ends it", status, body)
	}
}

// A handler that gives no answer is cut off: net/http would send an empty 200.
func TestAHandlerWithoutAnAnswerCutsTheConnection(t *testing.T) {
	s := newServer(Config{Gateway: newHarness(t).gateway})
	recorded := make(statuses, 1)
	s.cfg.Recorder = recorded
	r := chi.NewRouter()
	s.register(r, "GET", endpoint{pattern: "/mute", need: public, handler: func(http.ResponseWriter, *http.Request) error { return nil }})
	srv := httptest.NewServer(s.observe(r))
	t.Cleanup(srv.Close)
	if resp, err := http.Get(srv.URL + "/mute"); err == nil {
		t.Errorf("answered %d, want the connection cut", resp.StatusCode)
	}
	if got := <-recorded; got != http.StatusInternalServerError {
		t.Errorf("counted as %d, want 500", got)
	}
}

type statuses chan int

func (s statuses) Request(_, _ string, status int, _ time.Duration) { s <- status }
func (s statuses) Expect(string, string, int)                       {}
