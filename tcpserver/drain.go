package tcpserver

import (
	"context"
	"math/rand/v2"
	"time"
)

// DrainOptions sets how devices are handed over.
type DrainOptions struct {
	// RetrySpread is the range of the delay after which devices should come back,
	// random for each: 10 s. Negative: at once.
	RetrySpread time.Duration
	// AckWait bounds how long a device may take to ack deliveries before the server
	// closes it: 2 s.
	AckWait time.Duration
}

// Drain stops accepting, closes every device with the request to reconnect
// elsewhere or later, and returns when all connections are gone. A device with
// unacked deliveries first gets AckWait, but no new deliveries. When ctx ends,
// Drain cuts off the rest and returns ctx's error.
func (s *Server) Drain(ctx context.Context, o DrainOptions) error {
	if o.RetrySpread == 0 {
		o.RetrySpread = 10 * time.Second
	}
	if o.AckWait <= 0 {
		o.AckWait = 2 * time.Second
	}
	s.spread.Store(int64(max(0, o.RetrySpread)))
	s.stopAccepting()
	for _, c := range s.conns() {
		c.drain()
	}
	acks, cancel := context.WithTimeout(ctx, o.AckWait)
	defer cancel()
	if s.emptied(acks) {
		return nil
	}
	for _, c := range s.conns() {
		c.closeWith(s.shutdownClose())
	}
	if s.emptied(ctx) {
		return nil
	}
	s.cancel() // the calls that wait for the store
	for _, c := range s.conns() {
		c.cut(s.shutdownClose())
	}
	<-s.empty
	return ctx.Err()
}

// emptied waits until the last connection is gone. It returns false if ctx ends
// first.
func (s *Server) emptied(ctx context.Context) bool {
	select {
	case <-s.empty:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain closes c as soon as no delivery is in flight.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endingLocked() {
		c.flags |= flagDraining
		c.wantTurn()
	}
}

func randomUpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
