package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// waiters has the callers that wait for messages to be completed.
type waiters struct {
	n      atomic.Int64 // in all shards
	seed   maphash.Seed
	shards [16]waiterShard
}

// waiter is one caller that waits for a message.
type waiter struct {
	done chan struct{} // closed when the message is completed or every wait ends
	// The completed message. Read it after done is closed; message is nil if
	// every wait was ended.
	message  *Message
	delivery *Delivery
	call     *PushCall // the call to finish; nil for a caller that waits on done
}

// completes copies the completion into m, an earlier state of the message. It
// returns false if the message has not been completed.
func (w *waiter) completes(m *Message) bool {
	select {
	case <-w.done:
	default:
		return false
	}
	if w.message == nil {
		return false
	}
	m.Counts, m.CompletedAt, m.Delivery = w.message.Counts, w.message.CompletedAt, w.delivery
	return true
}

type waiterShard struct {
	mu      sync.Mutex
	wait    map[MessageID][]*waiter
	drained bool // new waits end at once
}

func newWaiters() *waiters {
	w := &waiters{seed: maphash.MakeSeed()}
	for i := range w.shards {
		w.shards[i].wait = make(map[MessageID][]*waiter)
	}
	return w
}

func (w *waiters) shard(id MessageID) *waiterShard {
	return &w.shards[maphash.String(w.seed, string(id))%uint64(len(w.shards))]
}

// join returns a waiter for the message. The caller must call leave.
func (w *waiters) join(id MessageID) *waiter { return w.joinCall(id, nil) }

// joinCall is join for a call that completed returns. After drain, done is closed
// already.
func (w *waiters) joinCall(id MessageID, c *PushCall) *waiter {
	one := &waiter{done: make(chan struct{}), call: c}
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.drained {
		close(one.done)
		return one
	}
	sh.wait[id] = append(sh.wait[id], one)
	w.n.Add(1)
	return one
}

// leave undoes join. It does nothing after done was closed.
func (w *waiters) leave(id MessageID, one *waiter) {
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := sh.wait[id]
	for i, c := range list {
		if c == one {
			list = append(list[:i], list[i+1:]...)
			w.n.Add(-1)
			break
		}
	}
	if len(list) == 0 {
		delete(sh.wait, id)
	} else {
		sh.wait[id] = list
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
	return len(sh.wait[id]) > 0
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
	list := sh.wait[m.ID]
	if len(list) == 0 {
		return calls
	}
	message := *m
	var delivery *Delivery
	if m.Client != "" {
		delivery = new(*d)
	}
	for _, one := range list {
		one.message, one.delivery = &message, delivery
		close(one.done)
		if one.call != nil {
			calls = append(calls, one.call)
		}
	}
	w.n.Add(-int64(len(list)))
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
	for _, list := range sh.wait {
		for _, one := range list {
			close(one.done)
			if one.call != nil {
				calls = append(calls, one.call)
			}
		}
		n.Add(-int64(len(list)))
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
