package gateway

import (
	"runtime"
	"sync"
)

// runQueue hands the workers what there is to do, in two priorities: sessions
// that have something to send, and broadcasts, which wake one session after
// the other. A session goes ahead of any number of broadcasts; a broadcast
// still gets its turn after broadcastEvery sessions.
//
// A session stands in the queue at most once, so it is bounded by the
// sessions; it is linked through them and costs no memory of its own.
// Broadcasts are bounded by maxBroadcasts.
type runQueue struct {
	mu         sync.Mutex
	nonEmpty   sync.Cond
	head, tail *Session
	inRow      int // sessions since the last broadcast's turn
	closed     bool

	broadcasts []*broadcast // with a turn to come, the next one first
	turns      int          // broadcasts' turns that workers are at
	maxTurns   int          // so that single deliveries find a free core
	kept       int          // broadcasts here or parked until their pace allows more
}

const (
	broadcastEvery = 8
	// maxBroadcasts bounds those that have not woken all their recipients. When
	// there are more, the caller of Push wakes them itself.
	maxBroadcasts = 1024
)

func newRunQueue() *runQueue {
	q := &runQueue{maxTurns: max(1, runtime.GOMAXPROCS(0)/2)}
	q.nonEmpty.L = &q.mu
	return q
}

func (q *runQueue) push(s *Session) {
	q.mu.Lock()
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.nextRun = s
	}
	q.tail = s
	q.mu.Unlock()
	q.nonEmpty.Signal()
}

// pop waits for work: a session, or a broadcast that must be given back with
// endTurn. Both are nil when the queue is closed.
func (q *runQueue) pop() (*Session, *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		s, b := q.next()
		if s != nil || b != nil {
			if q.head != nil || q.mayTurn() {
				q.nonEmpty.Signal() // for what is left
			}
			return s, b
		}
		q.nonEmpty.Wait()
	}
	return nil, nil
}

// next takes what goes first; both are nil when there is nothing to do. q.mu is
// held.
func (q *runQueue) next() (*Session, *broadcast) {
	turn := q.mayTurn()
	switch {
	case q.head != nil && !(turn && q.inRow >= broadcastEvery):
		q.inRow++
		return q.popSession(), nil
	case turn:
		q.inRow = 0
		q.turns++
		return nil, q.popBroadcast()
	}
	return nil, nil
}

// mayTurn reports whether a broadcast may get a turn. q.mu is held.
func (q *runQueue) mayTurn() bool { return len(q.broadcasts) > 0 && q.turns < q.maxTurns }

func (q *runQueue) popSession() *Session {
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

// work does what there is to do until the queue is closed.
func (q *runQueue) work() {
	for {
		s, b := q.pop()
		switch {
		case s != nil:
			s.run.Store(running)
			if s.runPump() {
				s.link.Flush()
			}
		case b != nil:
			q.endTurn(b, b.wakeSome())
			runtime.Gosched() // callers and devices that became ready meanwhile go first
		default:
			return
		}
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
	if s.takeHere() {
		s.link.Flush()
	}
}

// takeHere is wakeHere without the last step: Flush must follow when it says so.
func (s *Session) takeHere() (flush bool) {
	if s.run.CompareAndSwap(idle, running) {
		return s.runPump()
	}
	s.wake()
	return false
}

// runPump pumps in state running, and leaves idle or queued. It reports whether
// Flush must follow.
func (s *Session) runPump() (flush bool) {
	flush = s.pump()
	if !s.run.CompareAndSwap(running, idle) {
		s.run.Store(queued)
		s.g.runs.push(s)
	}
	return flush
}
