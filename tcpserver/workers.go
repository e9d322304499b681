package tcpserver

import "sync"

// workers runs the turns of connections. A connection stands in the queue at
// most once, so the queue is bounded by the connections, and it is linked
// through them.
type workers struct {
	mu         sync.Mutex
	nonEmpty   sync.Cond
	idle       int // workers that wait
	head, tail *conn
	closed     bool

	running sync.WaitGroup
}

func newWorkers() *workers {
	w := &workers{}
	w.nonEmpty.L = &w.mu
	return w
}

// start launches n workers. They end in stop.
func (w *workers) start(n int) {
	for range n {
		w.running.Go(w.work)
	}
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
	w.mu.Unlock()
	if wake {
		w.nonEmpty.Signal()
	}
}

// pop waits for a connection; nil when stopped.
func (w *workers) pop() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head == nil {
		if w.closed {
			return nil
		}
		w.idle++
		w.nonEmpty.Wait()
		w.idle--
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
		c.runTurn()
	}
}
