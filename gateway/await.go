package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// waiters has the callers that wait for messages to be completed.
type waiters struct {
	n      atomic.Int64 // in all shards
	seed   maphash.Seed
	shards [16]waiterShard
}

// waiter is one caller that waits for a message: a call to finish, or a goroutine that
// waits on done.
type waiter struct {
	done chan struct{} // closed when the message is completed or every wait ends; nil for a call
	call *PushCall     // nil for a goroutine
	next *waiter       // for the same message; guarded by the shard's mutex

	// end is nil if every wait was ended. Read it after done is closed; for a call,
	// after leave.
	end *completion
}

// completion has what changes when a message is completed.
type completion struct {
	counts   Counts
	at       time.Time
	one      bool // the message is to one client, and delivery is its delivery
	delivery Delivery
}

// completes copies the completion into m, an earlier state of the message. It
// returns false if the message has not been completed.
func (w *waiter) completes(m *Message) bool {
	if w.call == nil {
		select {
		case <-w.done:
		default:
			return false
		}
	}
	if w.end == nil {
		return false
	}
	m.Counts, m.CompletedAt, m.Delivery = w.end.counts, w.end.at, nil
	if w.end.one {
		m.Delivery = &w.end.delivery
	}
	return true
}

// finish ends the wait. It appends to calls the call that the caller must finish.
func (w *waiter) finish(end *completion, calls []*PushCall) []*PushCall {
	w.end = end
	if w.call != nil {
		return append(calls, w.call)
	}
	close(w.done)
	return calls
}

type waiterShard struct {
	mu      sync.Mutex
	wait    map[MessageID]*waiter // by message; waiters of one message are linked
	drained bool                  // new waits end at once
}

func newWaiters() *waiters {
	w := &waiters{seed: maphash.MakeSeed()}
	for i := range w.shards {
		w.shards[i].wait = make(map[MessageID]*waiter)
	}
	return w
}

func (w *waiters) shard(id MessageID) *waiterShard {
	return &w.shards[maphash.String(w.seed, string(id))%uint64(len(w.shards))]
}

// join returns a waiter for the message. The caller must call leave. After drain, done
// is closed already.
func (w *waiters) join(id MessageID) *waiter {
	one := &waiter{done: make(chan struct{})}
	if !w.enter(id, one) {
		close(one.done)
	}
	return one
}

// enter adds a waiter for the message, which must leave. It returns false, and adds
// nothing, after drain.
func (w *waiters) enter(id MessageID, one *waiter) bool {
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.drained {
		return false
	}
	one.next = sh.wait[id]
	sh.wait[id] = one
	w.n.Add(1)
	return true
}

// leave undoes join and enter. It does nothing after the wait has ended.
func (w *waiters) leave(id MessageID, one *waiter) {
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	first := sh.wait[id]
	if first == one {
		w.n.Add(-1)
		if one.next == nil {
			delete(sh.wait, id)
		} else {
			sh.wait[id] = one.next
		}
		return
	}
	for before := first; before != nil; before = before.next {
		if before.next == one {
			before.next = one.next
			w.n.Add(-1)
			return
		}
	}
}

// has reports whether a caller waits for the message.
func (w *waiters) has(id MessageID) bool {
	if w.n.Load() == 0 {
		return false
	}
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.wait[id] != nil
}

// completed passes the completed message to all its waiters; d is the delivery if
// the message is to one client. It appends to calls the calls that the caller
// must finish.
func (w *waiters) completed(m *Message, d *Delivery, calls []*PushCall) []*PushCall {
	if w.n.Load() == 0 {
		return calls
	}
	sh := w.shard(m.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	first := sh.wait[m.ID]
	if first == nil {
		return calls
	}
	end := &completion{counts: m.Counts, at: m.CompletedAt, one: m.Client != ""}
	if end.one {
		end.delivery = *d
	}
	for one := first; one != nil; one = one.next {
		calls = one.finish(end, calls)
		w.n.Add(-1)
	}
	delete(sh.wait, m.ID)
	return calls
}

// drain ends every wait. Waits that begin later end at once.
func (w *waiters) drain() {
	var calls []*PushCall
	for i := range w.shards {
		calls = w.shards[i].drain(&w.n, calls)
	}
	endAll(calls)
}

func (sh *waiterShard) drain(n *atomic.Int64, calls []*PushCall) []*PushCall {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.drained = true
	for _, first := range sh.wait {
		for one := first; one != nil; one = one.next {
			calls = one.finish(nil, calls)
			n.Add(-1)
		}
	}
	clear(sh.wait)
	return calls
}

// Await returns the message when it is completed. When ctx ends or the gateway
// drains, it returns the message as it stands; then Completed is false and the
// error nil.
// Errors: CodeMessageNotFound, CodeUnavailable.
func (g *Gateway) Await(ctx context.Context, id MessageID) (Message, error) {
	w := g.waiters.join(id)
	defer g.waiters.leave(id, w)
	m, err := g.Message(id) // after join, so that no completion is missed in between
	if err != nil || m.Completed() {
		return m, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	if w.completes(&m) {
		return m, nil
	}
	return g.Message(id)
}
