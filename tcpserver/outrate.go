package tcpserver

import "time"

// DeliveryRate and DeliveryByteRate bound the deliveries and payload bytes to a
// device per second; burstTime's worth may leave at once. A delivery costs the time
// that the rates allow for it, by messages or by bytes, whichever is more. When
// burstTime is unpaid the link refuses deliveries: durable ones stay in the store,
// in order, and online ones wait in their session. When paceStep of it is paid, the
// device's timer requests more. Heartbeats, acks and closes cost nothing and do not
// wait.
const paceStep = 100 * time.Millisecond

// pacedLocked reports whether deliveries must wait. If so, the gateway gets
// Writable when they need not wait any more.
func (c *conn) pacedLocked(now time.Time) bool {
	if c.paceUntil-c.srv.nanos(now) < int64(burstTime) {
		return false
	}
	if !c.is(flagPaced) {
		c.flags |= flagPaced
		c.srv.stats.paced.Add(1)
	}
	c.rearmLocked()
	return true
}

// chargeDeliveryLocked adds the cost of a delivery.
func (c *conn) chargeDeliveryLocked(now time.Time, bytes int) {
	cfg := &c.srv.cfg
	if cost := max(costAt(cfg.DeliveryRate, 1), costAt(cfg.DeliveryByteRate, bytes)); cost > 0 {
		c.paceUntil = max(c.paceUntil, c.srv.nanos(now)) + int64(cost)
	}
}

// deliversAgainAtLocked returns when a paced connection requests more, in the
// server's nanoseconds.
func (c *conn) deliversAgainAtLocked() int64 { return c.paceUntil - int64(burstTime-paceStep) }

// paceEndedLocked reports, once, that deliveries need not wait any more.
func (c *conn) paceEndedLocked(now time.Time) bool {
	if !c.is(flagPaced) || c.srv.nanos(now) < c.deliversAgainAtLocked() {
		return false
	}
	c.flags &^= flagPaced
	return true
}
