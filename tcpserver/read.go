package tcpserver

import (
	"errors"
	"io"
	"time"
)

// receive gives the session its first input, which was read before the
// connection has started.
func (c *conn) receive(p []byte, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(p, now)
}

func (c *conn) take(p []byte, now time.Time) {
	c.hold = 0
	c.bytesIn += uint64(len(p))
	c.srv.stats.bytesIn.Add(uint64(len(p)))
	before := c.proto.LastReceived()
	c.proto.Receive(now, p)
	c.keepsInput()
	c.charge(before, now, len(p))
	if n := c.proto.TooSoon(); n > 0 {
		c.srv.stats.staleAcks.addSome(staleTooSoon, n)
	}
}

// takeInput moves one read into the session; it reports whether there was one.
// c.mu is held.
func (c *conn) takeInput(now time.Time) bool {
	if c.unthrottle(now); c.inputWaits() {
		return false
	}
	in := c.tr.read()
	if in == nil {
		return false
	}
	defer in.release()
	if in.n > 0 {
		c.take(in.bytes(), now)
	}
	switch {
	case in.err == nil:
	case errors.Is(in.err, io.EOF):
		c.proto.EOF(now) // all that came before is handled, and its answers still leave (SPEC §7)
	default:
		c.lost(now)
	}
	return true
}

// discardInput drops what a device still says after the end. c.mu is held.
func (c *conn) discardInput() {
	for c.cause == causeNone {
		in := c.tr.read()
		if in == nil {
			return
		}
		c.paid += int64(in.n)
		if in.err != nil && (c.out == nil || !errors.Is(in.err, io.EOF)) || c.paid > lingerBytes {
			c.fail(causePeerGone)
		}
		in.release()
	}
}
