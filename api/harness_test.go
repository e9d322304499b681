package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/docs"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/webhook"
)

// harness is the API over a real gateway with the in-memory store.
type harness struct {
	t       *testing.T
	store   *memstore.Store
	gateway *gateway.Gateway
	handler http.Handler
	tokens  *fakeTokens
	ctx     context.Context // of calls, nil = without an end
	hooks   *webhook.Manager

	consumers *consumer.Manager
	timeline  *timeline.Book
}

func newHarness(t *testing.T, change ...func(*Config)) *harness {
	t.Helper()
	return newHarnessOn(t, gateway.Config{}, change...)
}

func newHarnessOn(t *testing.T, g gateway.Config, change ...func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, store: memstore.New(memstore.Options{}), tokens: &fakeTokens{}, timeline: timeline.New(timeline.Config{})}
	t.Cleanup(h.timeline.Close)
	g.Steps = h.timeline
	t.Cleanup(func() { h.store.Close() })
	h.gateway = gatewaytest.New(t, h.store, g)
	cfg := Config{Gateway: h.gateway, Version: Version{Version: "1.2.3"}, Tokens: h.tokens, Timeline: h.timeline}
	cfg.Webhooks, cfg.Consumers = hooks(t, h.gateway), consumersOf(t, h.gateway)
	cfg.Simulator = simulatorOf(t, h.gateway)
	for _, c := range change {
		c(&cfg)
	}
	h.hooks, h.consumers = cfg.Webhooks, cfg.Consumers
	h.handler = New(cfg)
	return h
}

// hooks returns the webhooks of a gateway, which may go to this machine.
func hooks(t *testing.T, g *gateway.Gateway) *webhook.Manager {
	t.Helper()
	m, err := webhook.New(webhook.Config{Gateway: g, Lookup: feed.NewLookup(g), Encode: EventEncoder(g, ""), AllowLoopback: func() bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	t.Cleanup(func() { m.Close() })
	return m
}

// consumersOf returns the consumers of a gateway.
func consumersOf(t *testing.T, g *gateway.Gateway) *consumer.Manager {
	t.Helper()
	m, err := consumer.New(consumer.Config{Gateway: g, Lookup: feed.NewLookup(g)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// in is the same harness for a subtest.
func (h *harness) in(t *testing.T) *harness {
	sub := *h
	sub.t = t
	return &sub
}

// label gives a client labels, as the operator does.
func (h *harness) label(id gateway.ClientID, labels map[string]string) {
	h.t.Helper()
	change := gateway.ClientChange{Labels: map[string]*string{}}
	for k, v := range labels {
		change.Labels[k] = &v
	}
	if _, err := h.gateway.UpdateClient(h.t.Context(), id, change); err != nil {
		h.t.Fatal(err)
	}
}

// device connects a client.
func (h *harness) device(id gateway.ClientID, o gatewaytest.Options) *gatewaytest.Link {
	h.t.Helper()
	return gatewaytest.Connect(h.t, h.gateway, id, o)
}

// known makes a client known and leaves it offline.
func (h *harness) known(id gateway.ClientID) {
	h.t.Helper()
	h.device(id, gatewaytest.Options{}).Disconnect(gateway.ReasonClientClosed)
}

// answering is a device that acks with a verdict and a result.
func answering(code gateway.AckCode, result string) gatewaytest.Options {
	return gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		l.Ack(p, code, []byte(result))
	}}
}

// answer is a response, read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// call sends a request; headers are name, value pairs. What comes back is
// checked against the published description.
func (h *harness) call(method, target, body string, headers ...string) answer {
	h.t.Helper()
	r := httptest.NewRequestWithContext(cmp.Or(h.ctx, context.Background()), method, "http://localhost"+target, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
		r.ContentLength = 0
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	a := answer{t: h.t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	a.check(r)
	return a
}

var description = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi()
	if err != nil {
		return nil, err
	}
	anywhere := *doc
	anywhere.Servers = nil // the router would look for a host
	return legacy.NewRouter(&anywhere)
})

// openapi returns the published description. In OpenAPI 3.0.3 a schema without a
// type allows null. kin-openapi needs "nullable" for that, and other tools refuse it.
var openapi = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI)
	if err != nil {
		return nil, err
	}
	for _, s := range doc.Components.Schemas {
		if p := s.Value.Properties["json"]; p != nil {
			p.Value.Nullable = true
		}
	}
	return doc, nil
})

