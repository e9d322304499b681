package deviceauth

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// penalties has a bucket of allowed refusals for each source that was refused. A
// refusal takes one; an empty bucket is full again after a minute. Beyond
// maxSources a new source replaces the one of a random sample that was refused
// least recently. An attacker with that many addresses is bounded by the rate of
// registrations instead.
type penalties struct {
	size float64 // capacity of a bucket; 0 = no bound

	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

const (
	maxSources    = 8192
	refill        = time.Minute // time to fill an empty bucket
	sampleSources = 16
)

type bucket struct {
	left float64
	at   time.Time
}

func newPenalties(perMinute int) *penalties {
	return &penalties{size: float64(perMinute), buckets: make(map[netip.Addr]bucket)}
}

// level returns the content of b at now.
func (p *penalties) level(b bucket, now time.Time) float64 {
	return math.Min(p.size, b.left+p.size*float64(now.Sub(b.at))/float64(refill))
}

// wait returns how long the source must wait before its next registration, 0 for no
// wait.
func (p *penalties) wait(source netip.Addr, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.buckets[source]
	if !ok {
		return 0
	}
	left := p.level(b, now)
	if left >= 1 {
		return 0
	}
	return time.Duration((1 - left) / p.size * float64(refill))
}

// add notes a refusal. Loopback is exempt: it has only this machine and local
// proxies behind it.
func (p *penalties) add(source netip.Addr, now time.Time) {
	if p.size == 0 || !source.IsValid() || source.IsLoopback() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.buckets[source]
	if !ok {
		b = bucket{left: p.size, at: now}
		p.makeRoom(now)
	}
	p.buckets[source] = bucket{left: math.Max(0, p.level(b, now)-1), at: now}
}

// makeRoom removes sources when the table is full. Of a random sample it removes
// those with a full bucket, or else the least recently refused.
func (p *penalties) makeRoom(now time.Time) {
	if len(p.buckets) < maxSources {
		return
	}
	var oldest netip.Addr
	seen := 0
	for s, b := range p.buckets {
		if p.level(b, now) == p.size {
			delete(p.buckets, s)
		} else if !oldest.IsValid() || b.at.Before(p.buckets[oldest].at) {
			oldest = s
		}
		if seen++; seen == sampleSources {
			break
		}
	}
	if len(p.buckets) >= maxSources {
		delete(p.buckets, oldest)
	}
}
