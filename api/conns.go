package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/shares"
)

// reservedConnections are for the time when callers with a key use every
// connection: probes, documents and keys with the scope admin are served on
// them. They are counted beyond Config.MaxConnections.
const reservedConnections = 16

// connections bounds the open connections. A connection is a stranger's until a
// request on it was allowed. When the house is full, a newcomer gets the place
// of a stranger's connection: the oldest of the address that has most of them.
// If there is none, it gets the place of the caller's connection that has been
// idle for longest. A connection whose caller waits for an answer is never closed.
type connections struct {
	most, perAddress int
	proxied          func(remote string) bool // an address that many callers share
	log              *slog.Logger
	displaced        [displacedKinds]atomic.Uint64
	warned           atomic.Int64 // Unix nanoseconds of the last warning

	mu        sync.Mutex
	open      int
	strangers shares.Book[netip.Prefix, *clientConn]
	known     map[*clientConn]struct{}
}

// Why a connection was closed for another one, or refused.
const (
	displacedStranger = iota
	displacedPerAddress
	displacedIdle
	displacedNewcomer
	displacedKinds
)

// clientConn is one connection to the API.
type clientConn struct {
	net.Conn
	all    *connections
	source netip.Prefix                             // invalid for loopback and proxies, which have no bound of their own
	place  *shares.Place[netip.Prefix, *clientConn] // guarded by all.mu; nil when it is known
	known  atomic.Bool                              // a request on it was allowed
	left   bool                                     // guarded by all.mu: not counted any more
	idle   atomic.Int64                             // since when it waits for a request, Unix nanoseconds; 0 = it has one
}

type connKey struct{}

func newConnections(c *Config) *connections {
	return &connections{proxied: c.isProxy, most: c.MaxConnections, perAddress: c.MaxConnectionsPerIP, log: c.Logger, known: make(map[*clientConn]struct{})}
}

// watch sets the hooks of s that report its connections.
func (cs *connections) watch(s *http.Server) {
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, connOf(nc))
	}
	s.ConnState = func(nc net.Conn, state http.ConnState) {
		c := connOf(nc)
		if c == nil {
			return
		}
		switch state {
		case http.StateIdle:
			c.idle.Store(time.Now().UnixNano())
		case http.StateActive:
			c.idle.Store(0)
		}
	}
}

// connOf returns the connection below nc, nil for a listener that is not bounded.
func connOf(nc net.Conn) *clientConn {
	for {
		if c, ok := nc.(*clientConn); ok {
			return c
		}
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = over.NetConn()
	}
}

// Bound returns ln with the bounds of Config for its connections.
func (s *Server) Bound(ln net.Listener) net.Listener { return &boundListener{ln, s.api.conns} }

type boundListener struct {
	net.Listener
	all *connections
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.all.enter(nc); c != nil {
			return c, nil
		}
		if t, ok := nc.(*net.TCPConn); ok {
			t.SetLinger(0) // nothing was said, and no file is to linger
		}
		nc.Close()
	}
}

// enter counts a new connection; nil means that there is no room for it.
func (cs *connections) enter(nc net.Conn) *clientConn {
	c := &clientConn{Conn: nc, all: cs}
	if remote := nc.RemoteAddr().String(); !cs.proxied(remote) {
		c.source, _ = sourceOf(remote)
	}
	victim, ok := cs.place(c)
	if victim != nil {
		victim.Conn.Close()
	}
	if !ok {
		return nil
	}
	return c
}

// place finds room for c. The caller closes the connection that has made it.
func (cs *connections) place(c *clientConn) (victim *clientConn, ok bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if victim, ok = cs.makeRoom(c); ok {
		cs.open++
		c.place = cs.strangers.Enter(c.source, c)
	}
	return victim, ok
}

// makeRoom chooses the connection that c displaces, if it needs its room. cs.mu is held.
func (cs *connections) makeRoom(c *clientConn) (victim *clientConn, ok bool) {
	if c.source.IsValid() && cs.strangers.Of(c.source) >= cs.perAddress {
		return cs.displace(cs.strangers.Oldest(c.source).Holder, displacedPerAddress), true
	}
	over := cs.open - cs.most // places of the reserve that are taken
	if over < 0 {
		return nil, true
	}
	if cs.strangers.Len() > over {
		return cs.displace(cs.strangers.Hoarder().Holder, displacedStranger), true
	}
	if idle := cs.longestIdle(); idle != nil {
		return cs.displace(idle, displacedIdle), true
	}
	if over < reservedConnections {
		return nil, true
	}
	if p := cs.strangers.Hoarder(); p != nil {
		return cs.displace(p.Holder, displacedStranger), true
	}
	cs.note(displacedNewcomer, c)
	return nil, false
}

// displace takes c out of the counts. cs.mu is held.
func (cs *connections) displace(c *clientConn, why int) *clientConn {
	cs.remove(c)
	cs.note(why, c)
	return c
}

// remove is harmless when c was removed before. cs.mu is held.
func (cs *connections) remove(c *clientConn) {
	if c.left {
		return
	}
	c.left = true
	cs.open--
	if c.place != nil {
		cs.strangers.Leave(c.place)
		c.place = nil
	}
	delete(cs.known, c)
}

// longestIdle takes the connection of a caller that has waited for longest for
// its next request: a request that comes now is not read any more. nil = every
// one has a request. cs.mu is held.
func (cs *connections) longestIdle() *clientConn {
	for {
		var oldest *clientConn
		var since int64
		for c := range cs.known {
			if at := c.idle.Load(); at != 0 && (oldest == nil || at < since) {
				oldest, since = c, at
			}
		}
		if oldest == nil || oldest.idle.CompareAndSwap(since, 0) {
			return oldest
		}
	}
}

// allowed notes that a request on the connection of ctx was allowed. It is an
// error when the connection is one of the reserve, which is not for it.
func (cs *connections) allowed(ctx context.Context, operator bool) error {
	c, _ := ctx.Value(connKey{}).(*clientConn)
	if c == nil || c.known.Load() {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.place == nil {
		return nil // it was displaced, or another request has come first
	}
	if cs.open > cs.most && !operator {
		return problem(overloaded, "%d connections are open, which is the most this server takes", cs.most)
	}
	cs.strangers.Leave(c.place)
	c.place = nil
	cs.known[c] = struct{}{}
	c.known.Store(true)
	return nil
}

// warnEvery spaces the log lines about a full house.
const warnEvery = time.Minute

// note counts a connection that was closed for want of room. cs.mu is held.
func (cs *connections) note(why int, c *clientConn) {
	cs.displaced[why].Add(1)
	now := time.Now().UnixNano()
	if told := cs.warned.Load(); now-told < int64(warnEvery) || !cs.warned.CompareAndSwap(told, now) {
		return
	}
	cs.log.Warn("too many connections to the API: one is closed for each that comes", "remote", c.RemoteAddr().String(), "http.max_connections", cs.most)
}

// counts returns how many connections are open, and how many were closed for
// want of room, by reason.
func (cs *connections) counts() (open int, displaced map[string]uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open, map[string]uint64{"no_key": cs.displaced[displacedStranger].Load(), "address": cs.displaced[displacedPerAddress].Load(),
		"idle": cs.displaced[displacedIdle].Load(), "newcomer": cs.displaced[displacedNewcomer].Load()}
}

// Close gives the connection's place back.
func (c *clientConn) Close() error {
	c.all.mu.Lock()
	c.all.remove(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
