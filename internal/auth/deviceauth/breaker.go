package deviceauth

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Bounds of the breaker.
const (
	breakerFailures = 5 // in a row
	firstPause      = 2 * time.Second
	maxPause        = time.Minute
)

// breaker keeps calls from a service that fails: after breakerFailures in a row
// nobody calls for a pause, then one does; when that fails too the next pause is
// twice as long, jittered.
type breaker struct {
	mu       sync.Mutex
	failures int
	pause    time.Duration // 0 = closed
	until    time.Time     // no call before, while there is a pause
	probing  bool          // the one call after a pause is under way
}

// States for metrics.
const (
	breakerIsClosed = iota
	breakerIsHalfOpen
	breakerIsOpen
)

type breakerChange uint8

const (
	breakerSame breakerChange = iota
	breakerOpened
	breakerClosed
)

// allows reports whether a call may be made; saw or withdrew must follow.
func (b *breaker) allows(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return true
	case b.probing || now.Before(b.until):
		return false
	}
	b.probing = true
	return true
}

// withdrew says that a call that was allowed was not made.
func (b *breaker) withdrew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// saw notes how a call went.
func (b *breaker) saw(ok bool, now time.Time) breakerChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	wasOpen := b.pause > 0
	switch {
	case ok:
		b.failures, b.pause, b.probing = 0, 0, false
		if wasOpen {
			return breakerClosed
		}
	case wasOpen && b.probing:
		b.probing = false
		b.rest(min(2*b.pause, maxPause), now)
	case !wasOpen:
		if b.failures++; b.failures >= breakerFailures {
			b.rest(firstPause, now)
			return breakerOpened
		}
	}
	return breakerSame
}

// rest opens the breaker for about d.
func (b *breaker) rest(d time.Duration, now time.Time) {
	b.pause = d
	b.until = now.Add(d/2 + rand.N(d/2))
}

func (b *breaker) state(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return breakerIsClosed
	case now.Before(b.until):
		return breakerIsOpen
	}
	return breakerIsHalfOpen
}
