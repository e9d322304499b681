package tcpserver

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates bounds how often something may happen, per second. 0 is no bound.
// After a quiet time as much may come at once as the rate allows in
// burstTime, so that a fleet can come back together.
type Rates struct {
	All       int // from everywhere
	PerSource int // from one IPv4 address or IPv6 /64; loopback excepted
}

const (
	burstTime = 10 * time.Second
	// maxSources bounds the sources that are kept apart, for each kind of
	// event: about 3 MB. When there are more, those that come last share one
	// bucket, which is as wide as one source's, until others have been quiet
	// for burstTime; who is known keeps what it has.
	maxSources = 16384
)

// limits are the buckets of a server.
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

// accept takes one connection from source, or says why not; likewise handshake
// and register.
func (l *limits) accept(source netip.Addr) (refused string) {
	return l.accepts.take(source, refusedAcceptRate, refusedAcceptRatePerIP)
}

func (l *limits) handshake(source netip.Addr) (refused string) {
	return l.handshakes.take(source, refusedHandshakeRate, refusedHandshakeRatePerIP)
}

func (l *limits) register(source netip.Addr) (refused string) {
	return l.registrations.take(source, refusedRegisterRate, refusedRegisterRatePerIP)
}

// acceptBehindProxy takes the source's part of an accept whose source was not
// known then.
func (l *limits) acceptBehindProxy(source netip.Addr) bool {
	return l.accepts.takeOne(source, time.Now())
}

// bucket is a token bucket for all and one for each source.
type bucket struct {
	all  *rate.Limiter // nil: no bound
	each rate.Limit    // 0: no bound

	mu     sync.Mutex
	source map[netip.Addr]*rate.Limiter
	others *rate.Limiter // shared by those who do not fit into source
	swept  time.Time     // when those that were quiet were last forgotten
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

// take takes a token for source, invalid for one without a bound of its own;
// it returns all or one when there is none left for everybody or for the
// source. A source that is refused takes nothing from everybody's.
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
	if len(b.source) >= maxSources && !b.forgetQuiet(now) {
		return b.others
	}
	l := full(b.each)
	b.source[source] = l
	return l
}

// forgetQuiet drops the buckets that are full again, which is what a new one
// would be, and reports whether there is room now. It walks over all, so it
// does so once a second at most. b.mu is held.
func (b *bucket) forgetQuiet(now time.Time) (room bool) {
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
