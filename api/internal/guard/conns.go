package guard

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/shares"
)

// When callers hold every connection, the reserve serves probes, documents and keys
// with the scope admin. It comes on top of Connections.most. Requests of such a key can
// wait for a minute, so they get only a part of the reserve, and a probe finds a place.
const (
	reservedConnections = 16
	reservedForAdmin    = 8 // of them
)

// Connections bounds the open connections. A connection is unauthenticated until a
// request on it is allowed. When all places are taken, a new connection displaces an
// unauthenticated one: the oldest of the address that has the most of them. If there
// is none, it displaces the authenticated connection that has been idle for longest.
// A connection whose caller waits for an answer is never displaced.
type Connections struct {
	most, perAddress int
	proxied          func(remote string) bool // an address that many callers share
	log              *slog.Logger
	displaced        [displacedKinds]atomic.Uint64
	warned           atomic.Int64 // Unix nanoseconds of the last warning

	mu              sync.Mutex
	open            int
	unauthenticated shares.Book[netip.Prefix, *clientConn]
	known           map[*clientConn]struct{}
}

// Why a connection was closed for another one, or refused.
const (
	displacedUnauthenticated = iota
	displacedPerAddress
	displacedIdle
	displacedNewcomer
	displacedKinds
)

// clientConn is one connection to the API.
type clientConn struct {
	net.Conn
	all    *Connections
	source netip.Prefix                             // invalid for loopback and proxies, which have no bound of their own
	place  *shares.Place[netip.Prefix, *clientConn] // guarded by all.mu; nil when it is authenticated
	known  atomic.Bool                              // it is authenticated: a request on it was allowed
	left   bool                                     // guarded by all.mu: not counted any more
	idle   atomic.Int64                             // since when it waits for a request, Unix nanoseconds; 0 = it has one
}

type connKey struct{}

// NewConnections returns the bounds of one server: most connections in all, and perAddress
// unauthenticated ones of one address. proxied reports whether many callers share an
// address; such an address has no bound.
func NewConnections(most, perAddress int, proxied func(remote string) bool, log *slog.Logger) *Connections {
	return &Connections{proxied: proxied, most: most, perAddress: perAddress, log: log, known: make(map[*clientConn]struct{})}
}

// Watch sets the hooks of s that report its connections.
func (cs *Connections) Watch(s *http.Server) {
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

// Bound returns ln with the bounds for its connections.
func (cs *Connections) Bound(ln net.Listener) net.Listener { return &boundListener{ln, cs} }

type boundListener struct {
	net.Listener
	all *Connections
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
			t.SetLinger(0) // no byte was exchanged, and no descriptor must stay open
		}
		nc.Close()
	}
}

// enter counts a new connection; nil means that there is no room for it.
func (cs *Connections) enter(nc net.Conn) *clientConn {
	c := &clientConn{Conn: nc, all: cs}
	if remote := nc.RemoteAddr().String(); !cs.proxied(remote) {
		c.source, _ = SourceOf(remote)
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

// place finds room for c. The caller closes the victim, the connection that c
// displaced.
func (cs *Connections) place(c *clientConn) (victim *clientConn, ok bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if victim, ok = cs.makeRoomLocked(c); ok {
		cs.open++
		c.place = cs.unauthenticated.Enter(c.source, c)
	}
	return victim, ok
}

// makeRoomLocked chooses the connection that c displaces, if it needs its room.
func (cs *Connections) makeRoomLocked(c *clientConn) (victim *clientConn, ok bool) {
	if c.source.IsValid() && cs.unauthenticated.Of(c.source) >= cs.perAddress {
		return cs.displaceLocked(cs.unauthenticated.Oldest(c.source).Holder, displacedPerAddress), true
	}
	over := cs.open - cs.most // reserved places in use
	if over < 0 {
		return nil, true
	}
	if cs.unauthenticated.Len() > over {
		return cs.displaceLocked(cs.unauthenticated.Hoarder().Holder, displacedUnauthenticated), true
	}
	if idle := cs.longestIdleLocked(); idle != nil {
		return cs.displaceLocked(idle, displacedIdle), true
	}
	if over < reservedConnections {
		return nil, true
	}
	if p := cs.unauthenticated.Hoarder(); p != nil {
		return cs.displaceLocked(p.Holder, displacedUnauthenticated), true
	}
	cs.noteLocked(displacedNewcomer, c)
	return nil, false
}

// displaceLocked takes c out of the counts.
func (cs *Connections) displaceLocked(c *clientConn, why int) *clientConn {
	cs.removeLocked(c)
	cs.noteLocked(why, c)
	return c
}

// removeLocked takes c out of the counts. A second call does nothing.
func (cs *Connections) removeLocked(c *clientConn) {
	if c.left {
		return
	}
	c.left = true
	cs.open--
	if c.place != nil {
		cs.unauthenticated.Leave(c.place)
		c.place = nil
	}
	delete(cs.known, c)
}

// longestIdleLocked returns the authenticated connection that has been without a
// request for longest, and marks it so that its next request is not read. It
// returns nil if every connection has a request.
func (cs *Connections) longestIdleLocked() *clientConn {
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

// Allowed marks the connection of ctx as authenticated: a request on it was allowed.
// It returns an error if the connection uses a reserved place and the caller is no
// operator, or if operators hold their part of the reserve.
func (cs *Connections) Allowed(ctx context.Context, operator bool) error {
	c, _ := ctx.Value(connKey{}).(*clientConn)
	if c == nil || c.known.Load() {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.place == nil {
		return nil // it was displaced, or another request has come first
	}
	if cs.open > cs.most && !operator || len(cs.known) >= cs.most+reservedForAdmin {
		return problem.New(problem.Overloaded, "%d connections are open, which is the most this server takes", cs.most)
	}
	cs.unauthenticated.Leave(c.place)
	c.place = nil
	cs.known[c] = struct{}{}
	c.known.Store(true)
	return nil
}

// warnEvery is the least time between log lines about displaced connections.
const warnEvery = time.Minute

// noteLocked counts a connection that was closed for want of room.
func (cs *Connections) noteLocked(why int, c *clientConn) {
	cs.displaced[why].Add(1)
	now := time.Now().UnixNano()
	if last := cs.warned.Load(); now-last < int64(warnEvery) || !cs.warned.CompareAndSwap(last, now) {
		return
	}
	cs.log.Warn("too many connections to the API: one is closed for each that comes", "remote", c.RemoteAddr().String(), "http.max_connections", cs.most)
}

// Counts returns how many connections are open, and how many were closed for
// want of room, by reason.
func (cs *Connections) Counts() (open int, displaced map[string]uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open, map[string]uint64{"no_key": cs.displaced[displacedUnauthenticated].Load(), "address": cs.displaced[displacedPerAddress].Load(),
		"idle": cs.displaced[displacedIdle].Load(), "newcomer": cs.displaced[displacedNewcomer].Load()}
}

// Close gives the connection's place back.
func (c *clientConn) Close() error {
	c.all.mu.Lock()
	c.all.removeLocked(c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
