package tcpserver

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates bounds how often an event may happen, per second. 0 is no bound. After a
// quiet time burstTime's worth may happen at once, so that a fleet can come back
// together.
type Rates struct {
	All       int // of all sources
	PerSource int // of one IPv4 address or IPv6 /64, except loopback
}

const (
	burstTime = 10 * time.Second
	// maxSources bounds the number of sources with a bucket of their own, for each
	// kind of event: about 3 MB. Further sources share one bucket of the size of
	// one source's, until others have been quiet for burstTime. A source with a
	// bucket keeps it.
	maxSources = 16384
)

// limits holds the buckets of a server.
type limits struct {
	accepts, handshakes, registrations *bucket
}

func newLimits(c *Config) *limits {
	return &limits{
		accepts:       newBucket(c.AcceptRates, refusedAcceptRate, refusedAcceptRatePerIP),
		handshakes:    newBucket(c.HandshakeRates, refusedHandshakeRate, refusedHandshakeRatePerIP),
		registrations: newBucket(c.RegisterRates, refusedRegisterRate, refusedRegisterRatePerIP),
	}
}

// Reasons of refusal.
const (
	refusedHandshakeRate      = "handshake_rate"
	refusedHandshakeRatePerIP = "handshake_rate_per_ip"
	refusedRegisterRate       = "register_rate"
	refusedRegisterRatePerIP  = "register_rate_per_ip"
)

// bucket is a token bucket for all sources and one for each source, with the reasons
// of a refusal by either.
type bucket struct {
	all  *rate.Limiter // nil: no bound
	each rate.Limit    // 0: no bound

	refusedByAll, refusedByEach string

	mu     sync.Mutex
	source map[netip.Addr]*rate.Limiter
	others *rate.Limiter // shared by the sources that do not fit into source
	swept  time.Time     // time of the last forgetQuietLocked
}

func newBucket(r Rates, byAll, byEach string) *bucket {
	b := &bucket{each: rate.Limit(max(0, r.PerSource)), refusedByAll: byAll, refusedByEach: byEach}
	if r.All > 0 {
		b.all = full(rate.Limit(r.All))
	}
	if b.each > 0 {
		b.source, b.others = make(map[netip.Addr]*rate.Limiter), full(b.each)
	}
	return b
}

// full returns a bucket with all its tokens.
func full(r rate.Limit) *rate.Limiter {
	return rate.NewLimiter(r, int(float64(r)*burstTime.Seconds()))
}

// take takes a token for source, invalid for a source without a bound, or returns the
// reason to refuse it. A source that is refused takes no token from the bucket of all.
func (b *bucket) take(source netip.Addr) (refused string) {
	now := time.Now()
	if !b.takeOne(source, now) {
		return b.refusedByEach
	}
	if b.all != nil && !b.all.AllowN(now, 1) {
		return b.refusedByAll
	}
	return ""
}

func (b *bucket) takeOne(source netip.Addr, now time.Time) bool {
	return b.each == 0 || !source.IsValid() || b.of(source, now).AllowN(now, 1)
}

// of returns the bucket of a source.
func (b *bucket) of(source netip.Addr, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.source[source]; l != nil {
		return l
	}
	if len(b.source) >= maxSources && !b.forgetQuietLocked(now) {
		return b.others
	}
	l := full(b.each)
	b.source[source] = l
	return l
}

// forgetQuietLocked removes full buckets, which a new one would equal, and reports
// whether there is room. It looks at all sources, so it runs at most once a second.
// The caller holds b.mu.
func (b *bucket) forgetQuietLocked(now time.Time) (room bool) {
	if now.Sub(b.swept) < time.Second {
		return false
	}
	b.swept = now
	for source, l := range b.source {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(b.source, source)
		}
	}
	return len(b.source) < maxSources
}
