package bench

import (
	"context"
	"fmt"
	"net/rpc"
	"strings"
	"time"
)

// spec is a kind of server and the state of its clients.
type spec struct {
	role      role
	connected int    // clients that are connected and ack at once
	offline   int    // clients that are known and offline
	queued    int    // messages for other clients, which are offline
	room      int    // for clients to be connected
	returning bool   // some clients of a sessionServer reconnect now and then
	flag      string // one more of longwire serve; "" = none
	hook      hook
}

// words describes the state of the clients.
func (s spec) words() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, thousands(n)+" "+what)
		}
	}
	add(s.connected, "connected")
	add(s.offline, "offline")
	add(s.queued, "queued for others")
	if s.hook != "" {
		parts = append(parts, string(s.hook))
	}
	return strings.Join(parts, ", ")
}

// server returns the scenario's server of this spec; the first call starts it.
func (r *run) server(s spec) *target {
	if r.servers[s] == nil {
		r.servers[s] = r.newServer(s)
	}
	return r.servers[s]
}

// newServer starts a server that ends with the scenario, brings its clients into
// their state, and waits until it is quiet.
func (r *run) newServer(s spec) *target {
	dir := ""
	if s.role != bareServer {
		dir = r.newDir("store")
	}
	if s.queued > 0 {
		check(fillStore(r.ctx, dir, s.queued))
	}
	t := r.startServer(s, dir)
	if s.offline > 0 {
		check(r.connect(t, Join{Count: s.offline}).drop())
		check(t.waitForOnline(r.ctx, 0))
	}
	if s.connected > 0 && s.role != sessionServer {
		r.connect(t, Join{Count: s.connected})
	}
	if s.hook != "" {
		r.addHook(t, s.hook)
	}
	return t
}

// startServer starts a process that ends with the scenario.
func (r *run) startServer(s spec, dir string) *target {
	t, err := r.start(r.ctx, r.Longwire, s, dir)
	if err != nil {
		check(fmt.Errorf("start %s: %w", s.role, err))
	}
	t.role = s.role
	r.onClose(t.stop)
	return t
}

// connect makes devices join a server until the scenario ends.
func (r *run) connect(t *target, j Join) *devices {
	d := &devices{worker: rpc.NewClient(must(r.work(r.ctx)))}
	r.devices = append(r.devices, d)
	r.onClose(d.worker.Close)
	j.Addr = t.tcp
	must(d.join(j))
	return d
}

// stats has the counters of a gateway that measurements wait for.
type stats struct {
	Online   int            `json:"online"`
	Accepted int            `json:"accepted"`
	Settled  map[string]int `json:"settled"`
}

// until waits for counters of a gateway.
func (t *target) until(ctx context.Context, what string, done func(now *stats) bool) error {
	return waitFor(ctx, callTimeout, what, func() bool {
		var now stats
		return t.get(ctx, "/v1/stats", &now) == nil && done(&now)
	})
}

// waitForOnline waits until n clients are connected.
func (t *target) waitForOnline(ctx context.Context, n int) error {
	return t.until(ctx, fmt.Sprintf("%d clients to be online", n), func(now *stats) bool { return now.Online == n })
}

// waitFor calls done every 5 ms until it returns true, for at most limit.
func waitFor(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !done() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
	return nil
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
