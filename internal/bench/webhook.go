package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// hook is a webhook of a gateway under load; "" = none.
type hook string

const (
	quietHook hook = "a webhook that selects none" // of the events; it is active
	ackHook   hook = "a webhook that posts every ack"
)

const (
	hookCallers = 8    // requests at once of a webhook and of the bare client
	hookEvents  = 4000 // in a backlog, per second of a round
	hookRate    = 200  // pushes a second, for the age of events
)

// sink is an endpoint of webhooks in this process. It counts the requests that it
// answers with 204.
type sink struct {
	url string

	mu   sync.Mutex
	n    int
	body []byte   // of the last request
	age  recorder // of an event when its request comes
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var event struct{ Time time.Time }
	err = json.Unmarshal(body, &event)
	s.mu.Lock()
	s.n++
	s.body = body
	if err == nil {
		s.age.observe(time.Since(event.Time))
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// seen returns the number of requests and the last body.
func (s *sink) seen() (int, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n, s.body
}

// takeAges returns the ages since the last call.
func (s *sink) takeAges() recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	ages := s.age
	s.age = recorder{}
	return ages
}

// await waits for the nth request.
func (s *sink) await(ctx context.Context, n int) error {
	return waitFor(ctx, callTimeout, fmt.Sprintf("the events up to the %dth", n), func() bool {
		have, _ := s.seen()
		return have >= n
	})
}

// addHook makes a webhook on a server, to a sink that ends with the scenario.
func (r *run) addHook(srv *target, h hook) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	end := &sink{url: "http://" + ln.Addr().String()}
	serving := patientServer(end)
	go func() { _ = serving.Serve(ln) }() // ends with Close
	r.onClose(serving.Close)
	client := ""
	if h == quietHook {
		client = `,"client":"nobody"`
	}
	var made struct{ ID string }
	check(srv.send(r.ctx, 201, "POST", "/v1/webhooks",
		fmt.Sprintf(`{"url":"%s","types":["message.acked"],"concurrency":%d%s}`, end.url, hookCallers, client), &made))
	srv.hookPath = "/v1/webhooks/" + made.ID
	if h == ackHook {
		srv.posted = end
	}
}

// measureWebhook measures how fast a webhook posts events of the log, beside a bare
// HTTP client that posts the same bodies to the same endpoint, and how old they are
// when they come one by one.
func measureWebhook(r *run, out *Scenario) {
	s := side{spec: spec{role: gatewayServer, connected: r.few(), hook: ackHook}, load: push}
	srv, bare := r.server(s.spec), r.server(bare)
	n := max(10, int(hookEvents*r.Duration.Seconds()))
	ours := func(ctx context.Context, _ time.Duration) (sample, error) { return r.backlog(ctx, srv, n) }
	floor := func(ctx context.Context, _ time.Duration) (sample, error) {
		_, body := srv.posted.seen()
		return bare.timed(n, func() error {
			path := fmt.Sprintf("/post?n=%d&url=%s", n, url.QueryEscape(srv.posted.url))
			_, err := bare.want(ctx, 204, "POST", path, "application/cloudevents+json", body)
			return err
		})
	}
	m := r.takeTurns(r.Duration, ours, floor)
	out.compared(thousands(n)+" events of the log", "", []string{s.label(), "bare HTTP client"}, m)

	c := r.open(s)
	srv.posted.takeAges()
	must(c.offer(r.ctx, hookRate, r.lasting())) // until the last event has come
	ages := srv.posted.takeAges()
	t := out.table(fmt.Sprintf("age of an event when it comes, %d pushes a second", hookRate), quantiles())
	t.add(s.label(), ages.quantiles()...)
	out.Notes = append(out.Notes, "Events carry their time in milliseconds.")
}

// backlog has a paused webhook fall behind by n events, and measures how long it takes
// to post them.
func (r *run) backlog(ctx context.Context, srv *target, n int) (s sample, err error) {
	set := func(state string) error {
		return srv.send(ctx, 200, "PATCH", srv.hookPath, fmt.Sprintf(`{"state":"%s"}`, state), new(any))
	}
	if err := set("paused"); err != nil {
		return s, err
	}
	for left := n; left > 0; left -= 1000 {
		lines := min(left, 1000)
		if err := srv.bulk(ctx, r.bulkBody(lines, r.few()), lines); err != nil {
			return s, err
		}
	}
	have, _ := srv.posted.seen()
	return srv.timed(n, func() error { return errors.Join(set("active"), srv.posted.await(ctx, have+n)) })
}
