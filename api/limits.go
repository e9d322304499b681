package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
)

// load counts the requests under way.
type load struct {
	requests        atomic.Int64
	unauthenticated atomic.Int64 // see countUnauthenticated
}

// admit counts a request until release. It fails when Config.MaxRequests are under
// way: no request waits for room.
func (s *server) admit(x *exchange) error {
	if s.load.requests.Add(1) > int64(s.cfg.MaxRequests) {
		s.load.requests.Add(-1)
		return problem.New(problem.Overloaded, "%d requests are under way, which is the most this server takes", s.cfg.MaxRequests)
	}
	x.admitted = true
	return nil
}

// release ends the count of an admitted request when it is answered, and gives the
// memory of its body back.
func (s *server) release(x *exchange) {
	if !x.admitted {
		return
	}
	x.admitted = false
	s.bodies.give(x.principal, x.bodySize)
	x.bodySize = 0
	if s.load.requests.Add(-1) > 0 || !s.drain.is() {
		return
	}
	select {
	case s.drain.answered <- struct{}{}:
	default:
	}
}

// callers has the request rate and the streams of each key. An open API has one
// caller.
type callers struct {
	rate  rate.Limit // requests per second; 0 = no bound
	burst int
	mu    sync.Mutex
	byKey map[string]*caller // at most maxCallers
}

type caller struct {
	bucket  *rate.Limiter
	streams int
}

// maxCallers is the number of callers at which idle ones are forgotten.
const maxCallers = 2 * apikey.MaxKeys

// of returns a caller. c.mu is held.
func (c *callers) of(id string) *caller {
	if known := c.byKey[id]; known != nil {
		return known
	}
	if len(c.byKey) >= maxCallers {
		c.forget()
	}
	fresh := &caller{bucket: rate.NewLimiter(c.rate, c.burst)}
	c.byKey[id] = fresh
	return fresh
}

// forget drops callers that have no stream and a full bucket: a new caller is the
// same. c.mu is held.
func (c *callers) forget() {
	for id, known := range c.byKey {
		if known.streams == 0 && known.bucket.Tokens() >= float64(c.burst) {
			delete(c.byKey, id)
		}
	}
}

// spend takes one request off a key's rate and sets the header to the requests that
// remain (draft-ietf-httpapi-ratelimit-headers-10).
func (c *callers) spend(h http.Header, id string, now time.Time) error {
	if c.rate <= 0 {
		return nil
	}
	c.mu.Lock()
	bucket := c.of(id).bucket
	c.mu.Unlock()
	ok := bucket.AllowN(now, 1)
	left := max(bucket.TokensAt(now), 0)
	refill := int(math.Ceil((float64(c.burst) - left) / float64(c.rate)))
	h["Ratelimit-Policy"] = []string{fmt.Sprintf(`"key";q=%d;w=%d`, c.burst, int(math.Ceil(float64(c.burst)/float64(c.rate))))}
	h["Ratelimit"] = []string{fmt.Sprintf(`"key";r=%d;t=%d`, int(left), refill)}
	if ok {
		return nil
	}
	p := problem.New(problem.RateLimited, "the API key may send %v requests a second", float64(c.rate))
	p.RetryAfter = time.Duration((1 - left) / float64(c.rate) * float64(time.Second))
	return p
}

// pace waits until a key may send one more line of a bulk request, which counts
// like a request. hurry is called before a wait.
func (c *callers) pace(ctx context.Context, id string, now time.Time, hurry func()) error {
	if c.rate <= 0 {
		return nil
	}
	c.mu.Lock()
	bucket := c.of(id).bucket
	c.mu.Unlock()
	if bucket.AllowN(now, 1) {
		return nil
	}
	hurry()
	return bucket.Wait(ctx)
}

// enter counts an event stream of a key; false when it has max of them.
func (c *callers) enter(id string, max int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.of(id)
	if known.streams >= max {
		return false
	}
	known.streams++
	return true
}

func (c *callers) exit(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byKey[id].streams--
}

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

// sourceOf returns an IPv4 address, or the /64 that one IPv6 host uses. ok is false
// for loopback and for an address that cannot be read: neither is counted.
func sourceOf(remote string) (source netip.Prefix, ok bool) {
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
	source, ok := sourceOf(remote)
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
	source, ok := sourceOf(remote)
	if f.perMinute == 0 || !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	bucket := f.sources[source]
	if bucket == nil {
		f.makeRoom(now)
		bucket = rate.NewLimiter(rate.Limit(float64(f.perMinute)/60), f.perMinute)
		f.sources[source] = bucket
	}
	bucket.AllowN(now, 1)
	if left := bucket.TokensAt(now); left < 1 {
		f.until.Store(max(f.until.Load(), now.Add(f.wait(left)).UnixNano()))
	}
}

// makeRoom forgets the addresses whose bucket is full again, and random ones if there
// are none. f.mu is held.
func (f *failures) makeRoom(now time.Time) {
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
