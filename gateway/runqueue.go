package gateway

import "sync"

// runQueue hands sessions that have something to send to the workers. A
// session stands in it at most once, so it is bounded by the sessions; it is
// linked through them and costs no memory of its own.
type runQueue struct {
	mu         sync.Mutex
	nonEmpty   sync.Cond
	head, tail *Session
	closed     bool
}

func newRunQueue() *runQueue {
	q := &runQueue{}
	q.nonEmpty.L = &q.mu
	return q
}

func (q *runQueue) push(s *Session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.nextRun = s
	}
	q.tail = s
	q.nonEmpty.Signal()
}

// pop waits for a session; nil when the queue is closed.
func (q *runQueue) pop() *Session {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == nil && !q.closed {
		q.nonEmpty.Wait()
	}
	if q.closed {
		return nil
	}
	s := q.head
	q.head, s.nextRun = s.nextRun, nil
	if q.head == nil {
		q.tail = nil
	}
	return s
}

// close makes every worker return; what is queued stays in the store.
func (q *runQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.nonEmpty.Broadcast()
}

// work runs sessions until the queue is closed.
func (q *runQueue) work() {
	for s := q.pop(); s != nil; s = q.pop() {
		s.run.Store(running)
		s.runPump()
	}
}

// Run states of a session: at most one goroutine pumps it at a time, and a
// wake-up during a run makes it run again.
const (
	idle int32 = iota
	queued
	running
	again
)

// wake makes a worker pump the session soon.
func (s *Session) wake() {
	for {
		switch s.run.Load() {
		case idle:
			if s.run.CompareAndSwap(idle, queued) {
				s.g.runs.push(s)
				return
			}
		case running:
			if s.run.CompareAndSwap(running, again) {
				return
			}
		default:
			return
		}
	}
}

// wakeHere pumps the session on the calling goroutine when nobody else does:
// it saves a switch where the caller's stack is deep already and it may read
// the store. Else it is wake.
func (s *Session) wakeHere() {
	if s.run.CompareAndSwap(idle, running) {
		s.runPump()
		return
	}
	s.wake()
}

// runPump pumps in state running, and leaves idle or queued.
func (s *Session) runPump() {
	s.pump()
	if s.unflushed {
		s.unflushed = false
		s.link.Flush()
	}
	if s.run.CompareAndSwap(running, idle) {
		return
	}
	s.run.Store(queued)
	s.g.runs.push(s)
}
