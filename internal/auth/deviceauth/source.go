package deviceauth

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// sourceOf is what counts as one place: an IPv4 address or an IPv6 /64.
func sourceOf(remote netip.AddrPort) netip.Addr {
	a := remote.Addr().Unmap()
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // 64 fits an IPv6 address
		return p.Addr()
	}
	return a
}

// penalties is a bucket of refusals for each source that has some: a refusal
// takes one, a minute fills it again. Beyond maxSources the place of a source
// that has waited longest, of a few looked at, is given away: whoever has that
// many addresses is bounded by how many registrations are taken at all.
type penalties struct {
	size float64 // refusals of a full bucket; 0 = no bound

	mu sync.Mutex
	by map[netip.Addr]bucket
}

const (
	maxSources    = 8192
	refill        = time.Minute // of an empty bucket
	sampleSources = 16
)

type bucket struct {
	left float64
	at   time.Time
}

func newPenalties(perMinute int) *penalties {
	return &penalties{size: float64(perMinute), by: make(map[netip.Addr]bucket)}
}

// level is what is in b at now.
func (p *penalties) level(b bucket, now time.Time) float64 {
	return math.Min(p.size, b.left+p.size*float64(now.Sub(b.at))/float64(refill))
}

// wait is how long nothing from source is looked at, 0 when it may go on.
func (p *penalties) wait(source netip.Addr, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.by[source]
	if !ok {
		return 0
	}
	left := p.level(b, now)
	if left >= 1 {
		return 0
	}
	return time.Duration((1 - left) / p.size * float64(refill))
}

// add notes a refusal. Loopback has only ourselves and local proxies behind it.
func (p *penalties) add(source netip.Addr, now time.Time) {
	if p.size == 0 || !source.IsValid() || source.IsLoopback() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.by[source]
	if !ok {
		b = bucket{left: p.size, at: now}
		p.makeRoom(now)
	}
	p.by[source] = bucket{left: math.Max(0, p.level(b, now)-1), at: now}
}

// makeRoom forgets sources when the table is full: of those looked at, the ones
// that are at peace again, or else the one that has been quiet for longest.
func (p *penalties) makeRoom(now time.Time) {
	if len(p.by) < maxSources {
		return
	}
	var oldest netip.Addr
	seen := 0
	for s, b := range p.by {
		if p.level(b, now) == p.size {
			delete(p.by, s)
		} else if !oldest.IsValid() || b.at.Before(p.by[oldest].at) {
			oldest = s
		}
		if seen++; seen == sampleSources {
			break
		}
	}
	if len(p.by) >= maxSources {
		delete(p.by, oldest)
	}
}
