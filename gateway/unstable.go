package gateway

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// This file finds clients whose connections do not last: they come and go, two devices
// share an id, or they fell silent. The lists are bounded and in memory.

// Bounds of what counts as unstable.
const (
	flapGap     = time.Minute      // the longest time between two closes of a client that flaps
	flapLeast   = 5                // closes in a row
	flapQuiet   = 5 * time.Minute  // without a close: the client has settled
	twinLeast   = 3                // quick takeovers, or refusals of a second connection, in a row
	twinQuiet   = 10 * time.Minute // without another: one device is left
	silentFor   = 10 * time.Minute // how long a silent client counts after it was given up
	maxConflict = 1_000            // ids in conflict that are remembered
	maxClaims   = 8                // addresses of one such id; the one that came first gives way
)

// Unstable is a client whose connections do not last.
type Unstable struct {
	Client ClientID
	Since  time.Time // the first close or takeover of the row
	Count  int       // of them
	Reason string    // of the last close, "" for takeovers
}

// conflicts remembers ids that two connections claim in turn.
type conflicts struct {
	mu  sync.Mutex
	ids map[ClientID]conflict
}

type conflict struct {
	first, last time.Time // with a monotonic reading
	count       int
	claims      []Claim // the latest last
}

// Claim is an address from which connections have claimed an id that was connected, or
// from which the connected one came.
type Claim struct {
	Remote  netip.AddrPort // of the last connection from this address
	Dialect string         // that it spoke
	Count   int            // connections, also refused ones
	At      time.Time      // of the last one
}

// claimOf returns the claim of a live session.
func claimOf(s *Session) Claim {
	l := s.link.Stats()
	return Claim{Remote: l.RemoteAddr, Dialect: l.Dialect, At: s.connectedTime()}
}

// add adds a connection to those of its address.
func (x *conflict) add(c Claim) {
	if !c.Remote.IsValid() {
		return
	}
	c.Count = 1
	if i := x.of(c.Remote); i >= 0 {
		c.Count += x.claims[i].Count
		x.claims = slices.Delete(x.claims, i, i+1)
	} else if len(x.claims) >= maxClaims {
		x.claims = slices.Delete(x.claims, 0, 1)
	}
	x.claims = append(x.claims, c)
}

// of returns the place of the claim from an address, -1 for none. Ports differ from
// connection to connection.
func (x *conflict) of(remote netip.AddrPort) int {
	return slices.IndexFunc(x.claims, func(c Claim) bool { return c.Remote.Addr() == remote.Addr() })
}

// note counts a quick takeover, or a refusal because the id is connected. holder is the
// connection that had the id, claimant the other one.
func (c *conflicts) note(id ClientID, now time.Time, holder, claimant Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, known := c.ids[id]
	if !known && len(c.ids) >= maxConflict {
		for other, x := range c.ids {
			if now.Sub(x.last) > twinQuiet {
				delete(c.ids, other)
			}
		}
		if len(c.ids) >= maxConflict {
			return
		}
	}
	if !known || now.Sub(x.last) > twinQuiet {
		x = conflict{first: now}
	}
	x.last = now
	x.count++
	if x.of(holder.Remote) < 0 {
		x.add(holder) // later it is the claimant of the time before
	}
	x.add(claimant)
	if c.ids == nil {
		c.ids = make(map[ClientID]conflict)
	}
	c.ids[id] = x
}

// forget removes the claims of an id.
func (c *conflicts) forget(id ClientID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ids, id)
}

// list returns the ids that are in conflict now.
func (c *conflicts) list(now time.Time) (all []Unstable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, x := range c.ids {
		if x.count >= twinLeast && now.Sub(x.last) <= twinQuiet {
			all = append(all, Unstable{Client: id, Since: x.first, Count: x.count})
		}
	}
	return all
}

// claimsOf returns the claims of an id that is in conflict now, the latest first.
func (c *conflicts) claimsOf(id ClientID, now time.Time) []Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, known := c.ids[id]
	if !known || now.Sub(x.last) > twinQuiet {
		return nil
	}
	all := slices.Clone(x.claims)
	slices.Reverse(all)
	return all
}

// continueRow makes n the next close of a client whose close before was last.
func (n *closeNote) continueRow(last closeNote) {
	n.first, n.row = n.at, 1
	if !last.at.IsZero() && n.at.Sub(last.at) <= flapGap {
		n.first, n.row = last.first, last.row+1
	}
}

// Conflicts returns the clients whose id two connections have claimed in turn, at least
// three times, the last time within ten minutes.
func (g *Gateway) Conflicts() []Unstable { return g.conflicts.list(g.cfg.Now()) }

// Claims returns the addresses from which connections have claimed the id of a client in
// turn, the latest first and at most eight; nil ten minutes after the last time.
func (g *Gateway) Claims(id ClientID) []Claim { return g.conflicts.claimsOf(id, g.cfg.Now()) }

// Flapping returns the clients that have gone offline at least five times in a row, each
// time within a minute of the last, and the last time within five minutes. It knows the
// 4,096 clients that went offline last.
func (g *Gateway) Flapping() []Unstable {
	now := g.cfg.Now()
	return g.closes.collect(func(n *closeNote) bool { return n.flaps(now) })
}

// FlappingOf returns the row of a client that Flapping lists, false for any other one.
func (g *Gateway) FlappingOf(id ClientID) (Unstable, bool) {
	n, ok := g.closes.of(id)
	if !ok || !n.flaps(g.cfg.Now()) {
		return Unstable{}, false
	}
	return n.unstable(id), true
}

// unstable is the row of a client's closes that ends with n.
func (n *closeNote) unstable(id ClientID) Unstable {
	return Unstable{Client: id, Since: n.first, Count: n.row, Reason: n.reason}
}

// flaps reports whether the close is one of a client that flaps.
func (n *closeNote) flaps(now time.Time) bool {
	return n.row >= flapLeast && now.Sub(n.at) <= flapQuiet
}

// Silent returns the clients that the gateway has given up in the last ten minutes
// because they missed their heartbeats, and that have not come back.
func (g *Gateway) Silent() []Unstable {
	now := g.cfg.Now()
	all := g.closes.collect(func(n *closeNote) bool {
		return n.reason == ReasonHeartbeatTimeout && now.Sub(n.at) <= silentFor
	})
	gone := all[:0]
	for _, u := range all {
		if g.hub.session(u.Client) == nil {
			gone = append(gone, u)
		}
	}
	return gone
}

// collect returns the clients whose last close is of interest.
func (c *lastCloses) collect(wanted func(*closeNote) bool) (all []Unstable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.last.all {
		if wanted(&n) {
			all = append(all, n.unstable(id))
		}
	}
	return all
}
