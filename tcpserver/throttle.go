package tcpserver

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/longwire/longwire/protocol"
)

// A device may send ClientMessageRate messages and ClientByteRate bytes per
// second, and burstTime's worth at once. What it sends costs the time that the
// rate allows it, of messages or of bytes, whichever is more; acks of what it
// was sent cost by their bytes only, for the window paces them. The debt is what
// is left of that time. Beyond burstTime nothing is read until throttlePause of
// it is gone: then the device's own socket fills up. Who comes back for more
// throttlePauses times without paying half of it, or has sent so much at once
// that a pause would pass maxThrottle, is closed.
const (
	throttlePause  = time.Second
	throttlePauses = 30
	maxThrottle    = 30 * time.Second
)

// rateExceeded closes a device that goes on sending more than it may.
func rateExceeded() protocol.Close {
	return protocol.Close{Code: protocol.CloseRateExceeded, Reason: protocol.ReasonRateExceeded,
		RetryAfter: throttlePause + rand.N(burstTime)}
}

// charge adds what came now to the device's debt; before is when it was last
// heard. c.mu is held.
func (c *conn) charge(before, now time.Time, bytes int) {
	messages := c.proto.Unasked()
	cfg := &c.srv.cfg
	cost := max(costAt(cfg.ClientMessageRate, messages), costAt(cfg.ClientByteRate, bytes))
	if cost == 0 {
		return
	}
	debt := max(0, c.debt.time()-now.Sub(before)) + cost
	c.debt = microsOf(debt)
	switch {
	case debt <= burstTime/2:
		c.pauses = 0
	case debt > burstTime:
		c.throttle(now, debt)
	}
}

// throttle stops reading for a while, or for good. c.mu is held.
func (c *conn) throttle(now time.Time, debt time.Duration) {
	pause := debt - burstTime + throttlePause
	if c.pauses++; c.pauses > throttlePauses || pause > maxThrottle {
		c.proto.Close(now, rateExceeded())
		return
	}
	c.srv.stats.throttled.Add(1)
	c.flags |= flagThrottled
	c.hold = c.srv.nanos(now.Add(pause + lateness)) // its silence until then is ours
}

// readsAgainAt is when a throttled connection is read again, in the server's
// nanoseconds. c.mu is held.
func (c *conn) readsAgainAt() int64 {
	return c.srv.nanos(c.proto.LastReceived().Add(c.debt.time() - burstTime + throttlePause))
}

// inputWaits reports whether nothing is to be read for now: the device leaves
// the answers to earlier input unread, or sends faster than it may. c.mu is
// held.
func (c *conn) inputWaits() bool {
	return c.is(flagThrottled) || c.held() > c.srv.cfg.OutputBudget
}

// unthrottle goes on reading when it is time. c.mu is held.
func (c *conn) unthrottle(now time.Time) {
	if c.is(flagThrottled) && c.srv.nanos(now) >= c.readsAgainAt() {
		c.flags &^= flagThrottled
	}
}

// costAt is the time that n events take at a rate per second; none where the
// rate is 0, which is no bound.
func costAt(rate, n int) time.Duration {
	if rate <= 0 || n <= 0 {
		return 0
	}
	return time.Duration(min(float64(n)/float64(rate), 1e6) * float64(time.Second))
}

// micros is a time in microseconds, rounded up, so that small costs add up, and
// at most 71 minutes.
type micros uint32

func microsOf(d time.Duration) micros {
	return micros(min((d+time.Microsecond-1)/time.Microsecond, math.MaxUint32))
}

func (m micros) time() time.Duration { return time.Duration(m) * time.Microsecond }
