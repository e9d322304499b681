package tcpserver

import "sync"

// workers is goroutines that run turns of connections. A connection stands in
// their queue at most once, so the queue is bounded by the connections, and it is
// linked through them.
//
// A worker starts when one is missing, and ends when enough others wait: a
// goroutine that is used again has its stack grown already.
type workers struct {
	run   func(*conn)
	most  int // at a time
	spare int // may wait for work

	mu         sync.Mutex
	nonEmpty   sync.Cond
	started    int // that have not ended
	idle       int // that wait
	head, tail *conn
	closed     bool

	running sync.WaitGroup
}

func newWorkers(run func(*conn), most, spare int) *workers {
	w := &workers{run: run, most: most, spare: min(most, spare)}
	w.nonEmpty.L = &w.mu
	return w
}

// stop lets the queue run empty and ends the workers.
func (w *workers) stop() {
	w.mu.Lock()
	w.closed = true
	w.nonEmpty.Broadcast()
	w.mu.Unlock()
	w.running.Wait()
}

func (w *workers) push(c *conn) {
	w.mu.Lock()
	if w.tail == nil {
		w.head = c
	} else {
		w.tail.nextTurn = c
	}
	w.tail = c
	wake := w.idle > 0
	if wake {
		w.idle--
	}
	start := !wake && w.started < w.most
	if start {
		w.started++
	}
	w.mu.Unlock()
	switch {
	case wake:
		w.nonEmpty.Signal()
	case start:
		w.running.Go(w.work)
	}
}

// pop waits for a connection; nil for the end of the worker.
func (w *workers) pop() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head == nil {
		if w.closed || w.idle >= w.spare {
			w.started--
			return nil
		}
		w.idle++
		w.nonEmpty.Wait()
	}
	c := w.head
	w.head, c.nextTurn = c.nextTurn, nil
	if w.head == nil {
		w.tail = nil
	}
	return c
}

func (w *workers) work() {
	for c := w.pop(); c != nil; c = w.pop() {
		w.run(c)
	}
}
