package deviceauth

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// penalties has a bucket of allowed refusals for each source that was refused. A
// refusal takes one; an empty bucket is full again after a minute. Beyond
// maxSources a new source replaces the one of a random sample with the fullest
// bucket. An attacker with that many addresses is bounded by the rate of
// registrations instead.
type penalties struct {
	perMinute int // 0 = no bound

	mu      sync.Mutex
	buckets map[netip.Addr]*rate.Limiter
}

const (
	maxSources    = 8192
	sampleSources = 16
)

func newPenalties(perMinute int) *penalties {
	return &penalties{perMinute: perMinute, buckets: make(map[netip.Addr]*rate.Limiter)}
}

// wait returns how long the source must wait before its next registration, 0 for no
// wait.
func (p *penalties) wait(source netip.Addr, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[source]
	if b == nil {
		return 0
	}
	left := b.TokensAt(now)
	if left >= 1 {
		return 0
	}
	return time.Duration((1 - left) / float64(p.perMinute) * float64(time.Minute))
}

// add notes a refusal. Loopback is exempt: it has only this machine and local
// proxies behind it.
func (p *penalties) add(source netip.Addr, now time.Time) {
	if p.perMinute == 0 || !source.IsValid() || source.IsLoopback() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[source]
	if b == nil {
		p.makeRoom(now)
		b = rate.NewLimiter(rate.Limit(p.perMinute)/60, p.perMinute)
		p.buckets[source] = b
	}
	b.AllowN(now, 1)
}

// makeRoom removes a source when the table is full.
func (p *penalties) makeRoom(now time.Time) {
	if len(p.buckets) < maxSources {
		return
	}
	var fullest netip.Addr
	most, seen := -1.0, 0
	for s, b := range p.buckets {
		if left := b.TokensAt(now); left > most {
			fullest, most = s, left
		}
		if seen++; seen == sampleSources {
			break
		}
	}
	delete(p.buckets, fullest)
}
