package app

import (
	"sync"
	"time"

	"github.com/longwire/longwire/internal/metrics"
)

// bigJump is the least difference between the wall clock and the monotonic clock,
// from one look to the next, that counts as a jump. A smaller one is a correction;
// a larger one expires, keeps or forgets the wrong messages.
const bigJump = time.Hour

// clockWatch finds jumps of the wall clock: an operator set it, or the machine was
// suspended while its monotonic clock stood still. Any goroutine may call its
// methods.
type clockWatch struct {
	mu                  sync.Mutex
	last                time.Time // the look before; zero at the first
	forwards, backwards uint64    // numbers of jumps
	lastJump            clockJump
}

// clockJump is one jump, as GET /stats of the admin socket shows it.
type clockJump struct {
	At      time.Time `json:"at"`         // by the clock after the jump
	Seconds float64   `json:"by_seconds"` // negative = backwards
}

// look compares the two readings of now with those of the look before. It returns
// the size of a jump, 0 for none.
func (w *clockWatch) look(now time.Time) (by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.last
	w.last = now
	if last.IsZero() {
		return 0
	}
	by = (now.Round(0).Sub(last.Round(0)) - now.Sub(last)).Round(time.Millisecond) // rounded because the two readings are not of the same instant
	switch {
	case by > bigJump:
		w.forwards++
	case by < -bigJump:
		w.backwards++
	default:
		return 0
	}
	w.lastJump = clockJump{now.UTC().Round(0), by.Seconds()}
	return by
}

// watchClock looks once and logs a jump.
func (a *App) watchClock() {
	now := a.now()
	if by := a.jumps.look(now); by != 0 {
		a.log.Warn("the wall clock has jumped: expiry, retention and displayed times follow it",
			"by", by, "clock", now.Round(0))
	}
}

func (a *App) clockStats() metrics.ClockStats {
	w := &a.jumps
	w.mu.Lock()
	defer w.mu.Unlock()
	return metrics.ClockStats{Forwards: w.forwards, Backwards: w.backwards}
}

// clockReport is the part of GET /stats of the admin socket about the clock.
type clockReport struct {
	Jumps    uint64     `json:"jumps"` // jumps of more than an hour since the start
	LastJump *clockJump `json:"last_jump,omitempty"`
}

func (w *clockWatch) report() clockReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := clockReport{Jumps: w.forwards + w.backwards}
	if r.Jumps > 0 {
		j := w.lastJump
		r.LastJump = &j
	}
	return r
}
