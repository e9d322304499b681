package app

import (
	"sync"
	"time"

	"github.com/longwire/longwire/internal/metrics"
)

// bigJump is how far the wall clock must go from the monotonic one between two
// looks to be noticed. Less is a correction; more expires, keeps or forgets what
// it should not.
const bigJump = time.Hour

// clockWatch finds jumps of the wall clock: it was set, or the machine was
// suspended while its monotonic clock stood still. All methods may be called from
// any goroutine.
type clockWatch struct {
	mu                  sync.Mutex
	last                time.Time // the look before; zero before the first
	forwards, backwards uint64    // jumps
	lastJump            clockJump
}

// clockJump is one jump, as GET /stats of the admin socket shows it.
type clockJump struct {
	At      time.Time `json:"at"`         // by the clock after it
	Seconds float64   `json:"by_seconds"` // negative = backwards
}

// look compares how far the two readings of now are from those of the look
// before. It returns the size of a jump, 0 for none.
func (w *clockWatch) look(now time.Time) (by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.last
	w.last = now
	if last.IsZero() {
		return 0
	}
	by = (now.Round(0).Sub(last.Round(0)) - now.Sub(last)).Round(time.Millisecond) // the readings are not taken at one instant
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
		a.log.Warn("the wall clock has jumped: what expires, is forgotten or is shown as a time follows it",
			"by", by, "clock", now.Round(0))
	}
}

func (a *App) clockStats() metrics.ClockStats {
	w := &a.jumps
	w.mu.Lock()
	defer w.mu.Unlock()
	return metrics.ClockStats{Forwards: w.forwards, Backwards: w.backwards}
}

// clockReport is what GET /stats of the admin socket says of the clock.
type clockReport struct {
	Jumps    uint64     `json:"jumps"` // of more than an hour, since the start
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
