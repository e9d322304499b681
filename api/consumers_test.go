package api

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// A backend creates a consumer, pulls, acks and goes on.
func TestConsumer(t *testing.T) {
	h := newHarness(t)
	made := h.call("PUT", "/v1/consumers/orders", `{"types":["message.received"],"start":"earliest"}`).want(201)
	if c := decode[Consumer](made); c.Name != "orders" || c.Cursor != "0" || made.header.Get("Location") != "/v1/consumers/orders" {
		t.Errorf("created: %+v", c)
	}
	link := h.device("a", gatewaytest.Options{})
	for i := range 3 {
		if err := link.Session.Received(t.Context(), uint64(i+1), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	var b ConsumerBatch
	for len(b.Items) < 3 { // the log tells of them a moment later
		b = decode[ConsumerBatch](h.call("GET", "/v1/consumers/orders/events?wait=10s&lease="+b.Lease, "").want(200))
	}
	for i, e := range b.Items {
		if e.Type != "message.received" || text(e.Data.Uplink.Text) != fmt.Sprint(i) {
			t.Errorf("item %d is %+v", i, e)
		}
	}
	h.call("GET", "/v1/consumers/orders/events", "").wantProblem(409, problem.LeaseHeld)
	ack := func(through, lease string) answer {
		return h.call("POST", "/v1/consumers/orders/ack", `{"through":"`+through+`","lease":"`+lease+`"}`)
	}
	ack(b.Through, "another").wantProblem(409, problem.LeaseHeld)
	ack("9"+b.Through, b.Lease).wantProblem(422, problem.ValidationFailed)
	ack("x", b.Lease).wantProblem(422, problem.ValidationFailed)
	if c := decode[Consumer](ack(b.Items[1].Sequence, b.Lease).want(200)); c.Cursor != b.Items[1].Sequence || c.Holder == "" {
		t.Errorf("after the ack: %+v", c)
	}
	if rest := decode[ConsumerBatch](h.call("GET", "/v1/consumers/orders/events?max=1&lease="+b.Lease, "").want(200)); len(rest.Items) != 1 || rest.Items[0].ID != b.Items[2].ID {
		t.Errorf("behind the ack: %+v", rest)
	}
	released := h.call("POST", "/v1/consumers/orders/ack", `{"through":"0","lease":"`+b.Lease+`","release":true}`).want(200)
	if c := decode[Consumer](released); c.Cursor != b.Items[1].Sequence || c.Holder != "" {
		t.Errorf("after the release: %+v", c)
	}
	h.call("GET", "/v1/consumers/orders/events", "").want(200)
	if c := decode[Consumer](h.call("PUT", "/v1/consumers/orders", `{"types":["client.*"]}`).want(200)); c.Cursor != b.Items[1].Sequence || c.Types[0] != "client.*" {
		t.Errorf("changed: %+v", c)
	}
	h.call("DELETE", "/v1/consumers/orders", "").want(204)
	h.call("GET", "/v1/consumers/orders", "").wantProblem(404, problem.ConsumerNotFound)
	h.call("GET", "/v1/consumers/orders/events", "").wantProblem(404, problem.ConsumerNotFound)
	h.call("DELETE", "/v1/consumers/orders", "").wantProblem(404, problem.ConsumerNotFound)
	ack("1", "none").wantProblem(404, problem.ConsumerNotFound)
	h.call("PUT", "/v1/consumers/orders", `{"types":["nonsense"]}`).wantProblem(422, problem.ValidationFailed)
	h.call("PUT", "/v1/consumers/orders", `{"start":"sometime"}`).wantProblem(422, problem.ValidationFailed)
	h.call("PUT", "/v1/consumers/"+strings.Repeat("x", 65), `{}`).wantProblem(400, problem.InvalidParameter)
}

// A cursor of another log, which is beyond the newest event, begins nothing: a consumer there
// would get the same events for ever, and a webhook none.
func TestNothingBeginsBeyondTheNewestEvent(t *testing.T) {
	h := newHarness(t)
	h.device("a", gatewaytest.Options{})
	h.call("PUT", "/v1/consumers/c", `{"start":"earliest"}`).want(201)
	var b ConsumerBatch
	for len(b.Items) == 0 {
		b = decode[ConsumerBatch](h.call("GET", "/v1/consumers/c/events?wait=10s&lease="+b.Lease, "").want(200))
	}
	last, err := strconv.ParseUint(b.Through, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	hook := decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:1/"}`).want(201))
	for _, start := range []uint64{last + 1, math.MaxUint64} {
		h.call("PUT", "/v1/consumers/d", fmt.Sprintf(`{"start":"%d"}`, start)).wantProblem(422, problem.ValidationFailed)
		h.call("PUT", "/v1/consumers/c", fmt.Sprintf(`{"start":"%d"}`, start)).wantProblem(422, problem.ValidationFailed)
		h.call("POST", "/v1/webhooks", fmt.Sprintf(`{"url":"http://127.0.0.1:1/","start":"%d"}`, start)).wantProblem(422, problem.ValidationFailed)
		h.call("POST", "/v1/webhooks/"+hook.ID+"/replay", fmt.Sprintf(`{"after":"%d"}`, start)).wantProblem(422, problem.ValidationFailed)
	}
	h.call("PUT", "/v1/consumers/d", fmt.Sprintf(`{"start":"%d"}`, last)).want(201)
}

// A key without messages:read pulls events without what devices have sent.
func TestConsumersShowPayloadsToReaders(t *testing.T) {
	w := newWorld(t)
	for key, wanted := range map[string]bool{"events:read": false, "unlimited": true} {
		w.as(key, "PUT", "/v1/consumers/c", `{"types":["message.received"],"start":"earliest"}`)
		b := decode[ConsumerBatch](w.as(key, "GET", "/v1/consumers/c/events?wait=10s", "").want(200))
		if len(b.Items) == 0 || (b.Items[0].Data.Uplink.Text != nil) != wanted || b.Items[0].Data.PayloadGone == wanted {
			t.Errorf("%s pulls %+v", key, b.Items)
		}
		w.as(key, "DELETE", "/v1/consumers/c", "").want(204)
	}
}

func TestTooManyConsumers(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.as("a", "PUT", fmt.Sprint("/v1/consumers/c", i), `{}`).want(201)
	}
	w.as("a", "PUT", "/v1/consumers/more", `{}`).wantProblem(409, problem.TooManyConsumers)
	w.as("b", "PUT", "/v1/consumers/more", `{}`).want(201)
}

func TestConsumersWithoutAStore(t *testing.T) {
	h := newHarness(t)
	s := stopping{h.store, new(atomic.Bool)}
	g := gatewaytest.New(t, s, gateway.Config{})
	h.handler = New(Config{Gateway: g, Consumers: consumersOf(t, g), Authorizer: apikey.NewKeyset()})
	h.call("PUT", "/v1/consumers/c", `{"start":"earliest"}`).want(201)
	gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	var b ConsumerBatch
	for len(b.Items) == 0 {
		b = decode[ConsumerBatch](h.call("GET", "/v1/consumers/c/events?wait=10s&lease="+b.Lease, "").want(200))
	}
	s.stopped.Store(true)
	h.call("PUT", "/v1/consumers/d", `{}`).wantProblem(503, ofStore)
	h.call("POST", "/v1/consumers/c/ack", `{"through":"`+b.Through+`","lease":"`+b.Lease+`"}`).wantProblem(503, ofStore)
	h.call("DELETE", "/v1/consumers/c", "").wantProblem(503, ofStore)
	h.call("GET", "/v1/consumers/c/events?lease="+b.Lease, "").wantProblem(503, ofStore)
	s.stopped.Store(false)
	if c := decode[Consumer](h.call("GET", "/v1/consumers/c", "").want(200)); c.Cursor != "0" {
		t.Errorf("an ack that failed has moved the cursor to %s", c.Cursor)
	}
}

// TestTheLeaseIsOverAfterRetryAfter: a caller that waits for so long does not come too early.
func TestTheLeaseIsOverAfterRetryAfter(t *testing.T) {
	for left, want := range map[time.Duration]int{300 * time.Millisecond: 1, 1400 * time.Millisecond: 2, 30 * time.Second: 30} {
		if got := problem.Of(consumerProblem(&consumer.HeldError{Until: left}, "orders")).Retry(); got != want {
			t.Errorf("with %v left of the lease Retry-After is %d, want %d", left, got, want)
		}
	}
}

// A first pull whose caller hangs up, or whose events cannot be shown, leaves no lease that
// nobody knows.
func TestALeaseThatNobodyKnowsEnds(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		s := &withoutUplinks{Store: h.store}
		g := gatewaytest.New(t, s, gateway.Config{})
		h.handler = New(Config{Gateway: g, Consumers: consumersOf(t, g), Authorizer: apikey.NewKeyset()})
		h.call("PUT", "/v1/consumers/c", `{"types":["message.received"]}`).want(201)
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.handler.ServeHTTP(newRecorder(), newRequest(ctx, "GET", "/v1/consumers/c/events?wait=60s", ""))
		}()
		synctest.Wait()
		h.call("GET", "/v1/consumers/c/events", "").wantProblem(409, problem.LeaseHeld)
		leave()
		<-ended
		b := decode[ConsumerBatch](h.call("GET", "/v1/consumers/c/events", "").want(200))
		h.call("POST", "/v1/consumers/c/ack", `{"through":"`+b.Through+`","lease":"`+b.Lease+`","release":true}`).want(200)

		if err := gatewaytest.Connect(t, g, "a", gatewaytest.Options{}).Session.Received(t.Context(), 1, bytes.Repeat([]byte("x"), 2<<10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.failing.Store(true)
		h.call("GET", "/v1/consumers/c/events", "").wantProblem(503, ofStore)
		s.failing.Store(false)
		if b := decode[ConsumerBatch](h.call("GET", "/v1/consumers/c/events", "").want(200)); len(b.Items) != 1 {
			t.Errorf("%d events, want 1", len(b.Items))
		}
	})
}

// withoutUplinks is a store that cannot read uplinks while failing is set.
type withoutUplinks struct {
	gateway.Store
	failing atomic.Bool
}

func (s *withoutUplinks) Uplinks(client gateway.ClientID, after uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	if s.failing.Load() {
		return gateway.Page[gateway.Uplink, uint64]{}, gateway.ErrUnavailable
	}
	return s.Store.Uplinks(client, after, limit)
}

// One pull, and one write of a stream, have a bounded part of a log of large payloads, and
// the reader gets all of it in the end.
func TestLargePayloadsComeInParts(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		h.handler = New(Config{Gateway: h.gateway, Consumers: consumersOf(t, h.gateway), Authorizer: apikey.NewKeyset()})
		h.call("PUT", "/v1/consumers/c", `{"types":["message.received"]}`).want(201)
		const sent = 100
		link := gatewaytest.Connect(t, h.gateway, "a", gatewaytest.Options{})
		for i := range sent {
			if err := link.Session.Received(t.Context(), uint64(i+1), bytes.Repeat([]byte("x"), gateway.MaxPayload)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		var b ConsumerBatch
		for got := 0; got < sent; {
			b = decode[ConsumerBatch](h.call("GET", "/v1/consumers/c/events?max=1000&lease="+b.Lease, "").want(200))
			if n := len(b.Items); n == 0 || n > maxPullBytes/gateway.MaxPayload || b.Through != b.Items[n-1].Sequence && got+n < sent {
				t.Fatalf("%d events of %d bytes each in one answer, through %s", n, gateway.MaxPayload, b.Through)
			}
			got += len(b.Items)
			h.call("POST", "/v1/consumers/c/ack", `{"through":"`+b.Through+`","lease":"`+b.Lease+`"}`).want(200)
		}
		w := &largestWrite{ResponseRecorder: newRecorder()}
		r := newRequest(t.Context(), "GET", "/v1/events?types=message.received&after=earliest&follow=false", "")
		h.handler.ServeHTTP(w, r)
		if n := strings.Count(w.Body.String(), "event: message.received"); n != sent {
			t.Errorf("the stream has %d events, want %d", n, sent)
		}
		if w.bytes > gateway.MaxPayload+2*maxPooled {
			t.Errorf("a write of the stream has %d bytes", w.bytes)
		}
	})
}

// largestWrite knows the size of its largest write.
type largestWrite struct {
	*httptest.ResponseRecorder
	bytes int
}

func (w *largestWrite) Write(b []byte) (int, error) {
	w.bytes = max(w.bytes, len(b))
	return w.ResponseRecorder.Write(b)
}
