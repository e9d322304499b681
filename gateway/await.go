package gateway

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// waiters knows who waits for a message to be completed.
type waiters struct {
	n      atomic.Int64 // channels in all shards
	seed   maphash.Seed
	shards [16]waiterShard
}

type waiterShard struct {
	mu      sync.Mutex
	wait    map[MessageID][]chan struct{}
	drained bool // no wait begins any more
}

func newWaiters() *waiters {
	w := &waiters{seed: maphash.MakeSeed()}
	for i := range w.shards {
		w.shards[i].wait = make(map[MessageID][]chan struct{})
	}
	return w
}

func (w *waiters) shard(id MessageID) *waiterShard {
	return &w.shards[maphash.String(w.seed, string(id))%uint64(len(w.shards))]
}

// join returns a channel that is closed when the message is completed, or when
// waiting ends for all.
func (w *waiters) join(id MessageID) chan struct{} {
	done := make(chan struct{})
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.drained {
		close(done)
		return done
	}
	sh.wait[id] = append(sh.wait[id], done)
	w.n.Add(1)
	return done
}

// leave undoes join; harmless after the channel was closed.
func (w *waiters) leave(id MessageID, done chan struct{}) {
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := sh.wait[id]
	for i, c := range list {
		if c == done {
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

// completed wakes everybody who waits for the message.
func (w *waiters) completed(id MessageID) {
	if w.n.Load() == 0 {
		return
	}
	sh := w.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, c := range sh.wait[id] {
		close(c)
	}
	w.n.Add(-int64(len(sh.wait[id])))
	delete(sh.wait, id)
}

// drain ends every wait, and those to come at once.
func (w *waiters) drain() {
	for i := range w.shards {
		w.shards[i].drain(&w.n)
	}
}

func (sh *waiterShard) drain(n *atomic.Int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.drained = true
	for _, list := range sh.wait {
		for _, c := range list {
			close(c)
		}
		n.Add(-int64(len(list)))
	}
	clear(sh.wait)
}

// Await returns the message when it is completed, or as it stands when ctx
// ends or the gateway drains (then Completed is false and the error nil).
// Errors: CodeMessageNotFound, CodeUnavailable.
func (g *Gateway) Await(ctx context.Context, id MessageID) (Message, error) {
	done := g.waiters.join(id)
	defer g.waiters.leave(id, done)
	m, err := g.Message(id) // after join, so that a completion between is not missed
	if err != nil || m.Completed() {
		return m, err
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return g.Message(id)
}
