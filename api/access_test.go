package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/webhook"
)

// world is a gateway with three tenants, each with a client, a message to all
// that it can reach and data that its client sent, and a message of nobody's to
// everybody.
type world struct {
	*harness
	keys     *apikey.Keyset
	secrets  map[string]string // by the name of the key
	ids      map[string]string // of keys, likewise
	messages map[string]string // id by tenant
}

// tenants are the limits of the keys called so.
var tenants = map[string]apikey.Limit{"a": {Prefix: "a-"}, "b": {Prefix: "b-"}, "g": {Group: "gang"}}

// limitable are the scopes that a key limited to a group can have; one limited to a prefix
// can have metrics:read, too.
const limitable = apikey.ClientsRead | apikey.ClientsWrite | apikey.MessagesRead | apikey.MessagesWrite | apikey.EventsRead | apikey.WebhooksRead | apikey.WebhooksWrite | apikey.DevicesWrite

// scopesOf are all scopes that a key with a limit can have.
func scopesOf(l apikey.Limit) apikey.Scope {
	if l.Prefix != "" {
		return limitable | apikey.MetricsRead
	}
	return limitable
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{keys: apikey.NewKeyset(), secrets: map[string]string{}, ids: map[string]string{}, messages: map[string]string{}}
	change = append([]func(*Config){func(c *Config) {
		c.Authorizer = w.keys
		c.Refusals = &fakeRefusals{refusedOf("a"), refusedOf("b"), refusedOf("g")}
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "longwire_up 1") })
	}}, change...)
	w.harness = newHarness(t, change...)
	w.key("unlimited", apikey.Spec{Scopes: apikey.Admin})
	for _, name := range apikey.ScopeNames() {
		scope, _ := apikey.ParseScopes([]string{name})
		w.key(name, apikey.Spec{Scopes: scope})
	}
	w.key("revoked", apikey.Spec{Scopes: apikey.Admin})
	if err := w.keys.Revoke(w.ids["revoked"]); err != nil {
		t.Fatal(err)
	}
	w.expired()
	for tenant, limit := range tenants {
		w.key(tenant, apikey.Spec{Scopes: scopesOf(limit), Limit: limit})
		w.populate(tenant)
	}
	w.messages["all"] = w.push("unlimited", `{"to":{"all":true},"text":"for all"}`)
	for tenant := range tenants {
		w.messages[tenant] = w.push(tenant, `{"to":{"all":true},"text":"of `+tenant+`"}`)
	}
	return w
}

func (w *world) key(name string, s apikey.Spec) {
	w.t.Helper()
	s.Name = name
	k, secret, err := w.keys.Create(s, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.secrets[name], w.ids[name] = secret, k.ID
}

// eventOf returns the id of an event of a client, or of none.
func (w *world) eventOf(id gateway.ClientID) string {
	w.t.Helper()
	form := newServer(Config{Gateway: w.gateway}).eventForm(nil)
	sub, _, err := w.gateway.Subscribe(0)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.gateway.Client(id); err != nil {
		return form.id(1<<40, time.UnixMilli(1_763_800_000_123))
	}
	for {
		events, err := sub.Next(w.t.Context(), nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if e := events[0]; e.Client == id {
			return form.id(e.Seq, e.At)
		}
	}
}

// uplinkOf returns the sequence of an uplink of a client, or of none.
func (w *world) uplinkOf(id gateway.ClientID) uint64 {
	w.t.Helper()
	page, err := w.gateway.Uplinks(id, 0, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(page.Items) == 0 {
		return 1 << 40
	}
	return page.Items[0].Seq
}

// expired makes a key whose time was over a second after it began, an hour ago.
func (w *world) expired() {
	w.t.Helper()
	then := time.Now().Add(-time.Hour)
	_, secret, err := w.keys.Create(apikey.Spec{Name: "expired", Scopes: apikey.Admin, ExpiresAt: then.Add(2 * time.Second)}, then)
	if err != nil {
		w.t.Fatal(err)
	}
	w.secrets["expired"] = secret
}

func client(tenant string) gateway.ClientID { return gateway.ClientID(tenant + "-truck") }

func (w *world) populate(tenant string) {
	w.t.Helper()
	o := gatewaytest.Options{}
	if group := tenants[tenant].Group; group != "" {
		o.Hello.Groups = []string{group}
	}
	l := w.device(client(tenant), o)
	if err := l.Session.Received(w.t.Context(), 1, []byte("from "+tenant)); err != nil {
		w.t.Fatal(err)
	}
	l.Disconnect(gateway.ReasonClientClosed)
}

func (w *world) push(key, body string) string {
	w.t.Helper()
	return decode[Message](w.as(key, "POST", "/v1/messages", body).want(202)).ID
}

// as calls with a key.
func (w *world) as(key, method, target, body string, headers ...string) answer {
	w.t.Helper()
	if secret := w.secrets[key]; secret != "" {
		headers = append(headers, "Authorization", "Bearer "+secret)
	}
	return w.call(method, target, body, headers...)
}

const nobody = "z" // a tenant without a key, client or message

func (w *world) message(tenant string) string {
	if id, ok := w.messages[tenant]; ok {
		return id
	}
	return "msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"
}

// webhook makes a webhook of a tenant, which posts nothing by itself, and returns its id.
func (w *world) webhook(tenant string, state webhook.State) string {
	w.t.Helper()
	limit, known := tenants[tenant]
	if !known {
		return "wh_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"
	}
	spec := webhook.Spec{URL: "http://127.0.0.1:1/", State: state, Filter: feed.Filter{Types: []string{string(gateway.EventWebhookDisabled)}}}
	h, err := w.hooks.Create(w.t.Context(), spec, limit, false, w.gateway.LastEvent())
	if err != nil {
		w.t.Fatal(err)
	}
	return h.ID
}

// trace traces the client of a tenant.
func (w *world) trace(tenant string) {
	w.t.Helper()
	if _, err := w.gateway.Client(client(tenant)); err != nil {
		return // nobody's
	}
	if _, err := w.timeline.StartTrace(timeline.Trace{Client: client(tenant), For: time.Minute}); err != nil {
		w.t.Fatal(err)
	}
}

// consumer makes a consumer of a tenant with a puller, and returns its name and lease.
func (w *world) consumer(tenant string) (name, lease string) {
	w.t.Helper()
	name = tenant + "-orders"
	limit, known := tenants[tenant]
	if !known {
		return name, "none"
	}
	for _, l := range []apikey.Limit{limit, {}} { // the operator has its own of the same name
		if err := w.consumers.Delete(w.t.Context(), name, l); err != nil && !errors.Is(err, consumer.ErrNotFound) {
			w.t.Fatal(err)
		}
		if _, _, err := w.consumers.Put(w.t.Context(), name, feed.Filter{}, l, 0, false); err != nil {
			w.t.Fatal(err)
		}
	}
	b, err := w.consumers.Pull(w.t.Context(), name, limit, consumer.Query{From: "test", Most: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return name, b.Lease
}

// ask is a request that a route answers.
type ask struct {
	target, body, contentType string
	operator                  int  // status for a key without a limit, if that is another one
	status                    int  // of the answer to a caller who may
	whole                     bool // it is about all tenants, and refused to a limited key
}

// asks has, for each route that needs a scope, a request about something of one
// tenant. A list is asked about a client or a message of it.
var asks = map[string]func(w *world, tenant string) ask{
	"GET /v1/clients": func(_ *world, t string) ask {
		return ask{target: "/v1/clients?status=all&id=" + string(client(t)), status: 200}
	},
	"POST /v1/clients": func(_ *world, t string) ask {
		return ask{target: "/v1/clients", body: `{"id":"` + string(client(t)) + `.new"}`, status: 201}
	},
	"GET /v1/clients/{id}/tokens": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/tokens", status: 200}
	},
	"POST /v1/clients/{id}/tokens": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/tokens", body: `{}`, status: 201}
	},
	"DELETE /v1/clients/{id}/tokens/{token}": func(w *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/tokens/" + w.tokens.issue(client(t)), status: 204}
	},
	"GET /v1/clients/{id}/timeline": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/timeline", status: 200}
	},
	"POST /v1/clients/{id}/trace": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/trace", body: `{"for":"1m"}`, status: 200}
	},
	"DELETE /v1/clients/{id}/trace": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/trace", status: 204}
	},
	"GET /v1/traces": func(w *world, t string) ask {
		w.trace(t)
		return ask{target: "/v1/traces", status: 200}
	},
	"GET /v1/refused": func(_ *world, t string) ask {
		return ask{target: "/v1/refused?prefix=" + string(client(t)), status: 200}
	},
	"DELETE /v1/refused/{client}": func(_ *world, t string) ask {
		return ask{target: "/v1/refused/" + string(client(t)), status: 204}
	},
	"GET /v1/clients/{id}": func(_ *world, t string) ask { return ask{target: "/v1/clients/" + string(client(t)), status: 200} },
	"POST /v1/clients/{id}/probe": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/probe", status: 200}
	},
	"GET /v1/simulator":  func(*world, string) ask { return ask{target: "/v1/simulator", status: 200} },
	"HEAD /v1/simulator": func(*world, string) ask { return ask{target: "/v1/simulator", status: 200} },
	"PUT /v1/simulator": func(*world, string) ask {
		return ask{target: "/v1/simulator", body: `{"count":1}`, status: 200}
	},
	"DELETE /v1/simulator":  func(*world, string) ask { return ask{target: "/v1/simulator", status: 204} },
	"HEAD /v1/clients/{id}": func(_ *world, t string) ask { return ask{target: "/v1/clients/" + string(client(t)), status: 200} },
	"PATCH /v1/clients/{id}": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)), body: `{"labels":{"touched":"yes"}}`, status: 200}
	},
	"DELETE /v1/clients": func(_ *world, t string) ask {
		return ask{target: "/v1/clients?forget=true&confirm=0&prefix=none-" + t, status: 200}
	},
	"DELETE /v1/clients/{id}": func(_ *world, t string) ask { return ask{target: "/v1/clients/" + string(client(t)), status: 204} },
	"GET /v1/clients/{id}/messages": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/messages", status: 200}
	},
	"POST /v1/clients/{id}/messages": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/messages", body: `{"text":"x"}`, status: 202}
	},
	"GET /v1/messages": func(_ *world, t string) ask {
		return ask{target: "/v1/messages?client=" + string(client(t)), status: 200}
	},
	"POST /v1/messages": func(_ *world, t string) ask {
		return ask{target: "/v1/messages", body: `{"to":{"clients":["` + string(client(t)) + `"]},"text":"x"}`, status: 202}
	},
	"POST /v1/messages/bulk": func(_ *world, t string) ask {
		return ask{target: "/v1/messages/bulk", body: `{"to":{"client":"` + string(client(t)) + `"},"text":"x"}`, contentType: ndjson, status: 200}
	},
	"GET /v1/messages/{id}":    func(w *world, t string) ask { return ask{target: "/v1/messages/" + w.message(t), status: 200} },
	"DELETE /v1/messages/{id}": func(w *world, t string) ask { return ask{target: "/v1/messages/" + w.message(t), status: 200} },
	"GET /v1/messages/{id}/payload": func(w *world, t string) ask {
		return ask{target: "/v1/messages/" + w.message(t) + "/payload", status: 200}
	},
	"GET /v1/uplinks/{seq}/payload": func(w *world, t string) ask {
		return ask{target: fmt.Sprintf("/v1/uplinks/%d/payload", w.uplinkOf(client(t))), status: 200}
	},
	"GET /v1/messages/{id}/deliveries": func(w *world, t string) ask {
		return ask{target: "/v1/messages/" + w.message(t) + "/deliveries", status: 200}
	},
	"GET /v1/messages/{id}/deliveries/{client}": func(w *world, t string) ask {
		return ask{target: "/v1/messages/" + w.message(t) + "/deliveries/" + string(client(t)), status: 200}
	},
	"GET /v1/messages/{id}/why": func(w *world, t string) ask {
		return ask{target: "/v1/messages/" + w.message(t) + "/why", status: 200}
	},
	"DELETE /v1/clients/{id}/messages": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/messages", status: 200}
	},
	"GET /v1/clients/{id}/why": func(_ *world, t string) ask {
		return ask{target: "/v1/clients/" + string(client(t)) + "/why", status: 200}
	},
	"GET /v1/uplinks": func(_ *world, t string) ask {
		return ask{target: "/v1/uplinks?client=" + string(client(t)), status: 200}
	},
	"GET /v1/events": func(_ *world, t string) ask {
		return ask{target: "/v1/events?client=" + string(client(t)), status: 200}
	},
	"GET /v1/events/{id}": func(w *world, t string) ask {
		return ask{target: "/v1/events/" + w.eventOf(client(t)), status: 200}
	},
	"GET /v1/webhooks": func(w *world, t string) ask {
		w.webhook(t, webhook.Paused)
		return ask{target: "/v1/webhooks", status: 200}
	},
	"POST /v1/webhooks": func(*world, string) ask {
		return ask{target: "/v1/webhooks", body: `{"url":"http://127.0.0.1:1/","state":"paused"}`, status: 201}
	},
	"GET /v1/webhooks/{id}": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused), status: 200}
	},
	"PATCH /v1/webhooks/{id}": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused), body: `{"name":"touched"}`, status: 200}
	},
	"DELETE /v1/webhooks/{id}": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused), status: 204}
	},
	"GET /v1/webhooks/{id}/attempts": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused) + "/attempts", status: 200}
	},
	"GET /v1/webhooks/{id}/dead": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused) + "/dead", status: 200}
	},
	"POST /v1/webhooks/{id}/dead/redeliver": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused) + "/dead/redeliver", status: 200}
	},
	"POST /v1/webhooks/{id}/replay": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Active) + "/replay", body: `{"after":"earliest"}`, status: 202}
	},
	"POST /v1/webhooks/{id}/rotate": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused) + "/rotate", status: 200}
	},
	"POST /v1/webhooks/{id}/test": func(w *world, t string) ask {
		return ask{target: "/v1/webhooks/" + w.webhook(t, webhook.Paused) + "/test", status: 200}
	},
	"GET /v1/consumers": func(w *world, t string) ask {
		w.consumer(t)
		return ask{target: "/v1/consumers", status: 200}
	},
	"GET /v1/consumers/{name}": func(w *world, t string) ask {
		name, _ := w.consumer(t)
		return ask{target: "/v1/consumers/" + name, status: 200}
	},
	"PUT /v1/consumers/{name}": func(w *world, t string) ask {
		name, _ := w.consumer(t)
		return ask{target: "/v1/consumers/" + name, body: `{"types":["message.received"]}`, status: 200}
	},
	"DELETE /v1/consumers/{name}": func(w *world, t string) ask {
		name, _ := w.consumer(t)
		return ask{target: "/v1/consumers/" + name, status: 204}
	},
	"GET /v1/consumers/{name}/events": func(w *world, t string) ask {
		name, lease := w.consumer(t)
		return ask{target: "/v1/consumers/" + name + "/events?lease=" + lease, status: 200}
	},
	"POST /v1/consumers/{name}/ack": func(w *world, t string) ask {
		name, lease := w.consumer(t)
		return ask{target: "/v1/consumers/" + name + "/ack", body: `{"through":"1","lease":"` + lease + `"}`, status: 200, operator: 409}
	},
	"GET /v1/session":    func(*world, string) ask { return ask{target: "/v1/session", status: 200} },
	"POST /v1/session":   func(*world, string) ask { return ask{target: "/v1/session", status: 200} },
	"DELETE /v1/session": func(*world, string) ask { return ask{target: "/v1/session", status: 204} },
	"GET /v1/keys":       func(*world, string) ask { return ask{target: "/v1/keys", status: 200} },
	"POST /v1/keys": func(*world, string) ask {
		return ask{target: "/v1/keys", body: `{"name":"new","scopes":["clients:read"]}`, status: 201}
	},
	"GET /v1/keys/{id}":     func(w *world, _ string) ask { return ask{target: "/v1/keys/" + w.ids["clients:read"], status: 200} },
	"DELETE /v1/keys/{id}":  func(w *world, _ string) ask { return ask{target: "/v1/keys/" + w.ids["webhooks:write"], status: 204} },
	"GET /v1/stats":         func(*world, string) ask { return ask{target: "/v1/stats", status: 200} },
	"GET /v1/stats/history": func(*world, string) ask { return ask{target: "/v1/stats/history", status: 200} },
	"GET /v1/findings":      func(*world, string) ask { return ask{target: "/v1/findings", status: 200} },
	"GET /v1/audit":         func(*world, string) ask { return ask{target: "/v1/audit", status: 200} },
	"GET /metrics":          func(*world, string) ask { return ask{target: "/metrics", status: 200, whole: true} },
}

