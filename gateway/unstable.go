package gateway

import (
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
}

// note counts a quick takeover, or a refusal because the id is connected.
func (c *conflicts) note(id ClientID, now time.Time) {
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
	if c.ids == nil {
		c.ids = make(map[ClientID]conflict)
	}
	c.ids[id] = x
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

// Flapping returns the clients that have gone offline at least five times in a row, each
// time within a minute of the last, and the last time within five minutes. It knows the
// 4,096 clients that went offline last.
func (g *Gateway) Flapping() []Unstable {
	now := g.cfg.Now()
	return g.closes.collect(func(n *closeNote) bool { return n.flaps(now) })
}

// FlappingOf returns the row of a client that Flapping lists, false for any other one.
func (g *Gateway) FlappingOf(id ClientID) (Unstable, bool) {
	c := &g.closes
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.last[id]
	if !ok || !n.flaps(g.cfg.Now()) {
		return Unstable{}, false
	}
	return Unstable{Client: id, Since: n.first, Count: n.row, Reason: n.reason}, true
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
	for id, n := range c.last {
		if wanted(&n) {
			all = append(all, Unstable{Client: id, Since: n.first, Count: n.row, Reason: n.reason})
		}
	}
	return all
}
