package api

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/timeline"
)

// provocation makes any operation answer with a problem.
type provocation struct {
	kind    problem.Kind
	change  func(*Config)
	query   string
	headers []string
	body    string // "" = the sample's
	fits    func(e *endpoint) bool
}

func takesJSON(e *endpoint) bool { return e.takesBody() && !e.stream }
func changes(e *endpoint) bool   { return e.method != "GET" && e.method != "HEAD" }

var provocations = []provocation{
	{kind: problem.InvalidParameter, query: "nonsense=1", fits: func(e *endpoint) bool { return e.pattern != "/metrics" }},
	{kind: problem.Unauthenticated, change: func(c *Config) { c.Authorizer = APIKeys("lwk_0123456789abcdef0123456789abcdef") }},
	{kind: problem.HostNotAllowed, headers: []string{"Host", "evil.example"}},
	{kind: problem.CrossOrigin, headers: []string{"Origin", "https://evil.example"}, fits: changes},
	{kind: problem.Overloaded},
	{kind: problem.PayloadTooLarge, body: strings.Repeat(" ", 2<<10), change: func(c *Config) { c.MaxBody = 1 << 10 }, fits: func(e *endpoint) bool { return !e.stream }},
	{kind: problem.UnsupportedMediaType, headers: []string{"Content-Type", "application/x-nonsense"}, body: "x", fits: func(e *endpoint) bool {
		return e.takesBody() && e.pattern != "/v1/clients/{id}/messages" // which takes it as the payload
	}},
	{kind: problem.MalformedJSON, body: `{"a":`, fits: takesJSON},
	{kind: problem.UnknownField, body: `{"nonsense":1}`, fits: takesJSON},
}

// Whatever the operation, each problem of any call comes and is listed.
func TestProblemsOfAnyCall(t *testing.T) {
	for _, e := range newServer(Config{}).endpoints() {
		if e.need == public || e.method == http.MethodHead {
			continue
		}
		for _, p := range provocations {
			if p.fits != nil && !p.fits(&e) {
				continue
			}
			t.Run(fmt.Sprintf("%s %s %s", e.method, strings.ReplaceAll(e.pattern, "/", "|"), p.kind), func(t *testing.T) {
				h := newHarness(t, func(c *Config) {
					c.Metrics = http.NotFoundHandler()
					if p.change != nil {
						p.change(c)
					}
				})
				h.known("a")
				var leave func()
				h.ctx, leave = context.WithTimeout(t.Context(), 10*time.Second) // an event stream does not end
				defer leave()
				if p.kind == problem.Overloaded {
					full := newServer(Config{Gateway: h.gateway, Metrics: http.NotFoundHandler()})
					for full.load.Admit(apikey.Limit{}, false) == nil {
					}
					h.handler = full.handler()
				}
				s := samples[e.method+" "+e.pattern]
				body, content := s.body, s.content
				if p.body != "" {
					body = p.body
				}
				headers := p.headers
				if content != "" && !slices.Contains(headers, "Content-Type") {
					headers = append([]string{"Content-Type", content}, headers...)
				}
				if p.kind == problem.MalformedJSON || p.kind == problem.UnknownField {
					headers = []string{"Content-Type", "application/json"}
				}
				c := &called{harness: h, message: "msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11", key: "key_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"}
				h.call(e.method, c.target(e.pattern, p.query), body, headers...).wantProblem(p.kind.Status(), p.kind)
			})
		}
		t.Run(fmt.Sprintf("%s %s %s", e.method, strings.ReplaceAll(e.pattern, "/", "|"), problem.InsufficientScope), func(t *testing.T) {
			if e.need == anyKey {
				t.Skip("every key has it")
			}
			less := apikey.WebhooksWrite
			if e.need == less {
				less = apikey.WebhooksRead
			}
			keys, secret := keysetWith(t, less)
			h := newHarness(t, func(c *Config) { c.Metrics, c.Authorizer = http.NotFoundHandler(), keys })
			c := &called{harness: h, message: "msg_1", key: "key_1"}
			h.call(e.method, c.target(e.pattern, ""), "", "X-API-Key", secret).wantProblem(403, problem.InsufficientScope)
		})
		t.Run(fmt.Sprintf("%s %s %s", e.method, strings.ReplaceAll(e.pattern, "/", "|"), problem.RateLimited), func(t *testing.T) {
			keys, secret := keysetWith(t, apikey.Admin)
			h := newHarness(t, func(c *Config) {
				c.Metrics, c.Authorizer, c.Rate, c.Burst = http.NotFoundHandler(), keys, 0.001, 1
			})
			h.call("GET", "/v1/stats", "", "X-API-Key", secret).want(200)
			c := &called{harness: h, message: "msg_1", key: "key_1"}
			h.call(e.method, c.target(e.pattern, ""), "", "X-API-Key", secret).wantProblem(429, problem.RateLimited)
		})
	}
}

