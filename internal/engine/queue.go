package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// op is an event on its way through the log.
type op struct {
	event  record.Event
	size   int
	urgent bool   // commit at once; else within lazyDelay
	reply  *reply // nil for no caller
	slot   *slot  // that counts it, of a proposal by Settle; see undurable
	owed   *owed  // takes it back if its record fails, of a Disconnected
}

// opPool holds the ops of a record between records.
var opPool = sync.Pool{New: func() any { return new([]op) }}

func takeOps() []op { return (*opPool.Get().(*[]op))[:0] }

// freeOps takes back the ops of a record that is over: no goroutine has them any
// more.
func freeOps(ops []op) {
	for i := range ops {
		if e, ok := ops[i].event.(*record.Settle); ok {
			e.Free()
		}
	}
	clear(ops)
	opPool.Put(&ops)
}

// reply is the answer to a caller. It gets one token when its result is final
// and durable, or the outcome is unknown; the committer and its followers do
// not touch it, nor the event, after that.
type reply struct {
	state.Result
	done chan struct{}        // cap 1
	told func(r state.Result) // instead of a token, on a goroutine of the record's; see answerAll
}

// replies are used again by callers that saw their token.
var replies = sync.Pool{New: func() any { return &reply{done: make(chan struct{}, 1)} }}

func newReply() *reply { return replies.Get().(*reply) }

// free gives back a reply whose token was taken.
func (r *reply) free() {
	r.Result, r.told = state.Result{}, nil
	replies.Put(r)
}

// waited returns an op with a caller, which is committed at once.
func waited(e record.Event) op { return op{event: e, size: e.Size(), urgent: true, reply: newReply()} }

// lazy returns an op without a caller.
func lazy(e record.Event, urgent bool) op { return op{event: e, size: e.Size(), urgent: urgent} }

// answer gives the reply its token, or returns it if it has a function to be called.
func (o *op) answer(err error) *reply {
	o.uncount()
	if o.owed != nil && err != nil {
		o.owed.add(o.event.(*record.Disconnected))
	}
	if o.reply == nil {
		return nil
	}
	if err != nil {
		o.reply.Result = state.Result{Err: err}
	}
	if o.reply.told != nil {
		return o.reply
	}
	o.reply.done <- struct{}{}
	return nil
}

// answerAll answers the ops of a record. The functions of replies share a goroutine:
// they take longer than a token, and the next record does not wait for them.
func answerAll(ops []op, err error) {
	var told []*reply
	for i := range ops {
		if r := ops[i].answer(err); r != nil {
			told = append(told, r)
		}
	}
	if told == nil {
		return
	}
	go func() {
		for _, r := range told {
			r.told(r.Result)
			r.free()
		}
	}()
}

// queue holds events for the committer, within maxWaitingEvents and
// maxWaitingBytes: pushers wait while it is full.
type queue struct {
	wake chan struct{} // cap 1: there may be something to take

	mu     sync.Mutex // guards all below
	ops    []op
	bytes  int
	urgent int           // ops that are urgent
	oldest time.Time     // when the first of ops came
	room   chan struct{} // closed when room is made; nil if no pusher waits
	nudged bool          // take is to return although nothing is due
	closed bool

	depth atomic.Int64 // len(ops), for Stats
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// errClosed is why a closed engine takes nothing more.
var errClosed = errors.New("store is closed")

// push adds an op. It waits for room until ctx ends, and returns its error, or
// errClosed.
func (q *queue) push(ctx context.Context, o op) error {
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
	return q.addLocked(o)
}

// offer adds an op if there is room for it now.
func (q *queue) offer(o op) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ops) >= maxWaitingEvents || q.bytes+o.size > maxWaitingBytes {
		return false
	}
	return q.addLocked(o) == nil
}

func (q *queue) addLocked(o op) error {
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
		q.signal()
	}
	return nil
}

// cutting is the committer's part of the queue.
type cutting struct {
	ops    []op
	full   bool // more is due than the record has room for
	closed bool // the queue is closed and empty
}

// take waits until something is due, at most for limit (0 = for ever), and
// appends to buf as many ops as a record filled so far has room for.
func (q *queue) take(buf []op, f fill, limit time.Duration) cutting {
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	for {
		c, wait := q.cut(buf, f)
		if wait == 0 {
			return c
		}
		if limit > 0 {
			left := time.Until(until)
			if left <= 0 {
				return c
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

// cut takes the ops that are due, else returns the time until one is: negative for no
// limit. It returns at once when nudged.
func (q *queue) cut(buf []op, f fill) (c cutting, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.ops = buf
	if len(q.ops) == 0 {
		c.closed = q.closed
		if q.nudged || q.closed {
			q.nudged = false
			return c, 0
		}
		return c, -1
	}
	if q.nudged {
		q.nudged = false
		return c, 0
	}
	if q.urgent == 0 && len(q.ops) < maxRecordAcks && q.bytes < maxRecordBytes && !q.closed {
		if wait = lazyDelay - time.Since(q.oldest); wait > 0 {
			return c, wait
		}
	}
	n, size := 0, 0
	for n < len(q.ops) && f.fits(&q.ops[n]) {
		f.add(&q.ops[n])
		size += q.ops[n].size
		if q.ops[n].urgent {
			q.urgent--
		}
		n++
	}
	c.full = n < len(q.ops)
	c.ops = append(buf, q.ops[:n]...)
	rest := copy(q.ops, q.ops[n:])
	clear(q.ops[rest:])
	q.ops, q.bytes = q.ops[:rest], q.bytes-size
	q.depth.Store(int64(rest))
	q.oldest = time.Now()
	q.letInLocked()
	return c, 0
}

// nudge makes take return, so that the committer looks at its state.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nudged = true
	q.signal()
}

// close refuses further ops; those in the queue can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.letInLocked()
	q.signal()
}

// signal lets take look again.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// letInLocked lets the pushers that wait for room look again.
func (q *queue) letInLocked() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}
