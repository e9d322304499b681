package guard

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/longwire/longwire/api/internal/problem"
)

// failures slows down the guessing of keys. From an address that has failed too
// often, a correct key that cannot be guessed is still accepted, because other
// callers may share the address. A correct key that is guessable is refused like a
// wrong one, so that a guesser learns nothing.
//
// Loopback is never refused: a proxy on this machine sends every request from it.
type failures struct {
	perMinute int          // 0 = no limit
	until     atomic.Int64 // Unix nanoseconds: from then on no address is refused
	mu        sync.Mutex
	sources   map[netip.Prefix]*rate.Limiter
}

// maxSources bounds the addresses in memory. When as many are failing at once, a
// random one is forgotten. A guesser with thousands of addresses gains little by
// that, and cannot lock other callers out.
const maxSources = 4096

func newFailures(perMinute int) *failures {
	return &failures{perMinute: perMinute, sources: make(map[netip.Prefix]*rate.Limiter)}
}

// SourceOf returns an IPv4 address, or the /64 that one IPv6 host uses. ok is false
// for loopback and for an address that cannot be read: neither is counted.
func SourceOf(remote string) (source netip.Prefix, ok bool) {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return source, false
	}
	a := at.Addr().Unmap()
	if a.IsLoopback() {
		return source, false
	}
	bits := 64
	if a.Is4() {
		bits = 32
	}
	source, err = a.Prefix(bits)
	return source, err == nil
}

// check refuses an address that has failed too often. While there is no such address
// it costs one atomic load.
func (f *failures) check(remote string, now time.Time) error {
	if now.UnixNano() >= f.until.Load() {
		return nil
	}
	source, ok := SourceOf(remote)
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bucket := f.sources[source]
	if bucket == nil {
		return nil
	}
	left := bucket.TokensAt(now)
	if left >= 1 {
		return nil
	}
	p := problem.New(problem.RateLimited, "too many requests with a wrong API key from this address")
	p.RetryAfter = f.wait(left)
	return p
}

// wait returns how long a bucket with so many tokens takes to fill up to one.
func (f *failures) wait(left float64) time.Duration {
	return time.Duration((1 - left) / float64(f.perMinute) * float64(time.Minute))
}

// note counts a failure.
func (f *failures) note(remote string, now time.Time) {
	source, ok := SourceOf(remote)
	if f.perMinute == 0 || !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bucket := f.sources[source]
	if bucket == nil {
		f.makeRoomLocked(now)
		bucket = rate.NewLimiter(rate.Limit(float64(f.perMinute)/60), f.perMinute)
		f.sources[source] = bucket
	}
	bucket.AllowN(now, 1)
	if left := bucket.TokensAt(now); left < 1 {
		f.until.Store(max(f.until.Load(), now.Add(f.wait(left)).UnixNano()))
	}
}

// makeRoomLocked forgets the addresses whose bucket is full again, and random
// ones if there are none.
func (f *failures) makeRoomLocked(now time.Time) {
	if len(f.sources) < maxSources {
		return
	}
	for source, bucket := range f.sources {
		if bucket.TokensAt(now) >= float64(f.perMinute) {
			delete(f.sources, source)
		}
	}
	for source := range f.sources {
		if len(f.sources) < maxSources {
			return
		}
		delete(f.sources, source)
	}
}
