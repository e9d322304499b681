package tcpserver

import (
	"errors"
	"io"
	"time"
)

// takeLocked gives the session input.
func (c *conn) takeLocked(p []byte, now time.Time) {
	c.quietUntil = 0
	c.bytesIn += uint64(len(p))
	c.srv.stats.bytesIn.Add(uint64(len(p)))
	before := c.proto.LastReceived()
	c.proto.Receive(now, p)
	c.countInputLocked()
	c.chargeInputLocked(before, now, len(p))
	if n := c.proto.TooSoon(); n > 0 {
		c.srv.stats.staleAcks.addSome(staleTooSoon, n)
	}
}

// takeInputLocked moves one read into the session. It reports whether there was
// one.
func (c *conn) takeInputLocked(now time.Time) bool {
	if c.endThrottleLocked(now); c.inputWaitsLocked() {
		return false
	}
	in := c.tr.read()
	if in == nil {
		return false
	}
	defer in.release()
	if in.n > 0 {
		c.takeLocked(in.bytes(), now)
	}
	switch {
	case in.err == nil:
	case errors.Is(in.err, io.EOF):
		c.proto.EOF() // all earlier input is handled, and its answers still leave (SPEC §7)
	case errors.Is(in.err, io.ErrUnexpectedEOF): // of a TLS stream without a close_notify
		c.proto.EOF()
		c.lostLocked()
	default:
		c.lostLocked()
	}
	return true
}

// discardInputLocked drops input that arrives after the end.
func (c *conn) discardInputLocked() {
	for c.cause == causeNone {
		in := c.tr.read()
		if in == nil {
			return
		}
		*c.discarded() += int64(in.n)
		if in.err != nil && (c.out == nil || !errors.Is(in.err, io.EOF)) || *c.discarded() > lingerBytes {
			c.failLocked(causePeerGone)
		}
		in.release()
	}
}
