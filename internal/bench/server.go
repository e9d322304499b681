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
	connected amount // devices that are connected and ack at once
	offline   amount // clients that are known and offline
	queued    amount // messages for other clients, which are offline
	patient   bool   // the gateway waits long for answers to heartbeats
	hook      hook
}

// words describes the state of the clients.
func (s spec) words(o *Options) string {
	var parts []string
	add := func(n amount, what string) {
		if n != none {
			parts = append(parts, thousands(o.number(n))+" "+what)
		}
	}
	add(s.connected, "connected")
	add(s.offline, "offline")
	add(s.queued, "queued for others")
	if s.hook != noHook {
		parts = append(parts, s.hook.String())
	}
	return strings.Join(parts, ", ")
}

// server is a process under test with its devices.
type server struct {
	*target
	hookPath string // of its webhook
	posted   *sink  // of the webhook that posts every ack; nil = none
}

// server returns the scenario's server of this spec; the first call starts it.
func (r *run) server(s spec) *server {
	if r.servers[s] == nil {
		r.servers[s] = r.newServer(s)
	}
	return r.servers[s]
}

// newServer starts a server that ends with the scenario, brings its clients into
// their state, and waits until it is quiet.
func (r *run) newServer(s spec) *server {
	p := process{role: s.role, patient: s.patient, hooks: s.hook != noHook, connections: r.number(s.connected)}
	if s.queued != none {
		p.dir = r.newDir("store")
		r.must(fillStore(r.ctx, p.dir, r.number(s.queued)))
	}
	srv := &server{target: r.startServer(p)}
	if n := r.number(s.offline); n > 0 && s.role == gatewayServer {
		r.must(r.connect(srv.target, Join{Count: n}).drop())
		r.must(srv.waitForOnline(r.ctx, 0))
	}
	if n := r.number(s.connected); n > 0 {
		r.connect(srv.target, Join{Count: n})
	}
	if s.hook != noHook {
		r.addHook(srv, s.hook)
	}
	return srv
}

// startServer starts a process that ends with the scenario, a gateway on a new store
// if none is named.
func (r *run) startServer(p process) *target {
	if p.dir == "" && p.role != bareServer {
		p.dir = r.newDir("store")
	}
	t, err := r.start(r.ctx, p)
	if err != nil {
		r.must(fmt.Errorf("start %s: %w", p.role, err))
	}
	t.role = p.role
	r.onClose(t.stop)
	return t
}

// connect makes devices join a server until the scenario ends.
func (r *run) connect(t *target, j Join) *devices {
	conn, err := r.work(r.ctx)
	r.must(err)
	d := &devices{worker: rpc.NewClient(conn)}
	r.devices = append(r.devices, d)
	r.onClose(d.worker.Close)
	j.Addr = t.tcp
	_, err = d.join(j)
	r.must(err)
	return d
}

// stats has the counters of a gateway that measurements wait for.
type stats struct {
	Online   int            `json:"online"`
	Accepted int            `json:"accepted"`
	Settled  map[string]int `json:"settled"`
}

// waitForOnline waits until n clients are connected.
func (t *target) waitForOnline(ctx context.Context, n int) error {
	return waitFor(ctx, callTimeout, fmt.Sprintf("%d clients to be online", n), func() bool {
		var now stats
		return t.get(ctx, "/v1/stats", &now) == nil && now.Online == n
	})
}

// waitForAcks waits until the ack of each message accepted since before is stored.
func (t *target) waitForAcks(ctx context.Context, before *stats) error {
	return waitFor(ctx, callTimeout, "the acks of all messages", func() bool {
		var now stats
		return t.get(ctx, "/v1/stats", &now) == nil && now.Settled["acked"]-before.Settled["acked"] >= now.Accepted-before.Accepted
	})
}

// waitForPosts waits until the event of each stored ack is posted.
func (s *server) waitForPosts(ctx context.Context) error {
	var now stats
	if err := s.get(ctx, "/v1/stats", &now); err != nil {
		return err
	}
	return s.posted.await(ctx, now.Settled["acked"])
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
