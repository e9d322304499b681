package tcpserver

import (
	"context"
	"time"
)

// storeCalls is a context that concurrent calls to the store share: one per call
// would be a timer and six allocations each.
type storeCalls struct {
	context.Context
	cancel context.CancelFunc // required by vet; the server's cancel ends it
	until  time.Time          // calls that begin earlier may use it
}

// callsPerTimeout is the number of parts of StoreTimeout, each with its own
// context. A call may take up to one part longer than StoreTimeout.
const callsPerTimeout = 16

// callContext returns the context for a call to the store that begins now.
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
