package tcpserver

import (
	"context"
	"time"
)

// storeCalls is a context that calls to the store share: a context for each
// would be a timer and six allocations.
type storeCalls struct {
	context.Context
	cancel context.CancelFunc // of no use but to the parent, which ends it
	until  time.Time          // for calls that begin before
}

// callsPerTimeout is how many contexts are alive at most. A call has up to one
// part in so many more than StoreTimeout.
const callsPerTimeout = 16

// callContext returns the context of a call to the store that begins now.
func (s *Server) callContext() context.Context {
	now := time.Now()
	calls := s.calls.Load()
	if calls == nil || !now.Before(calls.until) {
		calls = &storeCalls{until: now.Add(s.cfg.StoreTimeout / callsPerTimeout)}
		calls.Context, calls.cancel = context.WithDeadline(s.ctx, calls.until.Add(s.cfg.StoreTimeout))
		s.calls.Store(calls)
	}
	return calls.Context
}
