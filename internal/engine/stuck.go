package engine

import (
	"sync"
)

// stuck ends the waits of callers while the database holds back every write because
// its memtables are full and the disk takes no table. Their events stay under way, and
// may be stored once there is room: the callers get an unknown outcome.
type stuck struct {
	mu    sync.Mutex
	ended chan struct{} // closed for those that wait now; nil until there is one
	cause error         // why; set before ended is closed
	told  map[*reply]func(error)
}

// waits returns a channel that is closed when waiting is over.
func (s *stuck) waits() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = make(chan struct{})
	}
	return s.ended
}

func (s *stuck) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
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
	s.cause, s.told = cause, nil
	if s.ended != nil {
		close(s.ended)
		s.ended = nil
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
