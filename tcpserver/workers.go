package tcpserver

import "sync"

// workers are goroutines that run turns of connections. A connection is in their
// queue at most once, so the number of connections bounds the queue, which is
// linked through them.
//
// Spare workers live until stop, because a used goroutine has a stack of the right
// size. More start when all are busy, and end when the spare ones are enough.
type workers struct {
	run   func(*conn)
	most  int // bound of started
	spare int

	mu         sync.Mutex
	nonEmpty   sync.Cond
	started    int // workers that have not ended
	idle       int // workers that wait
	head, tail *conn
	closed     bool

	running sync.WaitGroup
}

// startWorkers starts the spare workers.
func startWorkers(run func(*conn), most, spare int) *workers {
	w := &workers{run: run, most: most, spare: min(most, spare)}
	w.nonEmpty.L = &w.mu
	w.started = w.spare
	for range w.spare {
		w.running.Go(w.work)
	}
	return w
}

// stop ends the workers after the queue is empty. Connections pushed later are not
// run.
func (w *workers) stop() {
	w.mu.Lock()
	w.closed = true
	w.nonEmpty.Broadcast()
	w.mu.Unlock()
	w.running.Wait()
}

func (w *workers) push(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == nil {
		w.head = c
	} else {
		w.tail.nextTurn = c
	}
	w.tail = c
	switch {
	case w.idle > 0:
		w.idle--
		w.nonEmpty.Signal()
	case w.started < w.most && !w.closed:
		w.started++
		w.running.Go(w.work)
	}
}

// pop waits for a connection; nil ends the worker.
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