// check validates a real answer against the OpenAPI description. Routes that
// are not described (documents, unknown paths) have nothing to be held to.
func (a answer) check(r *http.Request) {
	a.t.Helper()
	router, err := description()
	if err != nil {
		a.t.Fatalf("description: %v", err)
	}
	route, params, err := router.FindRoute(r)
	if err != nil && r.Method == http.MethodHead { // as its GET, unless it is described by itself
		r = r.Clone(r.Context())
		r.Method = http.MethodGet
		route, params, err = router.FindRoute(r)
	}
	switch described := strings.HasPrefix(r.URL.Path, "/v1/") && a.status != 404 && a.status != 405 && r.Method != "OPTIONS"; {
	case err != nil && described:
		a.t.Errorf("%s %s is not described: %v", r.Method, r.URL, err)
		return
	case err != nil:
		return
	case a.header.Get("Content-Type") == ndjson:
		a.checkLines(route.Operation)
		return
	}
	a.checkProblem(r, route)
	a.checkHeaders(r, route.Operation)
	if r.URL.Query().Has("fields") {
		return // members that are required otherwise are left out
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: params},
		Status:                 a.status,
		Header:                 a.header,
		Body:                   io.NopCloser(bytes.NewReader(a.body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		a.t.Errorf("%s %s: the answer is not as described: %v\n%s", r.Method, r.URL, err, a.body)
	}
}

// seen are the problems that tests have met, by operation.
var seen sync.Map

// checkProblem wants the problem to be one of those that the operation lists.
func (a answer) checkProblem(r *http.Request, route *routers.Route) {
	a.t.Helper()
	if a.status < 400 || r.Method == http.MethodHead || !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") {
		return
	}
	var p problem.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Errorf("%s %s: %v in %s", r.Method, r.URL, err, a.body)
		return
	}
	if p.Code() != string(problem.MethodNotAllowed) && p.Code() != string(problem.Internal) { // of any path
		met(a.t, route.Method+" "+route.Path, a.status, p.Type)
	}
}

// met notes a problem, which routes.go must list for the operation.
func met(t *testing.T, op string, status int, kind string) {
	t.Helper()
	seen.Store(op+" "+strings.TrimPrefix(kind, problem.Path), true)
	if e, ok := Problems()[op]; ok && !slices.Contains(e[status], kind) {
		t.Errorf("%s answers %d %s, which routes.go does not list", op, status, kind)
	}
}

// undescribedHeaders are of every HTTP answer, or of the server around the API.
var undescribedHeaders = []string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Connection", "Vary", "X-Accel-Buffering",
	"Referrer-Policy", "X-Frame-Options", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Date", "Strict-Transport-Security"}

// checkHeaders wants each header of the answer to be declared for its status.
func (a answer) checkHeaders(r *http.Request, op *openapi3.Operation) {
	a.t.Helper()
	response := op.Responses.Status(a.status)
	if response == nil {
		response = op.Responses.Default()
	}
	if response == nil || r.Method == http.MethodOptions {
		return
	}
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") || slices.Contains(undescribedHeaders, name) {
			continue
		}
		declared := false
		for d := range response.Value.Headers {
			declared = declared || http.CanonicalHeaderKey(d) == name
		}
		if !declared {
			a.t.Errorf("%s %s: %d has the header %s, which is not declared", r.Method, r.URL, a.status, name)
		}
	}
}

// checkLines validates each line of a streamed answer.
func (a answer) checkLines(op *openapi3.Operation) {
	a.t.Helper()
	schema := op.Responses.Status(a.status).Value.Content[ndjson].Schema.Value
	for line := range bytes.Lines(a.body) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			a.t.Errorf("%s: %q is no line of JSON: %v", op.OperationID, line, err)
		} else if err := schema.VisitJSON(v); err != nil {
			a.t.Errorf("%s: the line is not as described: %v\n%s", op.OperationID, err, line)
		}
	}
}

// decode reads the body as T.
func decode[T any](a answer) T {
	a.t.Helper()
	var v T
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		a.t.Fatalf("decode %T: %v\n%s", v, err, a.body)
	}
	return v
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d\n%s", a.status, status, a.body)
	}
	return a
}

// wantProblem checks status, type and content type of a refusal.
func (a answer) wantProblem(status int, kind problem.Kind) problem.Problem {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("content type %q, want problem+json", got)
	}
	p := decode[problem.Problem](a)
	if p.Type != problem.Path+string(kind) || p.Status != status || p.Title == "" || p.Instance != a.header.Get("X-Request-Id") {
		a.t.Errorf("problem %+v, want type %s, status %d, a title and the request id", p, kind, status)
	}
	return p
}

func text(s *string) string {
	if s == nil {
		return "<none>"
	}
	return *s
}

func pushText(s string) string { return fmt.Sprintf(`{"text":%q}`, s) }

func newRequest(ctx context.Context, method, target, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, "http://localhost"+target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// New returns the HTTP API without a server around it.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }
