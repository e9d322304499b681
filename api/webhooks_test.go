package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/webhook"
)

// posted is a request that an endpoint has got.
type posted struct {
	header http.Header
	body   []byte
	event  Event
}

// backend is an endpoint on loopback that takes every event.
type backend struct {
	t   *testing.T
	url string
	got chan posted
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{t: t, got: make(chan posted, 100)}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p := posted{header: r.Header}
		var err error
		if p.body, err = io.ReadAll(r.Body); err == nil {
			err = json.Unmarshal(p.body, &p.event)
		}
		if err != nil || r.Method != "POST" {
			t.Errorf("%s, %v: %s", r.Method, err, p.body)
		}
		b.got <- p
	}))
	t.Cleanup(srv.Close)
	b.url = srv.URL + "/hook"
	return b
}

// next returns the next request, whose signature each of the secrets must verify.
func (b *backend) next(secrets ...string) posted {
	b.t.Helper()
	var p posted
	select {
	case p = <-b.got:
	case <-time.After(time.Minute):
		b.t.Fatal("no request comes")
	}
	for _, secret := range secrets {
		v, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = v.Verify(p.body, p.header)
		}
		if err != nil {
			b.t.Errorf("the signature: %v, %v", err, p.header)
		}
	}
	if p.event.ID != p.header.Get("Webhook-Id") || p.header.Get("Content-Type") != "application/cloudevents+json" {
		b.t.Errorf("the event is %s, the headers are %v", p.event.ID, p.header)
	}
	return p
}

func (p posted) text() string {
	if p.event.Data.Uplink == nil {
		return "no uplink"
	}
	return text(p.event.Data.Uplink.Text)
}

// webhookOnce returns the webhook as soon as ok is true of it.
func (h *harness) webhookOnce(target string, ok func(*Webhook) bool) Webhook {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for {
		v := decode[Webhook](h.call("GET", target, "").want(200))
		if ok(&v) {
			return v
		}
		select {
		case <-ctx.Done():
			h.t.Fatalf("after a minute the webhook is %+v", v)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sent has a device send an uplink, and waits until its event can be read.
func (h *harness) sent(d *gatewaytest.Link, seq uint64, payload string) {
	h.t.Helper()
	sub := h.gateway.SubscribeNow()
	if err := d.Session.Received(h.t.Context(), seq, []byte(payload)); err != nil {
		h.t.Fatal(err)
	}
	for {
		events, err := sub.Next(h.t.Context(), make([]gateway.Event, 0, 10))
		if err != nil {
			h.t.Fatal(err)
		}
		if slices.ContainsFunc(events, func(e gateway.Event) bool { return e.Uplink != nil && e.Uplink.Number == seq }) {
			return
		}
	}
}

// TestWebhook: from its creation to its deletion.
func TestWebhook(t *testing.T) {
	h, b := newHarness(t), newBackend(t)
	a := h.call("POST", "/v1/webhooks", `{"url":"`+b.url+`","types":["message.received"],"name":"orders","settle":"90s","headers":{"authorization":"Bearer x"}}`).want(201)
	hook := decode[Webhook](a)
	target := a.header.Get("Location")
	if target != "/v1/webhooks/"+hook.ID || !strings.HasPrefix(hook.Secret, "whsec_") || hook.State != "active" || hook.Timeout != "10s" || hook.RetryFor != "72h" ||
		hook.Settle != "1m30s" || hook.Concurrency != 8 || !hook.Payloads || !slices.Equal(hook.Headers, []string{"authorization"}) {
		t.Errorf("created %s: %+v", target, hook)
	}

	d := h.device("truck-17", gatewaytest.Options{})
	h.sent(d, 1, "21.5")
	first := b.next(hook.Secret)
	if e := first.event; first.text() != "21.5" || e.Type != "message.received" || e.Subject != "truck-17" || e.SpecVersion != "1.0" ||
		first.header.Get("Authorization") != "Bearer x" || first.header.Get("Webhook-Replay") != "" {
		t.Errorf("got %s with %v", first.body, first.header)
	}
	if e := decode[Event](h.call("GET", "/v1/events/"+first.event.ID, "").want(200)); e.Sequence != first.event.Sequence {
		t.Errorf("the event is %+v, want the one that was posted", e)
	}
	shown := h.webhookOnce(target, func(v *Webhook) bool { return v.LastSuccessAt != "" && v.LagEvents == 0 })
	if shown.Secret != "" || shown.Waiting != 0 || shown.Down || shown.LastError != "" {
		t.Errorf("shown: %+v", shown)
	}

	if v := decode[Webhook](h.call("PATCH", target, `{"state":"paused","timeout":"2s","settle":"","headers":{}}`).want(200)); v.State != "paused" || v.Timeout != "2s" ||
		v.Settle != "" || len(v.Headers) != 0 || v.Name != "orders" {
		t.Errorf("paused: %+v", v)
	}
	h.sent(d, 2, "22.0")
	if r := decode[WebhookAttempt](h.call("POST", target+"/test", "").want(200)); r.Status != 200 || r.Error != "" || r.Sequence != "" {
		t.Errorf("tested: %+v", r)
	}
	if p := b.next(hook.Secret); p.text() != "a test of the webhook" {
		t.Errorf("a paused webhook has sent %s", p.body)
	}

	rotated := decode[Webhook](h.call("POST", target+"/rotate", "").want(200))
	if rotated.Secret == hook.Secret || rotated.State != "paused" {
		t.Errorf("rotated: %+v", rotated)
	}
	h.call("PATCH", target, `{"state":"active"}`).want(200)
	second := b.next(hook.Secret, rotated.Secret)
	if second.text() != "22.0" {
		t.Errorf("it goes on with %s", second.body)
	}
	h.webhookOnce(target, func(v *Webhook) bool { return v.LagEvents == 0 })
	tries := decode[WebhookAttempts](h.call("GET", target+"/attempts", "").want(200)).Items
	if len(tries) != 2 || tries[0].Sequence != second.event.Sequence || tries[1].Sequence != first.event.Sequence || tries[1].Try != 1 || tries[1].Status != 200 {
		t.Errorf("attempts: %+v", tries)
	}

	started := decode[ReplayStarted](h.call("POST", target+"/replay", `{"after":"earliest"}`).want(202))
	if started.After != "0" || started.Until == "0" {
		t.Errorf("a replay of %+v", started)
	}
	for _, want := range []posted{first, second} {
		if p := b.next(rotated.Secret); p.event.ID != want.event.ID || p.header.Get("Webhook-Replay") != "true" {
			t.Errorf("sent again: %s with %v, want %s", p.body, p.header, want.event.ID)
		}
	}

	h.call("DELETE", target, "").want(204)
	h.call("GET", target, "").wantProblem(404, problem.WebhookNotFound)
	if list := decode[WebhookList](h.call("GET", "/v1/webhooks", "").want(200)); len(list.Items) != 0 {
		t.Errorf("after the deletion: %+v", list)
	}
}

// TestWebhookReplaysSomeEvents: since and until take times.
func TestWebhookReplaysSomeEvents(t *testing.T) {
	h, b := newHarness(t), newBackend(t)
	d := h.device("truck-17", gatewaytest.Options{})
	h.sent(d, 1, "21.5")
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"`+b.url+`","types":["message.received"]}`).want(201))
	target := "/v1/webhooks/" + hook.ID
	if r := decode[ReplayStarted](h.call("POST", target+"/replay", `{"since":"2h","until":"1h"}`).want(202)); r.After != r.Until {
		t.Errorf("a replay of an hour without events: %+v", r)
	}
	for { // the one above ends at once
		a := h.call("POST", target+"/replay", `{"since":"1h"}`)
		if a.status == 202 {
			break
		}
		a.wantProblem(409, problem.ReplayUnderWay)
	}
	if p := b.next(hook.Secret); p.text() != "21.5" || p.header.Get("Webhook-Replay") != "true" {
		t.Errorf("sent again: %s", p.body)
	}
}

// TestDeadLettersOfAWebhook: they are shown in pages, and sent again.
func TestDeadLettersOfAWebhook(t *testing.T) {
	h, b := newHarness(t), newBackend(t)
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"`+b.url+`","state":"paused"}`).want(201))
	var entries []gateway.Entry
	for n := uint64(7); n <= 9; n++ {
		d := webhook.DeadLetter{Event: n, Type: "message.received", At: time.Now(), Status: 422, Error: "the endpoint has answered 422",
			ID: fmt.Sprint("evt_", n), Body: fmt.Appendf(nil, `{"id":"evt_%d"}`, n)}
		v, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, gateway.Entry{Key: fmt.Sprintf("webhookdead %s %020d", hook.ID, n), Value: v})
	}
	if err := h.gateway.Put(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	target := "/v1/webhooks/" + hook.ID + "/dead"
	page := decode[DeadLetterPage](h.call("GET", target+"?limit=2", "").want(200))
	if len(page.Items) != 2 || page.Items[0].Sequence != "7" || page.Items[0].Status != 422 || string(page.Items[0].Event) != `{"id":"evt_7"}` || page.NextAfter != "8" {
		t.Errorf("the first page: %+v", page)
	}
	page = decode[DeadLetterPage](h.call("GET", target+"?limit=2&after="+page.NextAfter, "").want(200))
	if len(page.Items) != 1 || page.Items[0].Sequence != "9" || page.NextAfter != "" {
		t.Errorf("the second page: %+v", page)
	}
	if r := decode[Redelivered](h.call("POST", target+"/redeliver", "").want(200)); r.Delivered != 3 || r.Error != "" {
		t.Errorf("sent again: %+v", r)
	}
	for n := 7; n <= 9; n++ {
		if p := b.next(hook.Secret); p.event.ID != fmt.Sprint("evt_", n) {
			t.Errorf("sent again: %s, want evt_%d", p.body, n)
		}
	}
	if page := decode[DeadLetterPage](h.call("GET", target, "").want(200)); len(page.Items) != 0 {
		t.Errorf("afterwards: %+v", page)
	}
}

// TestAReplayTakesNoUnixTime: it would count as a cursor, or as a duration of years.
// A test and a redelivery wait for the endpoint, which need not answer. Their callers get
// an answer when the gateway begins to stop, and do not hold it up.
func TestCallsThatWaitForAnEndpointEndWithTheDrain(t *testing.T) {
	for _, call := range []string{"/test", "/dead/redeliver"} {
		h := newHarness(t)
		called := make(chan struct{})
		endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // then the server sees that the caller has gone
			called <- struct{}{}
			<-r.Context().Done()
		}))
		t.Cleanup(endpoint.Close)
		hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"`+endpoint.URL+`","state":"paused","timeout":"30s"}`).want(201))
		letter, err := json.Marshal(webhook.DeadLetter{Event: 7, Type: "message.received", ID: "evt_7", Body: []byte(`{"id":"evt_7"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.gateway.Put(t.Context(), []gateway.Entry{{Key: fmt.Sprintf("webhookdead %s %020d", hook.ID, 7), Value: letter}}); err != nil {
			t.Fatal(err)
		}
		srv := NewServer(Config{Gateway: h.gateway, Webhooks: h.hooks})
		h.handler = srv.Handler
		answered := make(chan answer, 1)
		go func() { answered <- h.call("POST", "/v1/webhooks/"+hook.ID+call, "") }()
		<-called
		srv.BeginDrain()
		select {
		case a := <-answered:
			if body := a.want(200).body; !strings.Contains(string(body), `"error":"the request was given up"`) {
				t.Errorf("%s is answered with %s", call, body)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s still waits for its endpoint", call)
		}
	}
}

func TestAReplayTakesNoUnixTime(t *testing.T) {
	h := newHarness(t)
	target := "/v1/webhooks/" + decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`).want(201)).ID
	for body, pointer := range map[string]string{`{"since":"1764277522"}`: "/since", `{"since":"-1h"}`: "/since", `{"since":"earliest"}`: "/since",
		`{"after":"earliest","until":"1764277522"}`: "/until", `{"since":"1h","until":"1.7e9"}`: "/until"} {
		p := h.call("POST", target+"/replay", body).wantProblem(422, problem.ValidationFailed)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("replay %s: %+v, want %s named", body, p.Errors, pointer)
		}
	}
}

// TestProblemsOfAWebhooksBody: each names the member that is wrong.
func TestProblemsOfAWebhooksBody(t *testing.T) {
	h := newHarness(t)
	const ok = `{"url":"http://127.0.0.1:1/"`
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", ok+`,"state":"paused"}`).want(201))
	target := "/v1/webhooks/" + hook.ID
	many := `"` + strings.Repeat("x", 200) + `"`
	for _, c := range []struct{ pointer, member string }{
		{"/url", `"url":"ftp://127.0.0.1/"`}, {"/url", `"url":"/hook"`}, {"/url", `"url":"http://user:secret@127.0.0.1/"`}, {"/url", `"url":"http://127.0.0.1/#a"`},
		{"/url", `"url":"http://127.0.0.1:0/"`}, {"/url", `"url":"http://127.0.0.1:65536/"`}, {"/url", `"url":"http://:80/"`}, {"/url", `"url":"http://127.0.0.1/` + strings.Repeat("x", 2048) + `"`},
		{"/headers", `"headers":{"Host":"x"}`}, {"/headers", `"headers":{"webhook-id":"x"}`}, {"/headers", `"headers":{"a b":"x"}`}, {"/headers", `"headers":{"a":"x\r\nb: y"}`},
		{"/headers", `"headers":{"a":"` + strings.Repeat("x", 9<<10) + `"}`},
		{"/timeout", `"timeout":"31s"`}, {"/timeout", `"timeout":"10ms"`}, {"/timeout", `"timeout":"soon"`}, {"/retry_for", `"retry_for":"1s"`}, {"/retry_for", `"retry_for":"31d"`},
		{"/settle", `"settle":"1h"`}, {"/concurrency", `"concurrency":65`}, {"/concurrency", `"concurrency":-1`}, {"/name", `"name":` + many},
		{"/timeout", `"timeout":"0s"`}, {"/retry_for", `"retry_for":"0s"`}, {"/settle", `"settle":"-1s"`}, {"/concurrency", `"concurrency":0`},
		{"/client", `"client":"a b"`}, {"/client", `"client":` + many}, {"/prefix", `"prefix":"/"`}, {"/group", `"group":"a b"`},
		{"/labels/a b", `"labels":{"a b":"x"}`}, {"/labels/", `"labels":{"":"x"}`}, {"/labels/a", `"labels":{"a":"` + strings.Repeat("x", 257) + `"}`},
		{"/types", `"types":["nonsense"]`}, {"/state", `"state":"disabled"`}, {"/state", `"state":"idle"`},
	} {
		body := ok + "," + c.member + "}"
		if c.pointer == "/url" {
			body = "{" + c.member + "}"
		}
		for call, body := range map[string]string{"POST /v1/webhooks": body, "PATCH " + target: "{" + c.member + "}"} {
			method, path, _ := strings.Cut(call, " ")
			p := h.call(method, path, body).wantProblem(422, problem.ValidationFailed)
			if len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer {
				t.Errorf("%s %s: %+v, want %s named", call, c.member, p.Errors, c.pointer)
			}
		}
	}
	h.call("POST", "/v1/webhooks", `{}`).wantProblem(422, problem.ValidationFailed)
	h.call("POST", "/v1/webhooks", ok+`,"start":"nonsense"}`).wantProblem(422, problem.ValidationFailed)
	for body, pointer := range map[string]string{`{}`: "/since", `{"after":"1","since":"1h"}`: "/since", `{"since":"nonsense"}`: "/since", `{"after":"nonsense"}`: "/after",
		`{"since":"1h","until":"nonsense"}`: "/until", `{"after":"earliest"}`: "/state"} {
		p := h.call("POST", target+"/replay", body).wantProblem(422, problem.ValidationFailed)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("replay %s: %+v, want %s named", body, p.Errors, pointer)
		}
	}
	if v := decode[Webhook](h.call("GET", target, "").want(200)); v.URL != hook.URL || v.Timeout != hook.Timeout || len(v.Headers) != 0 {
		t.Errorf("a refused change is made: %+v", v)
	}
}

// TestNullTakesAMemberBack: a change is a merge patch (RFC 7396).
func TestNullTakesAMemberBack(t *testing.T) {
	h := newHarness(t)
	const url = `"url":"http://127.0.0.1:1/","state":"paused"`
	fresh := decode[Webhook](h.call("POST", "/v1/webhooks", "{"+url+"}").want(201))
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", "{"+url+`,"name":"a","types":["message.acked"],"client":"a","prefix":"a","group":"g","labels":{"a":"b"},
		"timeout":"1s","concurrency":1,"headers":{"a":"b"},"retry_for":"1h","settle":"1s","reply":true}`).want(201))
	target := "/v1/webhooks/" + hook.ID
	for _, member := range []string{"url", "state"} {
		p := h.call("PATCH", target, `{"`+member+`":null}`).wantProblem(422, problem.ValidationFailed)
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "/"+member {
			t.Errorf("%s: %+v", member, p.Errors)
		}
	}
	got := decode[Webhook](h.call("PATCH", target, `{"name":null,"types":null,"client":null,"prefix":null,"group":null,"labels":null,
		"timeout":null,"concurrency":null,"headers":null,"retry_for":null,"settle":null,"reply":null}`, "Content-Type", "application/merge-patch+json").want(200))
	got.ID, got.CreatedAt, fresh.Secret = fresh.ID, fresh.CreatedAt, ""
	if d := cmp.Diff(fresh, got); d != "" {
		t.Error(d)
	}
	if got := decode[Webhook](h.call("PATCH", target, `{"settle":"2s","name":null}`).want(200)); got.Settle != "2s" {
		t.Errorf("settle %q", got.Settle)
	}
}

// TestTooManyWebhooks: also a gateway that has none says so.
func TestTooManyWebhooks(t *testing.T) {
	const body = `{"url":"http://127.0.0.1:1/","state":"paused"}`
	h := newHarness(t)
	m, err := webhook.New(webhook.Config{Gateway: h.gateway, Lookup: feed.NewLookup(h.gateway), Encode: EventEncoder(h.gateway, ""), Most: 1})
	if err != nil {
		t.Fatal(err)
	}
	h.handler = New(Config{Gateway: h.gateway, Webhooks: m})
	first := decode[Webhook](h.call("POST", "/v1/webhooks", body).want(201))
	h.call("POST", "/v1/webhooks", body).wantProblem(409, problem.TooManyWebhooks)
	h.call("DELETE", "/v1/webhooks/"+first.ID, "").want(204)
	h.call("POST", "/v1/webhooks", body).want(201)

	h.handler = New(Config{Gateway: h.gateway})
	h.call("POST", "/v1/webhooks", body).wantProblem(409, problem.TooManyWebhooks)
	h.call("POST", "/v1/webhooks/wh_1/test", "").wantProblem(404, problem.WebhookNotFound)
	if list := decode[WebhookList](h.call("GET", "/v1/webhooks", "").want(200)); len(list.Items) != 0 {
		t.Errorf("without webhooks: %+v", list)
	}
}

// TestOneReplayAtATime: a second one is refused while the first waits for its endpoint.
func TestOneReplayAtATime(t *testing.T) {
	h := newHarness(t)
	d := h.device("truck-17", gatewaytest.Options{})
	h.sent(d, 1, "21.5")
	begun, leave := make(chan bool, 10), make(chan bool)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- true
		<-leave
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(leave) })
	target := "/v1/webhooks/" + decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"`+srv.URL+`","types":["message.received"]}`).want(201)).ID + "/replay"
	h.call("POST", target, `{"after":"earliest"}`).want(202)
	<-begun
	h.call("POST", target, `{"after":"earliest"}`).wantProblem(409, problem.ReplayUnderWay)
}

// stopping is a store that stops when it is told to.
type stopping struct {
	*memstore.Store
	stopped *atomic.Bool
}

func (s stopping) Put(ctx context.Context, entries []gateway.Entry) error {
	if s.stopped.Load() {
		return gateway.ErrUnavailable
	}
	return s.Store.Put(ctx, entries)
}

func (s stopping) Entries(prefix, after string, limit int) (p gateway.Page[gateway.Entry, string], err error) {
	if s.stopped.Load() {
		return p, gateway.ErrUnavailable
	}
	return s.Store.Entries(prefix, after, limit)
}

func (s stopping) EventSpan() (forgotten, last uint64, err error) {
	if s.stopped.Load() {
		return 0, 0, gateway.ErrUnavailable
	}
	return s.Store.EventSpan()
}

func (s stopping) EventsBefore(t time.Time) (uint64, error) {
	if s.stopped.Load() {
		return 0, gateway.ErrUnavailable
	}
	return s.Store.EventsBefore(t)
}

// TestWebhooksWithoutAStore: calls that need it fail and change nothing.
func TestWebhooksWithoutAStore(t *testing.T) {
	h := newHarness(t)
	s := stopping{h.store, new(atomic.Bool)}
	g := gatewaytest.New(t, s, gateway.Config{})
	h.handler = New(Config{Gateway: g, Webhooks: hooks(t, g)})
	const body = `{"url":"http://127.0.0.1:1/","types":["webhook.disabled"]}`
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", body).want(201))
	target := "/v1/webhooks/" + hook.ID
	s.stopped.Store(true)
	h.call("POST", "/v1/webhooks", body).wantProblem(503, ofStore)
	h.call("PATCH", target, `{"name":"orders"}`).wantProblem(503, ofStore)
	h.call("POST", target+"/rotate", "").wantProblem(503, ofStore)
	h.call("POST", target+"/replay", `{"since":"1h"}`).wantProblem(503, ofStore)
	h.call("GET", target+"/dead", "").wantProblem(503, ofStore)
	h.call("POST", target+"/dead/redeliver", "").wantProblem(503, ofStore)
	h.call("DELETE", target, "").wantProblem(503, ofStore)
	if v := decode[Webhook](h.call("GET", target, "").want(200)); v.Name != "" || v.State != "active" {
		t.Errorf("a call that failed has changed %+v", v)
	}
	s.stopped.Store(false)
	h.call("DELETE", target, "").want(204)
}

// A page of dead letters begins behind a number: a word for a place in the log would list
// all of them.
func TestDeadLettersBeginBehindANumber(t *testing.T) {
	h := newHarness(t)
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`).want(201))
	target := "/v1/webhooks/" + hook.ID + "/dead?after="
	for _, after := range []string{"now", "earliest", "-1", "18446744073709551616", "x"} {
		h.call("GET", target+after, "").wantProblem(400, problem.InvalidParameter)
	}
	for _, after := range []string{"0", "1796074984272064", "18446744073709551615"} {
		h.call("GET", target+after, "").want(200)
	}
}
