package deviceauth

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Stats is a snapshot for metrics.
type Stats struct {
	Results      map[[2]string]uint64 // decisions by method and reason, with zeros for those that have not occurred
	Refused      int                  // ids in the list of refused devices
	Reloads      uint64
	ReloadErrors uint64

	Hook *HookStats // nil without a hook
}

// HookStats describe the calls to the hook.
type HookStats struct {
	Calls     gateway.Histogram // round trips
	Answers   map[string]uint64 // of calls: allow, deny or failed
	CacheHits uint64
	Cached    int
	Breaker   int               // 0 closed, 1 half open, 2 open (no calls)
	Monitored map[string]uint64 // in monitor mode: allow, deny, failed or skipped
}

// counters counts decisions in a table of every method and reason.
type counters struct {
	results               [][]atomic.Uint64
	reloads, reloadErrors atomic.Uint64
}

func (c *counters) init() {
	c.results = make([][]atomic.Uint64, len(methods))
	for i := range c.results {
		c.results[i] = make([]atomic.Uint64, len(reasons))
	}
}

func (c *counters) add(m Method, r Reason) {
	c.results[slices.Index(methods, m)][slices.Index(reasons, r)].Add(1)
}

// Stats returns a snapshot.
func (a *Authenticator) Stats() Stats {
	s := Stats{Results: make(map[[2]string]uint64), Refused: a.refused.Len(),
		Reloads: a.stats.reloads.Load(), ReloadErrors: a.stats.reloadErrors.Load()}
	for i, m := range methods {
		for j, r := range reasons {
			s.Results[[2]string{string(m), string(r)}] = a.stats.results[i][j].Load()
		}
	}
	if a.hook != nil {
		s.Hook = a.hook.stats()
	}
	return s
}

// hookBounds are the buckets of the hook's round trips.
var hookBounds = []time.Duration{time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second}
