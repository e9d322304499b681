package tcpserver

import (
	"context"
	"math/rand/v2"
	"time"
)

// DrainOptions says how connections are handed over.
type DrainOptions struct {
	// RetrySpread is the time over which devices are told to come back, each
	// at its own random moment: 10 s. Negative: at once.
	RetrySpread time.Duration
	// AckWait bounds how long a device may take to ack what it was sent
	// before it is told to go: 2 s.
	AckWait time.Duration
}

// Drain stops accepting, tells every device to reconnect elsewhere or later,
// and returns when all connections are gone. A device that has unacked
// deliveries is given AckWait first; nothing new is sent to it. When ctx ends,
// what is left is cut off, and the error is that of ctx.
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
		c.closeWith(s.farewell())
	}
	if s.emptied(ctx) {
		return nil
	}
	for _, c := range s.conns() {
		c.cut(s.farewell())
	}
	<-s.empty
	return ctx.Err()
}

// emptied waits until the last connection is gone; false when ctx ends before.
func (s *Server) emptied(ctx context.Context) bool {
	select {
	case <-s.empty:
		return true
	case <-ctx.Done():
		return false
	}
}

// drain closes c as soon as nothing is in flight.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending() {
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
