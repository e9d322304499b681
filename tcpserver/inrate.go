package tcpserver

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/longwire/longwire/protocol"
)

// ClientMessageRate and ClientByteRate bound the messages and bytes of a device per
// second; burstTime's worth may come at once. Input costs the time that the rates
// allow for it, by messages or by bytes, whichever is more. Acks of deliveries cost
// by their bytes only, because the window bounds their number. The debt is the
// unpaid part of that time. Beyond burstTime the server stops reading until
// throttlePause of the debt is paid; the device's own socket fills up. The server
// closes a device that exceeds the debt throttlePauses times without paying half of
// burstTime in between, or that sends so much at once that a pause would exceed
// maxThrottle.
const (
	throttlePause  = time.Second
	throttlePauses = 30
	maxThrottle    = 30 * time.Second
)

// rateExceeded closes a device that keeps exceeding its rates.
func rateExceeded() protocol.Close {
	return protocol.Close{Code: protocol.CloseRateExceeded, Reason: protocol.ReasonRateExceeded,
		RetryAfter: throttlePause + rand.N(burstTime)}
}

// chargeInputLocked adds the cost of new input to the device's debt. before is the
// time of the input before.
func (c *conn) chargeInputLocked(before, now time.Time, bytes int) {
	messages := c.proto.Unasked()
	cfg := &c.srv.cfg
	cost := max(costAt(cfg.ClientMessageRate, messages), costAt(cfg.ClientByteRate, bytes))
	if cost == 0 && c.debt == 0 {
		return
	}
	debt := max(0, c.debt.time()-now.Sub(before)) + cost
	c.debt = microsOf(debt)
	switch {
	case debt <= burstTime/2:
		c.pauses = 0
	case debt > burstTime:
		c.throttleLocked(now, debt)
	}
}

// throttleLocked pauses reading, or closes the device.
func (c *conn) throttleLocked(now time.Time, debt time.Duration) {
	pause := debt - burstTime + throttlePause
	if c.pauses++; c.pauses > throttlePauses || pause > maxThrottle {
		c.proto.Close(rateExceeded())
		return
	}
	c.srv.stats.throttled.Add(1)
	c.flags |= flagThrottled
	c.quietUntil = c.srv.nanos(now.Add(pause + lateness)) // until then the silence is this server's doing
}

// readsAgainAtLocked returns when a throttled connection is read again, in the
// server's nanoseconds.
func (c *conn) readsAgainAtLocked() int64 {
	return c.srv.nanos(c.proto.LastReceived().Add(c.debt.time() - burstTime + throttlePause))
}

// inputWaitsLocked reports whether reading pauses: the device does not read the
// answers to earlier input, or sends too fast.
func (c *conn) inputWaitsLocked() bool {
	return c.is(flagThrottled) || c.heldLocked() > c.srv.cfg.OutputBudget
}

// endThrottleLocked resumes reading when the pause is over.
func (c *conn) endThrottleLocked(now time.Time) {
	if c.is(flagThrottled) && c.srv.nanos(now) >= c.readsAgainAtLocked() {
		c.flags &^= flagThrottled
	}
}

// costAt returns the time that n events take at a rate per second, 0 if the rate is
// 0, which is no bound.
func costAt(rate, n int) time.Duration {
	if rate <= 0 || n <= 0 {
		return 0
	}
	return time.Duration(min(float64(n)/float64(rate), 1e6) * float64(time.Second))
}

// micros is a time in microseconds, at most 71 minutes. It is rounded up, so that
// small costs add up.
type micros uint32

func microsOf(d time.Duration) micros {
	return micros(min((d+time.Microsecond-1)/time.Microsecond, math.MaxUint32))
}

func (m micros) time() time.Duration { return time.Duration(m) * time.Microsecond }