// send asks with a key. A stream is asked by a caller who has left, so that it
// ends.
func (w *world) send(key, method string, a ask) answer {
	w.t.Helper()
	if !strings.HasPrefix(a.target, "/v1/events") {
		if a.contentType != "" {
			return w.as(key, method, a.target, a.body, "Content-Type", a.contentType)
		}
		return w.as(key, method, a.target, a.body)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	cancel()
	r := newRequest(ctx, method, a.target, "")
	r.Header.Set("Authorization", "Bearer "+w.secrets[key])
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{t: w.t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
}

// publicRoutes are all that may be had without a key. What is added here is for
// everybody to read.
var publicRoutes = []string{
	"GET /livez", "HEAD /livez", "GET /readyz", "HEAD /readyz", "GET /healthz", "HEAD /healthz", "GET /version", "HEAD /version",
	"GET /", "HEAD /", "GET /openapi.json", "HEAD /openapi.json",
	"GET /console", "HEAD /console", "GET /console/*", "HEAD /console/*",
	"GET /swagger", "HEAD /swagger", "GET /swagger/", "HEAD /swagger/", "GET /swagger/{file}", "HEAD /swagger/{file}",
	"GET /docs", "HEAD /docs", "GET /docs/", "HEAD /docs/", "GET /docs/problems", "HEAD /docs/problems",
	"GET /docs/problems/{slug}", "HEAD /docs/problems/{slug}",
}

// A HEAD beside a GET is asked as that one.
func init() {
	for _, e := range newServer(Config{}).endpoints() {
		if e.head && e.need != public {
			asks["HEAD "+e.pattern] = asks["GET "+e.pattern]
		}
	}
}

// TestEveryRouteIsInTheMatrix: what the router serves is asked by the tests
// below, or is public and listed so.
func TestEveryRouteIsInTheMatrix(t *testing.T) {
	routed := make(map[string]bool)
	err := chi.Walk(newServer(Config{}).routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed[method+" "+route] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for route := range routed {
		if (asks[route] != nil) == slices.Contains(publicRoutes, route) {
			t.Errorf("%s is in asks: %v, in publicRoutes: %v, want it in one of them", route, asks[route] != nil, slices.Contains(publicRoutes, route))
		}
	}
	for _, route := range append(slices.Collect(maps.Keys(asks)), publicRoutes...) {
		if !routed[route] {
			t.Errorf("%s is listed and not served", route)
		}
	}
	for _, e := range newServer(Config{}).endpoints() {
		if route := e.method + " " + e.pattern; (e.need == public) != slices.Contains(publicRoutes, route) {
			t.Errorf("%s is public: %v, want %v", route, e.need == public, !(e.need == public))
		}
	}
}

// TestPublicRoutesAskForNothing: any key, also one that has ended, is none.
func TestPublicRoutesAskForNothing(t *testing.T) {
	w := newWorld(t)
	for _, route := range publicRoutes {
		method, target, _ := strings.Cut(strings.NewReplacer("{file}", "init.js", "{slug}", "overloaded", "*", "index.html").Replace(route), " ")
		want := w.as("none", method, target, "")
		if want.status >= 400 {
			t.Errorf("%s is answered %d", route, want.status)
		}
		for _, key := range []string{"a", "expired", "revoked", "unlimited"} {
			if got := w.as(key, method, target, ""); got.status != want.status || string(got.body) != string(want.body) {
				t.Errorf("%s with the key %s is answered %d, want %d and the same bytes", route, key, got.status, want.status)
			}
		}
	}
}

// guarded calls f for each route that needs a scope.
func guarded(t *testing.T, f func(t *testing.T, e endpoint, of func(*world, string) ask)) {
	t.Helper()
	n := 0
	for _, e := range newServer(Config{}).endpoints() {
		if e.need == public {
			continue
		}
		n++
		name := e.method + " " + e.pattern
		of, ok := asks[name]
		if !ok {
			t.Fatalf("%s has no entry in asks: say how it is asked about something of a tenant", name)
		}
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) { f(t, e, of) })
	}
	if n < 20 {
		t.Errorf("%d routes need a scope, want all but documents and probes", n)
	}
}

// TestEveryRouteNeedsItsScope asks every route with every key.
func TestEveryRouteNeedsItsScope(t *testing.T) {
	guarded(t, func(t *testing.T, e endpoint, of func(*world, string) ask) {
		for _, key := range append(apikey.ScopeNames(), "unlimited", "none", "expired", "revoked") {
			w := newWorld(t)
			a := of(w, "a")
			got := w.send(key, e.method, a)
			scope, _ := apikey.ParseScopes([]string{key})
			switch {
			case key == "none" || key == "expired" || key == "revoked":
				wantRefusal(t, e, got, 401, problem.Unauthenticated)
			case key == "unlimited" || scope.Allows(e.need) || e.need == anyKey:
				got.want(cmp.Or(a.operator, a.status))
			default:
				wantRefusal(t, e, got, 403, problem.InsufficientScope)
				if text := string(got.body); e.method != "HEAD" && !strings.Contains(text, e.need.String()) {
					t.Errorf("%s: %s, want the scope %s named", key, text, e.need)
				}
				want := `Bearer realm="longwire", error="insufficient_scope", scope="` + e.need.String() + `"`
				if challenge := got.header.Get("WWW-Authenticate"); challenge != want {
					t.Errorf("%s: WWW-Authenticate %s, want %s", key, challenge, want)
				}
			}
		}
	})
}

func wantRefusal(t *testing.T, e endpoint, got answer, status int, kind problem.Kind) {
	t.Helper()
	if e.method == http.MethodHead {
		got.want(status)
		return
	}
	got.wantProblem(status, kind)
}

// varying is what differs between two answers that say the same of two things. The
// position of a stream is that of the whole log.
var varying = regexp.MustCompile(`"(instance|secret|created_at|cursor|now|started_at|begins_at|at)":"[^"]*"|"(over_seconds|uplinks)":[\d.]+|"lag_events":\d+|(msg|evt|wh)_[0-9a-f-]+|\bid: \d+|\b[abgz]-(truck|orders)\b|"created_at":"[^"]*"|"(cursor|lag_events)":"?\d+`)

func same(a answer) string {
	return fmt.Sprint(a.status, varying.ReplaceAllString(string(a.body), "…"))
}

// TestTenantsAreStrangers asks every route about what is another tenant's: the
// answer is the one for what does not exist, byte for byte, and nothing changes.
func TestTenantsAreStrangers(t *testing.T) {
	guarded(t, func(t *testing.T, e endpoint, of func(*world, string) ask) {
		for key := range tenants {
			w := newWorld(t)
			own := of(w, key)
			got := w.send(key, e.method, own)
			if e.need != anyKey && e.need&scopesOf(tenants[key]) == 0 {
				wantRefusal(t, e, got, 403, problem.InsufficientScope)
				continue
			}
			if own.whole {
				wantRefusal(t, e, got, 403, problem.Kind(gateway.CodeUnauthorized))
				continue
			}
			got.want(own.status)
			for _, other := range []string{"a", "b", "g", "all"} {
				if e.pattern == "/v1/clients" && e.method == "POST" && tenants[key].Group != "" {
					continue // to such a key an id is free, or another tenant's: TestTenantsCreateTheirOwnClients
				}
				if other == key || other == "all" && !strings.Contains(e.pattern, "messages/{id}") {
					continue
				}
				w := newWorld(t)
				before := w.state(other)
				foreign, unknown := w.send(key, e.method, of(w, other)), w.send(key, e.method, of(w, nobody))
				if same(foreign) != same(unknown) {
					t.Errorf("key %s about %s:\n%s\nabout nobody:\n%s\nwant the same", key, other, same(foreign), same(unknown))
				}
				if after := w.state(other); after != before {
					t.Errorf("key %s has changed what is of %s:\n%s\nbefore:\n%s", key, other, after, before)
				}
			}
		}
	})
}

// state is all that may be seen of a tenant, by somebody who may see all.
func (w *world) state(tenant string) string {
	w.t.Helper()
	var b strings.Builder
	for _, target := range []string{"/v1/clients/" + string(client(tenant)), "/v1/clients/" + string(client(tenant)) + "/messages",
		"/v1/messages/" + w.message(tenant), "/v1/messages/" + w.message(tenant) + "/deliveries"} {
		a := w.as("unlimited", "GET", target, "")
		fmt.Fprintln(&b, a.status, regexp.MustCompile(`"(instance|now)":"[^"]*"`).ReplaceAllString(string(a.body), ""))
	}
	return b.String()
}

// TestRoutesWithoutAScopeStopTheServer: forgetting is not possible.
func TestRoutesWithoutAScopeStopTheServer(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a route that needs no scope and is not public was registered")
		}
	}()
	s := newServer(Config{})
	s.register(s.routes(), "GET", endpoint{method: "GET", pattern: "/v1/forgotten", handler: s.version})
}

func refusedOf(tenant string) gateway.RefusedRegistration {
	at := time.Now()
	return gateway.RefusedRegistration{Client: client(tenant), Count: 1, FirstAt: at, LastAt: at, Reason: "unknown_device"}
}
