package engine

import "sync"

// stuck ends the waits of callers while the database holds back every write because
// its memtables are full and the disk takes no table. Their events stay under way, and
// may be stored once there is room: the callers get an unknown outcome.
type stuck struct {
	mu   sync.Mutex
	now  *wait // of the present callers, nil for none
	told map[*reply]func(error)
}

// wait ends when ended is closed. cause is set before.
type wait struct {
	ended chan struct{}
	cause error
}

// waits returns the wait of one more caller.
func (s *stuck) waits() *wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = &wait{ended: make(chan struct{})}
	}
	return s.now
}

// enter replaces the call of r.told by one of giveUp, unless r leaves before.
func (s *stuck) enter(r *reply, giveUp func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = make(map[*reply]func(error))
	}
	s.told[r] = giveUp
}

// leave reports whether r was still there.
func (s *stuck) leave(r *reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.told[r]
	delete(s.told, r)
	return ok
}

// end ends all waits.
func (s *stuck) end(cause error) {
	s.mu.Lock()
	told := s.told
	s.told = nil
	if s.now != nil {
		s.now.cause = cause
		close(s.now.ended)
		s.now = nil
	}
	s.mu.Unlock()
	for _, giveUp := range told {
		giveUp(cause)
	}
}

// checkStuck ends the waits if no write can get through.
func (e *Engine) checkStuck() {
	v, err := e.reading()
	if err != nil {
		return
	}
	defer v.release()
	if cause := v.inst.Stuck(); cause != nil {
		e.stuck.end(cause)
	}
}
