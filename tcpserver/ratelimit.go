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
	return &limits{newBucket(c.AcceptRates), newBucket(c.HandshakeRates), newBucket(c.RegisterRates)}
}

// Reasons of refusal.
const (
	refusedHandshakeRate      = "handshake_rate"
	refusedHandshakeRatePerIP = "handshake_rate_per_ip"
	refusedRegisterRate       = "register_rate"
	refusedRegisterRatePerIP  = "register_rate_per_ip"
)

// accept takes one connection from source, or returns the reason to refuse it;
// handshake and register likewise.
func (l *limits) accept(source netip.Addr) (refused string) {
	return l.accepts.take(source, refusedAcceptRate, refusedAcceptRatePerIP)
}

func (l *limits) handshake(source netip.Addr) (refused string) {
	return l.handshakes.take(source, refusedHandshakeRate, refusedHandshakeRatePerIP)
}

func (l *limits) register(source netip.Addr) (refused string) {
	return l.registrations.take(source, refusedRegisterRate, refusedRegisterRatePerIP)
}

// acceptBehindProxy counts an accept for its source, which was unknown at the
// accept.
func (l *limits) acceptBehindProxy(source netip.Addr) bool {
	return l.accepts.takeOne(source, time.Now())
}

// bucket is a token bucket for all sources and one for each source.
type bucket struct {
	all  *rate.Limiter // nil: no bound
	each rate.Limit    // 0: no bound

	mu     sync.Mutex
	source map[netip.Addr]*rate.Limiter
	others *rate.Limiter // shared by the sources that do not fit into source
	swept  time.Time     // time of the last forgetQuietLocked
}

func newBucket(r Rates) *bucket {
	b := &bucket{each: rate.Limit(max(0, r.PerSource))}
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

// take takes a token for source, invalid for a source without a bound. It returns
// all or one if no token is left for all sources or for this one. A source that is
// refused takes no token from the bucket of all.
func (b *bucket) take(source netip.Addr, all, one string) (refused string) {
	now := time.Now()
	if !b.takeOne(source, now) {
		return one
	}
	if b.all != nil && !b.all.AllowN(now, 1) {
		return all
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
