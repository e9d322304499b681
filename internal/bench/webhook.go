package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// sink is an endpoint of webhooks in this process. It counts the requests that it answers
// with 204.
type sink struct {
	url string

	mu   sync.Mutex
	n    int
	body []byte   // of the last request
	lag  recorder // from the time of an event to its request
}

// newSink returns a sink that ends with the scenario.
func (r *run) newSink() (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	s := &sink{url: "http://" + ln.Addr().String()}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: longestPause, IdleTimeout: longestPause}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	r.onClose(func() error {
		err := srv.Close()
		serving.Wait()
		return err
	})
	return s, nil
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
		s.lag.observe(time.Since(event.Time))
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// last returns the body of the last request.
func (s *sink) last() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.body
}

// takeLag returns the lags since the last call.
func (s *sink) takeLag() recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := s.lag
	s.lag = recorder{}
	return lag
}

// await waits for the nth request.
func (s *sink) await(ctx context.Context, n int) error {
	return waitFor(ctx, callTimeout, fmt.Sprintf("the events up to the %dth", n), func() bool { return s.count() >= n })
}

// hook is a webhook of a gateway under load.
type hook uint8

const (
	noHook    hook = iota
	quietHook      // it is active and selects none of the events
	ackHook        // it posts each message.acked
)

func (h hook) String() string {
	return [...]string{"", "a webhook that selects none", "a webhook that posts every ack"}[h]
}

// newHook makes a webhook on a server and returns its path.
func (t *target) newHook(ctx context.Context, h hook, s *sink) (path string, err error) {
	client := ""
	if h == quietHook {
		client = `,"client":"nobody"`
	}
	answer, err := t.want(ctx, 201, "POST", "/v1/webhooks", "application/json",
		fmt.Appendf(nil, `{"url":"%s","types":["message.acked"],"concurrency":%d%s}`, s.url, hookCallers, client))
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	err = json.Unmarshal(answer, &made)
	return "/v1/webhooks/" + made.ID, err
}

// hookCallers are the requests at once of a webhook and of the bare client.
const hookCallers = 8

// webhooks measures how fast a webhook posts events of the log, beside a bare HTTP client
// that posts the same bodies to the same endpoint, and how old they are when they come
// one by one.
type webhooks struct{}

const (
	hookEvents = 4000 // per second of a round
	hookRate   = 200  // pushes a second, for the lag
)

func (webhooks) take(ctx context.Context, r *run, out *Scenario) error {
	s := side{spec: spec{role: gatewayServer, connected: few, hooks: true}, load: push}
	srv, err := r.server(ctx, s.spec)
	if err != nil {
		return err
	}
	bare, err := r.server(ctx, spec{role: bareServer})
	if err != nil {
		return err
	}
	end, err := r.newSink()
	if err != nil {
		return err
	}
	path, err := srv.newHook(ctx, ackHook, end)
	if err != nil {
		return err
	}
	n := max(10, int(hookEvents*r.Duration.Seconds()))
	ours := func(ctx context.Context, _ time.Duration) (sample, error) {
		return r.backlog(ctx, srv.target, path, end, n)
	}
	floor := func(ctx context.Context, _ time.Duration) (sample, error) {
		return bare.postAll(ctx, end, n)
	}
	m, err := r.takeTurns(ctx, r.Duration, ours, floor)
	if err != nil {
		return err
	}
	out.compared(fmt.Sprintf("%s events of the log", thousands(n)), "", []string{s.label(r.Options), "bare HTTP client"}, m, 1)

	c, err := r.open(ctx, s)
	if err != nil {
		return err
	}
	end.takeLag()
	before := end.count()
	sent, err := c.offer(ctx, hookRate, time.Duration(r.Rounds)*r.Duration)
	if err == nil {
		err = end.await(ctx, before+sent.done)
	}
	if err != nil {
		return err
	}
	lag := end.takeLag()
	t := Table{Of: fmt.Sprintf("age of an event when it comes, %d pushes a second", hookRate), Columns: quantiles()}
	t.add(s.label(r.Options), lag.quantiles()...)
	out.Tables = append(out.Tables, t)
	out.Notes = append(out.Notes, "Events carry their time in milliseconds.")
	return nil
}

// backlog has a paused webhook fall behind by n events, and measures how long it takes to
// post them.
func (r *run) backlog(ctx context.Context, t *target, path string, end *sink, n int) (s sample, err error) {
	set := func(state string) error {
		_, err := t.want(ctx, 200, "PATCH", path, "application/json", fmt.Appendf(nil, `{"state":"%s"}`, state))
		return err
	}
	if err := set("paused"); err != nil {
		return s, err
	}
	for left := n; left > 0; {
		l := bulk(min(left, 1000))
		if _, err := t.bulk(ctx, r.bulkBody(l, r.number(few)), l.lines); err != nil {
			return s, err
		}
		left -= l.lines
	}
	want, start := end.count()+n, time.Now()
	s.cpu, err = t.cpuDuring(func() error { return errors.Join(set("active"), end.await(ctx, want)) })
	s.done, s.elapsed = n, time.Since(start)
	return s, err
}

// postAll has a bare server post n copies of the last event to a sink.
func (s *server) postAll(ctx context.Context, end *sink, n int) (out sample, err error) {
	start := time.Now()
	out.cpu, err = s.cpuDuring(func() error {
		_, err := s.want(ctx, 204, "POST", fmt.Sprintf("/post?n=%d&url=%s", n, url.QueryEscape(end.url)), "application/cloudevents+json", end.last())
		return err
	})
	out.done, out.elapsed = n, time.Since(start)
	return out, err
}

// postCopies is the least work of a webhook: a loop of HTTP requests with a given body.
func postCopies(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	n, wrong := strconv.Atoi(r.URL.Query().Get("n"))
	if err = errors.Join(err, wrong); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	transport := &http.Transport{MaxIdleConnsPerHost: hookCallers, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	left := make(chan bool, n)
	for range n {
		left <- true
	}
	close(left)
	errs := make([]error, hookCallers)
	var posting sync.WaitGroup
	for i := range errs {
		posting.Go(func() {
			for range left {
				if errs[i] = postOne(r.Context(), client, r.URL.Query().Get("url"), body); errs[i] != nil {
					return
				}
			}
		})
	}
	posting.Wait()
	if err := firstOf(errs); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func postOne(ctx context.Context, client *http.Client, to string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("status %d instead of 204", res.StatusCode)
	}
	return nil
}
