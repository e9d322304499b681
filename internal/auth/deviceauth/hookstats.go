package deviceauth

import (
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

type hookCounters struct {
	hits      atomic.Uint64
	took      []atomic.Uint64 // calls by hookBounds; the last element counts slower ones
	sum       atomic.Int64    // nanoseconds
	answers   wordCounts
	monitored wordCounts
}

// wordCounts counts words of a fixed list. It does not grow after init.
type wordCounts map[string]*atomic.Uint64

func newWordCounts(list ...string) wordCounts {
	w := wordCounts{}
	for _, word := range list {
		w[word] = new(atomic.Uint64)
	}
	return w
}

func (w wordCounts) add(word string) { w[word].Add(1) }

func (w wordCounts) snapshot() map[string]uint64 {
	m := make(map[string]uint64, len(w))
	for word, n := range w {
		m[word] = n.Load()
	}
	return m
}

func (c *hookCounters) init() {
	c.took = make([]atomic.Uint64, len(hookBounds)+1)
	c.answers = newWordCounts("allow", "deny", "failed")
	c.monitored = newWordCounts("allow", "deny", "failed", "skipped")
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
	i := 0
	for i < len(hookBounds) && d > hookBounds[i] {
		i++
	}
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
