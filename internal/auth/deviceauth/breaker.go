package deviceauth

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Bounds of the breaker.
const (
	breakerFailures = 5 // failed calls in a row that open the breaker
	firstPause      = 2 * time.Second
	maxPause        = time.Minute
)

// breaker protects a failing service from calls. After breakerFailures in a row it
// allows no call for a pause, then one. If that call fails too, the next pause is
// twice as long. Pauses have jitter.
type breaker struct {
	mu       sync.Mutex
	failures int
	pause    time.Duration // 0 = closed
	until    time.Time     // the end of the pause
	probes   probe         // the number of the last one
	probing  probe         // the one under way, 0 = none
}

// probe is the number of the one call after a pause; 0 = a call while the breaker was
// closed. Such a call may end after the breaker has opened, and is then no probe.
type probe uint64

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

// allow reports whether a call may be made. The caller must then call finish or
// cancel.
func (b *breaker) allow(now time.Time) (p probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return 0, true
	case b.probing != 0 || now.Before(b.until):
		return 0, false
	}
	b.probes++
	b.probing = b.probes
	return b.probing, true
}

// cancel notes that an allowed call was not made.
func (b *breaker) cancel(p probe) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probing == p {
		b.probing = 0
	}
}

// finish notes whether an allowed call succeeded.
func (b *breaker) finish(p probe, ok bool, now time.Time) breakerChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	wasOpen := b.pause > 0
	switch {
	case ok:
		b.failures, b.pause, b.probing = 0, 0, 0
		if wasOpen {
			return breakerClosed
		}
	case wasOpen && p != 0 && b.probing == p:
		b.probing = 0
		b.open(min(2*b.pause, maxPause), now)
	case !wasOpen:
		if b.failures++; b.failures >= breakerFailures {
			b.open(firstPause, now)
			return breakerOpened
		}
	}
	return breakerSame
}

// open opens the breaker for about d.
func (b *breaker) open(d time.Duration, now time.Time) {
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