func TestVersionAnswersLoopbackNamesOnly(t *testing.T) {
	newHarness(t).call("GET", "/version", "", "Host", "evil.example").wantProblem(403, problem.HostNotAllowed)
}

// keysetWith returns a set of one key, and the key's secret.
func keysetWith(t *testing.T, scopes apikey.Scope) (*apikey.Keyset, string) {
	t.Helper()
	keys := apikey.NewKeyset()
	_, secret, err := keys.Create(apikey.Spec{Name: "k", Scopes: scopes}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return keys, secret
}

// failing is a store that has stopped.
type failing struct{ *memstore.Store }

func (failing) Client(gateway.ClientID) (r gateway.ClientRecord, err error) {
	return r, gateway.ErrUnavailable
}
func (failing) Clients(gateway.ClientQuery) (p gateway.Page[gateway.ClientRecord, gateway.ClientID], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) Message(gateway.MessageID) (m gateway.Message, err error) {
	return m, gateway.ErrUnavailable
}
func (failing) Messages(gateway.MessageQuery) (p gateway.Page[gateway.Message, gateway.MessageID], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) Deliveries(gateway.DeliveryQuery) (p gateway.Page[gateway.Delivery, gateway.ClientID], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) ClientDeliveries(gateway.ClientDeliveryQuery) (p gateway.Page[gateway.Delivery, gateway.Seq], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) Uplinks(gateway.ClientID, uint64, int) (p gateway.Page[gateway.Uplink, uint64], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) UplinksBefore(gateway.ClientID, uint64, int) (p gateway.Page[gateway.Uplink, uint64], err error) {
	return p, gateway.ErrUnavailable
}
func (failing) Recipients(gateway.Acceptance) (r gateway.Recipients, err error) {
	return r, gateway.ErrUnavailable
}
func (failing) EventSpan() (forgotten, last uint64, err error) { return 0, 0, gateway.ErrUnavailable }
func (failing) Events(uint64, int, []gateway.Event) ([]gateway.Event, uint64, error) {
	return nil, 0, gateway.ErrUnavailable
}
func (failing) Accept(context.Context, gateway.Acceptance) (r gateway.Receipt, err error) {
	return r, gateway.ErrUnavailable
}
func (failing) StartAccept(_ gateway.Acceptance, done func(gateway.Receipt, error)) {
	done(gateway.Receipt{}, gateway.ErrUnavailable)
}
func (failing) UpdateClient(context.Context, gateway.ClientID, gateway.ClientChange) (r gateway.ClientRecord, err error) {
	return r, gateway.ErrUnavailable
}
func (failing) CreateClient(context.Context, gateway.ClientID, time.Time, string, gateway.ClientChange) (r gateway.ClientRecord, err error) {
	return r, gateway.ErrUnavailable
}
func (failing) Cancel(context.Context, gateway.MessageID, time.Time) (m gateway.Message, err error) {
	return m, gateway.ErrUnavailable
}
func (failing) Purge(context.Context, gateway.ClientID, gateway.Span, time.Time) (int, error) {
	return 0, gateway.ErrUnavailable
}

// Without its store the gateway says so, whatever it is asked.
func TestProblemsWithoutAStore(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	h := newHarness(t)
	g := gatewaytest.New(t, failing{store}, gateway.Config{})
	h.handler = New(Config{Gateway: g, Simulator: simulatorOf(t, g)})
	for _, target := range []string{"/v1/clients?status=all", "/v1/clients/a", "/v1/clients/a/messages", "/v1/messages", "/v1/messages/msg_1", "/v1/messages/msg_1/deliveries", "/v1/uplinks",
		"/v1/uplinks?order=desc", "/v1/uplinks/1/payload", "/v1/messages/msg_1/payload", "/v1/messages?order=asc",
		"/v1/messages/msg_1/why", "/v1/messages/msg_1/deliveries/a", "/v1/clients/a/why",
		"/v1/events", "/v1/events/" + (&eventForm{}).id(7, time.UnixMilli(1_763_800_000_123))} {
		h.call("GET", target, "").wantProblem(503, ofStore)
	}
	h.call("POST", "/v1/clients/a/messages", pushText("x")).wantProblem(503, ofStore)
	h.call("POST", "/v1/messages", `{"to":{"client":"a"},"text":"x"}`).wantProblem(503, ofStore)
	h.call("POST", "/v1/messages", `{"to":{"client":"a"},"text":"x","dry_run":true}`).wantProblem(503, ofStore)
	h.call("POST", "/v1/clients", `{"id":"a"}`).wantProblem(503, ofStore)
	h.call("PATCH", "/v1/clients/a", `{"labels":{"a":"b"}}`).wantProblem(503, ofStore)
	h.call("POST", "/v1/clients/a/probe", "").wantProblem(503, ofStore)
	h.call("PUT", "/v1/simulator", `{"count":1}`).wantProblem(503, ofStore)
	h.call("DELETE", "/v1/simulator", "").wantProblem(503, ofStore)
	h.call("DELETE", "/v1/clients/a?purge=true", "").wantProblem(503, ofStore)
	h.call("DELETE", "/v1/clients?forget=true&prefix=a", "").wantProblem(503, ofStore)
	h.call("DELETE", "/v1/messages/msg_1", "").wantProblem(503, ofStore)
	h.call("DELETE", "/v1/clients/a/messages", "").wantProblem(503, ofStore)
	h.call("GET", "/v1/clients/a/timeline", "").wantProblem(503, ofStore)
	h.call("POST", "/v1/clients/a/trace", `{}`).wantProblem(503, ofStore)
	h.call("DELETE", "/v1/clients/a/trace", "").wantProblem(503, ofStore)
}

// Whether a trace, or a refused device, is of a member of the key's group is for the
// store to say.
func TestProblemsOfMembersWithoutAStore(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	keys := apikey.NewKeyset()
	_, secret, err := keys.Create(apikey.Spec{Name: "k", Scopes: apikey.ClientsRead | apikey.DevicesWrite, Limit: apikey.Limit{Group: "gang"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	if _, err := h.timeline.StartTrace(timeline.Trace{Client: "a", For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	h.handler = New(Config{Gateway: gatewaytest.New(t, failing{store}, gateway.Config{}), Timeline: h.timeline, Authorizer: keys, Refusals: &fakeRefusals{{Client: "a"}}})
	h.call("GET", "/v1/traces", "", "X-API-Key", secret).wantProblem(503, ofStore)
	h.call("GET", "/v1/refused", "", "X-API-Key", secret).wantProblem(503, ofStore)
	h.call("DELETE", "/v1/refused/a", "", "X-API-Key", secret).wantProblem(503, ofStore)
}

// diskFull accepts nothing.
type diskFull struct{ gateway.Store }

func diskFullError() error {
	return &gateway.Error{Code: gateway.CodeDiskFull, Cause: gateway.ErrUnavailable, RetryAfter: 5 * time.Second}
}

func (diskFull) Accept(context.Context, gateway.Acceptance) (gateway.Receipt, error) {
	return gateway.Receipt{}, diskFullError()
}

func (diskFull) CreateClient(context.Context, gateway.ClientID, time.Time, string, gateway.ClientChange) (r gateway.ClientRecord, err error) {
	return r, diskFullError()
}

func (s diskFull) StartAccept(a gateway.Acceptance, done func(gateway.Receipt, error)) {
	done(s.Accept(context.Background(), a))
}

// A full disk is named, and nothing was stored.
func TestProblemsOfAFullDisk(t *testing.T) {
	h, store := newHarness(t), memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	h.handler = New(Config{Gateway: gatewaytest.New(t, diskFull{store}, gateway.Config{})})
	for target, body := range map[string]string{"/v1/clients/a/messages": pushText("x"), "/v1/messages": `{"to":{"client":"a"},"text":"x"}`, "/v1/clients": `{"id":"a"}`} {
		a := h.call("POST", target, body)
		if p := a.wantProblem(503, problem.Kind(gateway.CodeDiskFull)); p.MessageID != "" || a.header.Get("Retry-After") != "5" {
			t.Errorf("%s: %+v, Retry-After %q; want no message and 5", target, p, a.header.Get("Retry-After"))
		}
	}
}

// eventsFull has no room in the log of events for its caller.
type eventsFull struct{ gateway.Store }

func eventsFullError() error {
	return &gateway.Error{Code: gateway.CodeEventsFull, RetryAfter: 7 * time.Minute}
}

func (eventsFull) Accept(context.Context, gateway.Acceptance) (gateway.Receipt, error) {
	return gateway.Receipt{}, eventsFullError()
}

func (eventsFull) StartAccept(_ gateway.Acceptance, done func(gateway.Receipt, error)) {
	done(gateway.Receipt{}, eventsFullError())
}

func (eventsFull) UpdateClient(context.Context, gateway.ClientID, gateway.ClientChange) (r gateway.ClientRecord, err error) {
	return r, eventsFullError()
}

func (eventsFull) CreateClient(context.Context, gateway.ClientID, time.Time, string, gateway.ClientChange) (r gateway.ClientRecord, err error) {
	return r, eventsFullError()
}

// A caller whose share of the event log is used up is told when there is room again.
func TestProblemsOfAUsedUpShareOfTheEventLog(t *testing.T) {
	h, store := newHarness(t), memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	h.handler = New(Config{Gateway: gatewaytest.New(t, eventsFull{store}, gateway.Config{})})
	for _, call := range [][3]string{
		{"POST", "/v1/clients/a/messages", pushText("x")},
		{"POST", "/v1/messages", `{"to":{"client":"a"},"text":"x"}`},
		{"POST", "/v1/clients", `{"id":"a"}`},
		{"PATCH", "/v1/clients/a", `{"groups":["g"]}`},
	} {
		a := h.call(call[0], call[1], call[2])
		a.wantProblem(429, problem.Kind(gateway.CodeEventsFull))
		if got := a.header.Get("Retry-After"); got != "420" {
			t.Errorf("%s %s: Retry-After %q, want 420", call[0], call[1], got)
		}
	}
}

// A push to one client of many is refused as one to the client's own path is.
func TestProblemsOfAPushToOneOfMany(t *testing.T) {
	h := newHarnessOn(t, gateway.Config{})
	h.known("a")
	to := func(id, more string) string { return `{"to":{"client":"` + id + `"},"text":"x"` + more + `}` }
	h.call("POST", "/v1/messages", to("a", `,"mode":"online"`)).wantProblem(409, problem.Kind(gateway.CodeClientOffline))
	h.device("b", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) { l.Sent(p) }})
	h.call("POST", "/v1/messages?wait=1ms", to("b", `,"mode":"online"`)).wantProblem(504, problem.Kind(gateway.CodeAckTimeout))
	for range gateway.DefaultMaxQueued {
		if _, err := h.gateway.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{Client: "a"}, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	h.call("POST", "/v1/messages", to("a", "")).wantProblem(409, problem.Kind(gateway.CodeQueueFull))
	full := memstore.New(memstore.Options{MaxClients: 1})
	t.Cleanup(func() { full.Close() })
	f := *h
	f.gateway = gatewaytest.New(t, full, gateway.Config{})
	f.handler = New(Config{Gateway: f.gateway})
	f.known("a")
	for _, call := range []string{"/v1/clients/c/messages", "/v1/messages"} {
		body := to("c", `,"on_unknown":"queue"`)
		if call != "/v1/messages" {
			body = `{"text":"x","on_unknown":"queue"}`
		}
		f.call("POST", call, body).wantProblem(409, problem.Kind(gateway.CodeTooManyClients))
	}
	h.gateway.Drain()
	h.call("POST", "/v1/messages", to("a", "")).wantProblem(503, problem.Kind(gateway.CodeDraining))
}

// A body that is under way when draining begins has two seconds.
func TestProblemsOfABodyWhileDraining(t *testing.T) {
	h := newHarness(t)
	h.known("a")
	s := newServer(Config{Gateway: h.gateway, Tokens: h.tokens})
	s.drain.start(1)
	for _, e := range s.endpoints() {
		if !takesJSON(&e) {
			continue
		}
		c := &called{harness: h}
		r := newRequest(t.Context(), e.method, c.target(e.pattern, ""), "")
		r.Body, r.ContentLength = readCloser{iotest.ErrReader(os.ErrDeadlineExceeded)}, 9
		w := newRecorder()
		s.handler().ServeHTTP(w, r)
		a := answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		a.wantProblem(503, problem.Kind(gateway.CodeDraining))
		a.check(r)
	}
}

// TestMain asks, when all tests have run, whether each problem that an operation
// lists was met.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" {
		for op, byStatus := range Problems() {
			for _, types := range byStatus {
				for _, t := range types {
					key := op + " " + strings.TrimPrefix(t, problem.Path)
					if _, met := seen.Load(key); !met && !strings.HasPrefix(op, "HEAD ") && !strings.HasSuffix(t, "/internal") {
						fmt.Println("no test meets the problem that routes.go lists:", key)
						code = 1
					}
				}
			}
		}
	}
	os.Exit(code)
}
