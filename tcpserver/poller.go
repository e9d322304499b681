package tcpserver

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// kernel is the part of the operating system that pollers use.
type kernel interface {
	// adopt takes over the socket of nc, which stays open when nc is closed. ok is
	// false if nc is not a plain TCP socket, or if the system has no room.
	adopt(nc net.Conn) (fd int32, ok bool)
	// newQueue returns a queue of events.
	newQueue() (eventQueue, error)

	// read and write return errWouldBlock instead of waiting.
	read(fd int32, p []byte) (int, error)
	write(fd int32, p []byte) (int, error)
	closeWrite(fd int32)
	close(fd int32, reset bool)
}

// eventQueue reports changes of sockets. Any goroutine may call watch.
type eventQueue interface {
	// watch makes run report fd until fd is closed: its readiness now, and then
	// each change.
	watch(fd int32, generation uint32) error
	// run calls onEvent for each event, one at a time, and onBatchEnd after each
	// batch, until close.
	run(onEvent func(fd int32, generation, bits uint32), onBatchEnd func())
	close()
}

var errWouldBlock = errors.New("tcpserver: would block")

// pollers drive the connections whose sockets they have taken over. They have a
// goroutine for each processor instead of one for each connection. The goroutines
// start with the first connection and end in stop.
type pollers struct {
	sys   kernel
	conns connTable

	start   sync.Once
	queues  []eventQueue // fixed by start; none if the system refuses them
	running sync.WaitGroup
	spread  atomic.Uint32 // selects the queue and the generation of a new connection
}

// pollersFor returns the pollers for cfg.Driver, nil if connections are streams.
func pollersFor(cfg *Config) (*pollers, error) {
	sys := cfg.kernel
	if sys == nil {
		sys = systemKernel()
	}
	switch cfg.Driver {
	case DriverPortable:
		return nil, nil
	case DriverAuto, DriverEpoll:
		if sys != nil {
			return &pollers{sys: sys}, nil
		}
		if cfg.Driver == DriverAuto {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("there is no driver %q on %s", cfg.Driver, runtime.GOOS)
}

// adoptLocked makes c a polled connection on the socket of nc. If it returns false,
// nc is unchanged, but a bare socket may be closed. The caller holds c.mu.
func (p *pollers) adoptLocked(c *conn, nc net.Conn) bool {
	if p.start.Do(p.run); len(p.queues) == 0 {
		return false
	}
	fd, ok := p.sys.adopt(nc)
	if !ok {
		return false
	}
	n := p.spread.Add(1)
	c.fd, c.generation = fd, n
	p.conns.set(fd, c) // before the first event
	if err := p.queues[n%uint32(len(p.queues))].watch(fd, n); err != nil {
		p.releaseLocked(c, false)
		return false
	}
	nc.Close()
	return true
}

// releaseLocked closes c's socket. Another connection may get the number at once,
// but with another generation. The caller holds c.mu.
func (p *pollers) releaseLocked(c *conn, reset bool) {
	p.conns.set(c.fd, nil)
	p.sys.close(c.fd, reset)
}

// run starts a goroutine for each processor.
func (p *pollers) run() {
	for range runtime.GOMAXPROCS(0) {
		q, err := p.sys.newQueue()
		if err != nil {
			return // the existing queues are enough; without any, connections are streams
		}
		p.queues = append(p.queues, q)
		r := &batch{p: p}
		p.running.Go(func() { q.run(r.onEvent, r.onBatchEnd) })
	}
}

// stop ends the goroutines. No connection may be left.
func (p *pollers) stop() {
	p.start.Do(func() {})
	for _, q := range p.queues {
		q.close()
	}
	p.running.Wait()
}

// batch holds the connections of one batch of events. The poller reads the input of
// all of them before it handles any: the processor then reuses the code and pages
// of each half, which saves a few percent.
type batch struct {
	p     *pollers
	turns []pendingTurn // turns that this poller has; at most as many as one batch has events
}

// pendingTurn is a connection with input, and the time of that read.
type pendingTurn struct {
	c  *conn
	at time.Time
}

// onEvent handles one event. For an event of a closed socket it finds no connection
// with the number, or one with another generation.
func (r *batch) onEvent(fd int32, generation, bits uint32) {
	c := r.p.conns.get(fd)
	if c == nil || c.generation != generation {
		return
	}
	if at, turn := c.onReady(bits); turn {
		r.turns = append(r.turns, pendingTurn{c, at})
	}
}

// onBatchEnd runs the turns of the batch.
func (r *batch) onBatchEnd() {
	for _, h := range r.turns {
		h.c.driveFrom(turn{runner: onPoller, budget: turnEvents - eventsPerRead, now: h.at})
	}
	clear(r.turns)
	r.turns = r.turns[:0]
}
