package bench

import (
	"context"
	"errors"
	"fmt"
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
	hooks     bool   // webhooks may lead to this process
	hook      hook   // that there is
	untimed   bool   // the gateway keeps no timelines
}

// words describes the state of the clients.
func (s spec) words(o *Options) string {
	var parts []string
	for _, p := range []struct {
		n    amount
		what string
	}{{s.connected, "connected"}, {s.offline, "offline"}, {s.queued, "queued for others"}} {
		if p.n != none {
			parts = append(parts, thousands(o.number(p.n))+" "+p.what)
		}
	}
	if s.hook != noHook {
		parts = append(parts, s.hook.String())
	}
	return strings.Join(parts, ", ")
}

// server is a process under test with its devices.
type server struct {
	*target
	devices *devices // nil = none
	posted  *sink    // of the webhook that posts every ack; nil = none
}

// server returns the scenario's server of this spec; the first call starts it.
func (r *run) server(ctx context.Context, s spec) (*server, error) {
	if have, ok := r.servers[s]; ok {
		return have, nil
	}
	srv, err := r.newServer(ctx, s)
	if err == nil {
		r.servers[s] = srv
	}
	return srv, err
}

// newServer starts a server that ends with the scenario, brings its clients into
// their state, and waits until it is quiet.
func (r *run) newServer(ctx context.Context, s spec) (*server, error) {
	p := process{role: s.role, patient: s.patient, hooks: s.hooks || s.hook != noHook, untimed: s.untimed, connections: r.number(s.connected)}
	if s.queued != none {
		p.dir = r.newDir("store")
		if err := fillStore(ctx, p.dir, r.number(s.queued)); err != nil {
			return nil, fmt.Errorf("fill a store: %w", err)
		}
	}
	srv, err := r.startServer(ctx, p)
	if err != nil {
		return nil, err
	}
	if n := r.number(s.offline); n > 0 && s.role == gatewayServer {
		known, err := r.connect(ctx, srv, join{Count: n})
		if err == nil {
			err = errors.Join(known.drop(ctx), srv.waitForOnline(ctx, 0))
		}
		if err != nil {
			return nil, err
		}
	}
	if n := r.number(s.connected); n > 0 {
		if srv.devices, err = r.connect(ctx, srv, join{Count: n, TLS: s.role == gatewayTLS}); err != nil {
			return nil, err
		}
	}
	if s.hook == noHook {
		return srv, nil
	}
	end, err := r.newSink()
	if err == nil {
		_, err = srv.newHook(ctx, s.hook, end)
	}
	if s.hook == ackHook {
		srv.posted = end
	}
	return srv, err
}

// startServer starts a process that ends with the scenario, a gateway on a new store if none
// is named.
func (r *run) startServer(ctx context.Context, p process) (*server, error) {
	if p.dir == "" && p.role != bareServer {
		p.dir = r.newDir("store")
	}
	t, err := r.start(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.role, err)
	}
	t.role = p.role
	r.onClose(t.stop)
	return &server{target: t}, nil
}

// connect makes devices join a server until the scenario ends.
func (r *run) connect(ctx context.Context, srv *server, j join) (*devices, error) {
	d := &devices{each: r.perProcess, start: r.work}
	r.devices = append(r.devices, d)
	r.onClose(d.close)
	j.Addr = srv.tcp
	_, err := d.join(ctx, j)
	return d, err
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
