package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// op is an event on its way through the log.
type op struct {
	event  event
	size   int
	urgent bool // commit at once; else within lazyDelay
	waits  bool // somebody waits on done
	result result
	// done is closed when result is final and durable, or the outcome is
	// unknown. nil when nobody waits.
	done chan struct{}
}

func newOp(e event, urgent, waits bool) *op {
	o := &op{event: e, size: e.size(), urgent: urgent, waits: waits}
	if waits {
		o.done = make(chan struct{})
	}
	return o
}

func (o *op) answer(err error) {
	if err != nil {
		o.result = result{err: err}
	}
	if o.waits {
		close(o.done)
	}
}

// queue holds what waits for the committer, within maxWaitingEvents and
// maxWaitingBytes: pushers wait while it is full.
type queue struct {
	wake chan struct{} // cap 1: there may be something to take

	mu     sync.Mutex // guards all below
	ops    []*op
	bytes  int
	urgent int           // ops that are urgent
	oldest time.Time     // when the first of ops came
	room   chan struct{} // closed when room is made; nil when nobody waits
	nudged bool          // take is to return although nothing is due
	closed bool

	depth atomic.Int64 // len(ops), for Stats
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// errClosed is why a closed engine takes nothing more.
var errClosed = errors.New("store is closed")

// push adds an op. It waits for room until ctx ends, and returns its error, or
// errClosed.
func (q *queue) push(ctx context.Context, o *op) error {
	q.mu.Lock()
	for !q.closed && (len(q.ops) >= maxWaitingEvents || q.bytes+o.size > maxWaitingBytes && len(q.ops) > 0) {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	return q.add(o)
}

// offer adds an op if there is room for it now.
func (q *queue) offer(o *op) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ops) >= maxWaitingEvents || q.bytes+o.size > maxWaitingBytes {
		return false
	}
	return q.add(o) == nil
}

func (q *queue) add(o *op) error {
	if q.closed {
		return errClosed
	}
	if len(q.ops) == 0 {
		q.oldest = time.Now()
	}
	q.ops = append(q.ops, o)
	q.bytes += o.size
	q.depth.Store(int64(len(q.ops)))
	if o.urgent {
		q.urgent++
	}
	if len(q.ops) == 1 || o.urgent && q.urgent == 1 || len(q.ops) == maxRecordAcks || q.bytes >= maxRecordBytes {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// take waits until a record is due, at most for limit (0 = for ever), and
// appends its ops to buf. open is false when the queue is closed and empty.
func (q *queue) take(buf []*op, limit time.Duration) (ops []*op, open bool) {
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	for {
		ops, wait, closed := q.cut(buf)
		if len(ops) > 0 || closed {
			return ops, !closed
		}
		if wait == 0 {
			return buf, true
		}
		if limit > 0 {
			left := time.Until(until)
			if left <= 0 {
				return buf, true
			}
			if wait < 0 || left < wait {
				wait = left
			}
		}
		if wait < 0 {
			<-q.wake
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// cut takes a record's worth of ops if one is due, else says how long until it
// is: negative for no limit, 0 when nudged.
func (q *queue) cut(buf []*op) (ops []*op, wait time.Duration, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.nudged {
		q.nudged = false
		return buf, 0, false
	}
	if len(q.ops) == 0 {
		return buf, -1, q.closed
	}
	if q.urgent == 0 && len(q.ops) < maxRecordAcks && q.bytes < maxRecordBytes && !q.closed {
		if wait = lazyDelay - time.Since(q.oldest); wait > 0 {
			return buf, wait, false
		}
	}
	n, size, events := 0, 0, 0
	for n < len(q.ops) && n < maxRecordAcks && events < maxRecordEvents && (n == 0 || size+q.ops[n].size <= maxRecordBytes) {
		size += q.ops[n].size
		if q.ops[n].waits {
			events++
		}
		if q.ops[n].urgent {
			q.urgent--
		}
		n++
	}
	ops = append(buf, q.ops[:n]...)
	rest := copy(q.ops, q.ops[n:])
	clear(q.ops[rest:])
	q.ops, q.bytes = q.ops[:rest], q.bytes-size
	q.depth.Store(int64(rest))
	q.oldest = time.Now()
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return ops, 0, false
}

// nudge makes take return, so that the committer looks at its state.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nudged = true
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close lets nothing more in; what is inside can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
