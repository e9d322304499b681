package tcpserver

import (
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

var _ gateway.Link = (*conn)(nil)

// Deliver implements gateway.Link. Flush writes the frame, so that a batch of
// deliveries needs one write.
func (c *conn) Deliver(p gateway.Transmission) (err error) {
	err = gateway.ErrLinkClosed // the result after a panic
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if p.Ask {
		p.Payload = nil
	}
	switch held := c.heldLocked(); {
	case c.endingLocked():
		return err
	case c.is(flagDraining), c.pacedLocked(now):
		return gateway.ErrLinkBusy
	case held > 0 && held+len(p.Payload) > c.srv.cfg.OutputBudget:
		c.flags |= flagWantWritable
		return gateway.ErrLinkBusy
	}
	if err = linkError(c.sendLocked(now, p)); err == nil {
		c.chargeDeliveryLocked(now, len(p.Payload))
	}
	return err
}

// sendLocked puts p into the session.
func (c *conn) sendLocked(now time.Time, p gateway.Transmission) error {
	if p.Ask {
		return c.proto.Ask(now, uint64(p.Seq))
	}
	return c.proto.Send(now, protocol.Data{
		Seq: uint64(p.Seq), Payload: p.Payload, Dup: p.Dup, Ephemeral: p.Ephemeral,
	})
}

// Flush implements gateway.Link. It runs a turn on the caller's goroutine. If
// another goroutine has the turn, that one looks again.
func (c *conn) Flush() {
	if c.turn.CompareAndSwap(turnIdle, turnRunning) {
		c.drive(onWorker)
		return
	}
	c.wantTurn()
}

// linkError translates an error of protocol.Session.Send.
func linkError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, protocol.ErrWindowFull):
		return gateway.ErrWindowFull
	case errors.Is(err, protocol.ErrBusy), errors.Is(err, protocol.ErrNotRegistered):
		return gateway.ErrLinkBusy // KindWritable follows when it is writable, Start after a registration
	case errors.Is(err, protocol.ErrTooLarge):
		return gateway.ErrTooLarge
	}
	return gateway.ErrLinkClosed
}

// endingLocked reports whether the connection accepts no more calls.
func (c *conn) endingLocked() bool {
	return c.life != open || c.cause != causeNone || c.is(flagEnded)
}

// Forget implements gateway.Link.
func (c *conn) Forget(seq gateway.Seq, ephemeral bool) (unsent bool) {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endingLocked() {
		unsent = c.proto.Forget(time.Now(), uint64(seq), ephemeral)
		c.wantTurn()
	}
	return unsent
}

// Close implements gateway.Link.
func (c *conn) Close(why gateway.Close) {
	c.closeWith(protocol.Close{Code: protocol.CloseCode(why.Code), Reason: why.Reason,
		RetryAfter: why.RetryAfter, Text: why.Text})
}

func (c *conn) closeWith(why protocol.Close) {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endingLocked() {
		c.proto.Close(why)
		c.wantTurn()
	}
}

// cut ends the connection without waiting for the device.
func (c *conn) cut(why protocol.Close) {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endingLocked() {
		now := time.Now()
		c.proto.Close(why)
		c.flushLocked(now)
	}
	c.failLocked(causePeerGone)
}

// Probe implements gateway.Link.
func (c *conn) Probe() (asked bool) {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endingLocked() {
		return false
	}
	asked = c.proto.Probe(time.Now())
	c.wantTurn()
	return asked
}

// Stats implements gateway.Link.
func (c *conn) Stats() gateway.LinkStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := gateway.LinkStats{
		RemoteAddr: c.remote.AddrPort(),
		Dialect:    c.proto.Dialect().String(),
		Transport:  "tcp",
		LastSeen:   c.proto.LastReceived(),
		RTT:        c.proto.RTT(),
		Confirmed:  c.proto.Confirmed(),
		BytesIn:    c.bytesIn, BytesOut: c.bytesOut,
		MessagesIn: c.messagesIn, MessagesOut: c.messagesOut,
		Paced: c.is(flagPaced),
	}
	if c.out != nil && len(c.out.left()) > 0 { // without, the dialect pauses
		s.Unwritten = c.heldLocked()
	}
	if isTLS(c.tr.netConn()) {
		s.Transport = "tls"
	}
	return s
}

// MaxPayload implements gateway.Link.
func (c *conn) MaxPayload() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proto.MaxPayload()
}

// Window implements gateway.Link.
func (c *conn) Window() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proto.Window()
}
