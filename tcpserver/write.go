package tcpserver

import (
	"time"

	"github.com/longwire/longwire/protocol"
)

var slowConsumer = protocol.Close{Code: protocol.CloseSlowConsumer, Reason: protocol.ReasonSlowConsumer}

// flush writes what was left over and what the session has to say, as far as
// the socket takes it at once; the transport finishes the rest. c.mu is held.
func (c *conn) flush(now time.Time) {
	c.write(now)
	c.keepsOutput()
}

// write is flush without keepsOutput. c.mu is held.
func (c *conn) write(now time.Time) {
	for c.life != dead && c.cause == causeNone && c.tr.mayWrite() {
		o := c.nextOutput()
		if o == nil {
			return
		}
		n, err := c.tr.write(o)
		c.wrote(o, n, now)
		switch {
		case err != nil:
			c.dropOutput()
			c.lost(now)
		case len(o.left()) > 0:
			c.tr.finish(o, now)
		default:
			c.dropOutput()
		}
	}
}

// nextOutput is what is to be written next, nil for nothing. It is c.out until
// dropOutput. c.mu is held.
func (c *conn) nextOutput() *outbound {
	if c.out == nil && c.proto.Pending() > 0 {
		c.out = takeOutbound()
		c.out.buf = c.proto.AppendOutput(c.out.buf[:0])
	}
	return c.out
}

func (c *conn) dropOutput() {
	c.out.release()
	c.out = nil
}

// wrote notes that the socket took n bytes of o. c.mu is held.
func (c *conn) wrote(o *outbound, n int, now time.Time) {
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

// lost ends the connection after an error of the socket or the end of the
// stream. c.mu is held.
func (c *conn) lost(now time.Time) {
	if c.cause == causeNone {
		c.proto.EOF(now)
	}
	c.fail(causePeerGone)
}

// tooSlow ends the connection of a device that has taken nothing for
// WriteTimeout. c.mu is held.
func (c *conn) tooSlow(now time.Time) {
	if c.cause != causeNone {
		return
	}
	c.srv.stats.slowConsumers.Add(1)
	c.proto.Close(now, slowConsumer)
	c.fail(causeSlow)
}
