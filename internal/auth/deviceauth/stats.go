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

// counts counts the elements of a fixed list. It does not grow after newCounts.
type counts[K comparable] map[K]*atomic.Uint64

func newCounts[K comparable](list ...K) counts[K] {
	c := make(counts[K], len(list))
	for _, k := range list {
		c[k] = new(atomic.Uint64)
	}
	return c
}

func (c counts[K]) add(k K) { c[k].Add(1) }

func (c counts[K]) snapshot() map[K]uint64 {
	m := make(map[K]uint64, len(c))
	for k, n := range c {
		m[k] = n.Load()
	}
	return m
}

type counters struct {
	results               counts[[2]string] // decisions by method and reason
	reloads, reloadErrors atomic.Uint64
}

func (c *counters) add(m Method, r Reason) { c.results.add([2]string{string(m), string(r)}) }

// results returns every method with every reason.
func results() (list [][2]string) {
	for _, m := range methods {
		for _, r := range reasons {
			list = append(list, [2]string{string(m), string(r)})
		}
	}
	return list
}

// Stats returns a snapshot.
func (a *Authenticator) Stats() Stats {
	s := Stats{Results: a.stats.results.snapshot(), Refused: a.refused.Len(),
		Reloads: a.stats.reloads.Load(), ReloadErrors: a.stats.reloadErrors.Load()}
	if a.hook != nil {
		s.Hook = a.hook.stats()
	}
	return s
}

type hookCounters struct {
	hits      atomic.Uint64
	took      []atomic.Uint64 // calls by hookBounds; the last element counts slower ones
	sum       atomic.Int64    // nanoseconds
	answers   counts[string]
	monitored counts[string]
}

func (c *hookCounters) init() {
	c.took = make([]atomic.Uint64, len(hookBounds)+1)
	c.answers = newCounts("allow", "deny", "failed")
	c.monitored = newCounts("allow", "deny", "failed", "skipped")
}

// word returns the word that counts an answer of the hook.
func (v verdict) word() string {
	switch {
	case v.accepted():
		return "allow"
	case v.undecided():
		return "failed"
	}
	return "deny"
}

func (c *hookCounters) call(d time.Duration, v verdict) {
	i, _ := slices.BinarySearch(hookBounds, d) // of the first bound that is at least d
	c.took[i].Add(1)
	c.sum.Add(int64(d))
	c.answers.add(v.word())
}

func (k *hook) stats() *HookStats {
	s := &HookStats{
		Calls:     gateway.Histogram{Bounds: hookBounds, Counts: make([]uint64, len(k.count.took)), Sum: time.Duration(k.count.sum.Load())},
		Answers:   k.count.answers.snapshot(),
		CacheHits: k.count.hits.Load(),
		Cached:    k.cache.len(),
		Breaker:   k.breaker.state(time.Now()),
		Monitored: k.count.monitored.snapshot(),
	}
	for i := range k.count.took {
		s.Calls.Counts[i] = k.count.took[i].Load()
	}
	return s
}

// hookBounds are the buckets of the hook's round trips.
var hookBounds = []time.Duration{time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second}
