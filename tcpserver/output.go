package tcpserver

import (
	"time"

	"github.com/longwire/longwire/protocol"
)

var slowConsumer = protocol.Close{Code: protocol.CloseSlowConsumer, Reason: protocol.ReasonSlowConsumer}

// flushLocked writes pending output as far as the socket takes it at once: first
// the remaining bytes, then the session's output. The transport writes the rest
// later.
func (c *conn) flushLocked(now time.Time) {
	c.writeLocked(now)
	c.countOutputLocked()
}

// writeLocked is flushLocked without counting the remaining output.
func (c *conn) writeLocked(now time.Time) {
	for c.life != dead && c.cause == causeNone && c.tr.mayWrite() {
		o := c.nextOutputLocked(now)
		if o == nil {
			return
		}
		n, err := c.tr.write(o)
		c.wroteLocked(o, n, now)
		switch {
		case err != nil:
			c.dropOutputLocked()
			c.lostLocked()
		case len(o.left()) > 0:
			c.tr.finish(o, now)
		default:
			c.dropOutputLocked()
		}
	}
}

// nextOutputLocked returns the output to write next, nil for none. It stays in
// c.out until dropOutputLocked.
func (c *conn) nextOutputLocked(now time.Time) *outbound {
	if c.out == nil && c.proto.Pending() > 0 {
		c.out = takeOutbound()
		c.out.buf = c.proto.AppendOutputAt(now, c.out.buf[:0])
	}
	return c.out
}

func (c *conn) dropOutputLocked() {
	c.out.release()
	c.out = nil
}

// wroteLocked notes that the socket took n bytes of o.
func (c *conn) wroteLocked(o *outbound, n int, now time.Time) {
	if n <= 0 {
		return
	}
	o.done += n
	c.lastOut = c.srv.nanos(now)
	if o.stalledAt != 0 {
		o.stalledAt = c.lastOut + int64(c.srv.cfg.WriteTimeout)
	}
	c.bytesOut += uint64(n)
	c.srv.stats.bytesOut.Add(uint64(n))
	if c.cause != causePanic {
		c.proto.Flushed(now, n)
	}
}

// lostLocked ends the connection after an error of the socket.
func (c *conn) lostLocked() {
	if c.cause == causeNone {
		c.proto.Lost()
	}
	c.failLocked(causePeerGone)
}

// tooSlowLocked ends the connection of a device that has read no output for
// WriteTimeout.
func (c *conn) tooSlowLocked() {
	if c.cause != causeNone {
		return
	}
	c.srv.stats.slowConsumers.Add(1)
	c.proto.Close(slowConsumer)
	c.failLocked(causeSlow)
}
