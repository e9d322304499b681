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
	waiting    int // workers in nonEmpty.Wait that are not signaled
	inRow      int // sessions since the last broadcast's turn
	closed     bool

	broadcasts []*broadcast // with a turn to come, the next one first
	turns      int          // broadcasts' turns that workers are at
	maxTurns   int          // so that single deliveries find a free core
	kept       int          // broadcasts here or parked until their pace allows more
}

const (
	broadcastEvery = 8
	// maxBroadcasts bounds those that have not woken all their recipients. Above it
	// one more broadcast wakes every session for all the others.
	maxBroadcasts = 1024
)

func newRunQueue() *runQueue {
	q := &runQueue{maxTurns: max(1, runtime.GOMAXPROCS(0)/2)}
	q.nonEmpty.L = &q.mu
	return q
}

// runList is a list of sessions in state queued that are not in the run queue
// yet. It belongs to one goroutine.
type runList struct {
	head, tail *Session
	n          int
}

// add puts s on the list, unless a worker is about to pump it anyway.
func (l *runList) add(s *Session) {
	if s.claim() {
		l.push(s)
	}
}

// push adds a session in state queued, which no other goroutine links.
func (l *runList) push(s *Session) {
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.nextRun = s
	}
	l.tail = s
	l.n++
}

// pushAll queues the sessions of l and wakes one worker for each, as far as there
// are any without work.
func (q *runQueue) pushAll(l *runList) {
	if l.head == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tail == nil {
		q.head = l.head
	} else {
		q.tail.nextRun = l.head
	}
	q.tail = l.tail
	q.signal(l.n)
}

func (q *runQueue) push(s *Session) {
	var l runList
	l.push(s)
	q.pushAll(&l)
}

// signal wakes up to n workers that wait. q.mu is held.
func (q *runQueue) signal(n int) {
	for ; n > 0 && q.waiting > 0; n-- {
		q.waiting--
		q.nonEmpty.Signal()
	}
}

// pop waits for work: a session, or a broadcast that must be given back with
// endTurn. Both are nil when the queue is closed.
func (q *runQueue) pop() (*Session, *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		s, b := q.next()
		if s != nil || b != nil {
			if q.mayTurn() {
				q.signal(1) // for another turn
			}
			return s, b
		}
		q.waiting++
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
	if s.claim() {
		s.g.runs.push(s)
	}
}

// claim reports whether the caller is to put the session into the run queue, where
// it then stands by its state. Otherwise a worker is about to pump it.
func (s *Session) claim() bool {
	for {
		switch s.run.Load() {
		case idle:
			if s.run.CompareAndSwap(idle, queued) {
				return true
			}
		case running:
			if s.run.CompareAndSwap(running, again) {
				return false
			}
		default:
			return false
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
