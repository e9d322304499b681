package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// waiters knows who waits for a message to be completed.
type waiters struct {
	n      atomic.Int64 // in all shards
	seed   maphash.Seed
	shards [16]waiterShard
}

// waiter is one caller that waits for a message.
type waiter struct {
	done chan struct{} // closed when the message is completed, or waiting ends for all
	// The completed message. Read after done is closed; message is nil if waiting
	// ended for all.
	message  *Message
	delivery *Delivery
	call     *PushCall // to be told; nil for a caller that waits for done
}

// completes puts the completion into m, the message as it was before. It returns
// false when the message has not been completed.
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
	drained bool // no wait begins any more
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

// join returns a waiter for the message, which must leave.
func (w *waiters) join(id MessageID) *waiter { return w.joinCall(id, nil) }

// joinCall is join for a call that is told. A drained gateway has closed done.
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

// leave undoes join; harmless after done was closed.
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

// has reports whether somebody waits.
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
// the message is to one client. It returns calls with those that are to be told.
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

// drain ends every wait, and those to come at once.
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

// Await returns the message when it is completed, or as it stands when ctx
// ends or the gateway drains (then Completed is false and the error nil).
// Errors: CodeMessageNotFound, CodeUnavailable.
func (g *Gateway) Await(ctx context.Context, id MessageID) (Message, error) {
	w := g.waiters.join(id)
	defer g.waiters.leave(id, w)
	m, err := g.Message(id) // after join, so that a completion between is not missed
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
