package gateway

import (
	"runtime"
	"sync"
)

// runQueue gives work to the workers in two priorities: sessions that have
// something to send, and broadcasts, each of which wakes sessions one after
// another. Sessions come before broadcasts, but a broadcast gets a turn after
// broadcastEvery sessions.
//
// A session is in the queue at most once, so the number of sessions bounds the
// queue. It is a list linked through the sessions and allocates nothing.
// Broadcasts are bounded by maxBroadcasts.
type runQueue struct {
	mu         sync.Mutex
	nonEmpty   sync.Cond
	head, tail *Session
	waiting    int // workers in nonEmpty.Wait that are not signaled
	inRow      int // sessions since the last broadcast's turn
	closed     bool

	broadcasts []*broadcast // broadcasts with a turn to come, the next one first
	turns      int          // broadcasts that workers have a turn of
	maxTurns   int          // bound of turns, so that single deliveries find a free core
	kept       int          // broadcasts here, or parked until their rate allows more
}

const (
	broadcastEvery = 8
	// maxBroadcasts bounds the unfinished broadcasts. Above it a new one becomes
	// a broadcast to everyone that wakes for all the others.
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

// add puts s on the list, unless a worker is about to pump it.
func (l *runList) add(s *Session) {
	if s.claim() {
		l.push(s)
	}
}

// push adds a session in state queued that is in no list.
func (l *runList) push(s *Session) {
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.nextRun = s
	}
	l.tail = s
	l.n++
}

// pushAll queues the sessions of l and signals one idle worker for each, as far
// as there are any.
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
	q.signalLocked(l.n)
}

func (q *runQueue) push(s *Session) {
	var l runList
	l.push(s)
	q.pushAll(&l)
}

// signalLocked wakes up to n waiting workers.
func (q *runQueue) signalLocked(n int) {
	for ; n > 0 && q.waiting > 0; n-- {
		q.waiting--
		q.nonEmpty.Signal()
	}
}

// pop waits for work: a session, or a broadcast that the caller must return with
// endTurn. Both are nil when the queue is closed.
func (q *runQueue) pop() (*Session, *broadcast) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		s, b := q.nextLocked()
		if s != nil || b != nil {
			if q.mayTurnLocked() {
				q.signalLocked(1) // for another turn
			}
			return s, b
		}
		q.waiting++
		q.nonEmpty.Wait()
	}
	return nil, nil
}

// nextLocked returns the next session or broadcast; both are nil when the queue is
// empty.
func (q *runQueue) nextLocked() (*Session, *broadcast) {
	turn := q.mayTurnLocked()
	switch {
	case q.head != nil && !(turn && q.inRow >= broadcastEvery):
		q.inRow++
		return q.popSessionLocked(), nil
	case turn:
		q.inRow = 0
		q.turns++
		return nil, q.popBroadcastLocked()
	}
	return nil, nil
}

// mayTurnLocked reports whether a broadcast may get a turn.
func (q *runQueue) mayTurnLocked() bool { return len(q.broadcasts) > 0 && q.turns < q.maxTurns }

func (q *runQueue) popSessionLocked() *Session {
	s := q.head
	q.head, s.nextRun = s.nextRun, nil
	if q.head == nil {
		q.tail = nil
	}
	return s
}

// close makes every worker return. Unsent deliveries stay in the store.
func (q *runQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.nonEmpty.Broadcast()
}

// work is the worker's loop; it returns when the queue is closed.
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
			runtime.Gosched() // let callers and devices that became ready go first
		default:
			return
		}
	}
}

// Run states of a session. At most one goroutine pumps it at a time; a wake-up
// during a run makes it run again.
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

// claim reports whether the caller must put the session into the run queue; its
// state is queued then. Otherwise a goroutine pumps it already or is about to.
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

// wakeHere pumps the session on the calling goroutine unless another one does. It
// saves a switch when the caller's stack is already deep and it may read the
// store. Otherwise it is wake.
func (s *Session) wakeHere() {
	if s.takeHere() {
		s.link.Flush()
	}
}

// takeHere is wakeHere without the Flush; the caller must flush if it returns
// true.
func (s *Session) takeHere() (flush bool) {
	if s.run.CompareAndSwap(idle, running) {
		return s.runPump()
	}
	s.wake()
	return false
}

// runPump pumps in state running and leaves the session idle or queued. It
// reports whether Flush must follow.
func (s *Session) runPump() (flush bool) {
	flush = s.pump()
	if !s.run.CompareAndSwap(running, idle) {
		s.run.Store(queued)
		s.g.runs.push(s)
	}
	return flush
}
