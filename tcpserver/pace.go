package tcpserver

import "time"

// A device is sent DeliveryRate deliveries and DeliveryByteRate bytes of
// payloads per second at most, and burstTime's worth at once. A delivery costs
// the time that the rates allow it, of messages or of bytes, whichever is more.
// When burstTime of that is unpaid nothing more is taken: what is durable stays
// in the store, in its order, and what is online waits in its session, until
// paceStep of it is paid; then the device's timer asks for more. All else that a
// device is sent, heartbeats, acks and last words, costs nothing and does not
// wait.
const paceStep = 100 * time.Millisecond

// paced reports whether deliveries have to wait, and sees to it that the gateway
// hears when they need not any longer. c.mu is held.
func (c *conn) paced(now time.Time) bool {
	if c.paid-c.srv.nanos(now) < int64(burstTime) {
		return false
	}
	if !c.is(flagPaced) {
		c.flags |= flagPaced
		c.srv.stats.paced.Add(1)
	}
	c.rearm()
	return true
}

// pay notes a delivery. c.mu is held.
func (c *conn) pay(now time.Time, bytes int) {
	cfg := &c.srv.cfg
	if cost := max(costAt(cfg.DeliveryRate, 1), costAt(cfg.DeliveryByteRate, bytes)); cost > 0 {
		c.paid = max(c.paid, c.srv.nanos(now)) + int64(cost)
	}
}

// deliversAgainAt is when a paced connection is asked for more, in the server's
// nanoseconds. c.mu is held.
func (c *conn) deliversAgainAt() int64 { return c.paid - int64(burstTime-paceStep) }

// unpaced reports, once, that deliveries need not wait any longer. c.mu is held.
func (c *conn) unpaced(now time.Time) bool {
	if !c.is(flagPaced) || c.srv.nanos(now) < c.deliversAgainAt() {
		return false
	}
	c.flags &^= flagPaced
	return true
}
