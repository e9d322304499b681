package gateway

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Tally counts what happens to the clients whose id begins with a prefix. A delivery of a
// message to many counts when it is answered; its acceptance and its expiry are steps of
// the whole message, and no tally has them.
type Tally struct {
	prefix string
	online atomic.Int64

	accepted, acked, rejected, failed atomic.Uint64
	uplinks, connects, disconnects    atomic.Uint64
	acks                              Latencies
}

// TallyCounts is a snapshot of a Tally. All but Online are totals since it began.
type TallyCounts struct {
	Online      int
	Accepted    uint64 // messages to one client
	Acked       uint64 // deliveries, as the next two
	Rejected    uint64
	Failed      uint64
	Uplinks     uint64
	Connects    uint64 // registrations
	Disconnects uint64 // clients that went offline
	Acks        LatencyCounts
}

// Counts returns a snapshot.
func (t *Tally) Counts() TallyCounts {
	return TallyCounts{Online: int(t.online.Load()), Accepted: t.accepted.Load(), Acked: t.acked.Load(), Rejected: t.rejected.Load(),
		Failed: t.failed.Load(), Uplinks: t.uplinks.Load(), Connects: t.connects.Load(), Disconnects: t.disconnects.Load(), Acks: t.acks.Snapshot()}
}

// tallies is a set of tallies; it does not change. Nil = none.
type tallies struct {
	byPrefix map[string]*Tally
	lengths  []int // of the prefixes
}

func newTallies(list []*Tally) *tallies {
	if len(list) == 0 {
		return nil
	}
	s := &tallies{byPrefix: make(map[string]*Tally, len(list))}
	for _, t := range list {
		s.byPrefix[t.prefix] = t
		s.lengths = append(s.lengths, len(t.prefix))
	}
	slices.Sort(s.lengths)
	s.lengths = slices.Compact(s.lengths)
	return s
}

// of yields the tallies that count a client.
func (s *tallies) of(id ClientID) func(yield func(*Tally) bool) {
	return func(yield func(*Tally) bool) {
		for _, n := range s.lengths {
			if n > len(id) {
				return
			}
			if t := s.byPrefix[string(id[:n])]; t != nil && !yield(t) {
				return
			}
		}
	}
}

// Tally returns the tally of a prefix, which begins now if there is none. The gateway
// keeps it until Untally. Its cost for the gateway is a look-up at each registration and
// each change of a delivery; without tallies there is none.
func (g *Gateway) Tally(prefix string) *Tally {
	g.tallying.Lock()
	defer g.tallying.Unlock()
	now := g.tallies.Load()
	if now != nil && now.byPrefix[prefix] != nil {
		return now.byPrefix[prefix]
	}
	t := &Tally{prefix: prefix}
	g.setTallies(append(now.list(), t), t)
	return t
}

// Untally ends the tally of a prefix.
func (g *Gateway) Untally(prefix string) {
	g.tallying.Lock()
	defer g.tallying.Unlock()
	list := g.tallies.Load().list()
	g.setTallies(slices.DeleteFunc(list, func(t *Tally) bool { return t.prefix == prefix }), nil)
}

func (s *tallies) list() (list []*Tally) {
	if s == nil {
		return nil
	}
	for _, t := range s.byPrefix {
		list = append(list, t)
	}
	return list
}

// setTallies replaces the set. A new tally counts the clients of each shard in the step
// in which the shard gets the set, so that none is missed or counted twice.
func (g *Gateway) setTallies(list []*Tally, begins *Tally) {
	set := newTallies(list)
	g.tallies.Store(set)
	for i := range g.hub.shards {
		sh := &g.hub.shards[i]
		sh.mu.Lock()
		sh.tallies = set
		if begins != nil {
			for id := range sh.sessions {
				if strings.HasPrefix(string(id), begins.prefix) {
					begins.online.Add(1)
				}
			}
		}
		sh.mu.Unlock()
	}
}

// arrival is a change of a client's connection.
type arrival int

const (
	came     arrival = iota // online, and was offline
	replaced                // its connection
	left                    // it is offline
)

// tallyLocked counts a change of a client's connection. The caller holds sh.mu.
func (sh *hubShard) tallyLocked(id ClientID, what arrival) {
	if sh.tallies == nil {
		return
	}
	for t := range sh.tallies.of(id) {
		switch what {
		case came:
			t.online.Add(1)
			t.connects.Add(1)
		case replaced:
			t.connects.Add(1)
		case left:
			t.online.Add(-1)
			t.disconnects.Add(1)
		}
	}
}

// settled counts a delivery that became final.
func (s *tallies) settled(d *Delivery) {
	for t := range s.of(d.Client) {
		switch d.State {
		case Acked:
			t.acked.Add(1)
			if !d.SentAt.IsZero() {
				t.acks.add(d.FinalAt.Sub(d.SentAt))
			}
		case Rejected:
			t.rejected.Add(1)
		case Failed:
			t.failed.Add(1)
		}
	}
}

// answered counts an online delivery that a device answered; rtt is 0 if it is not known.
func (s *tallies) answered(id ClientID, rtt time.Duration) {
	for t := range s.of(id) {
		t.acked.Add(1)
		if rtt > 0 {
			t.acks.add(rtt)
		}
	}
}
