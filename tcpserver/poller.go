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

// kernel is what pollers ask of the operating system.
type kernel interface {
	// adopt takes the socket of nc over; it lives on when nc is closed. ok is
	// false for connections that are more, or other, than a TCP socket, and
	// when the system has no room.
	adopt(nc net.Conn) (fd int32, ok bool)
	// newQueue returns a queue of events.
	newQueue() (eventQueue, error)

	// read and write return errWouldBlock instead of waiting.
	read(fd int32, p []byte) (int, error)
	write(fd int32, p []byte) (int, error)
	closeWrite(fd int32)
	close(fd int32, reset bool)
}

// eventQueue tells when sockets change. watch may be called from any goroutine.
type eventQueue interface {
	// watch makes run tell of fd until fd is closed: of what it is ready for
	// now, and then of each change.
	watch(fd int32, generation uint32) error
	// run calls tell for each event, one at a time, and told after those that came
	// together, until close.
	run(tell func(fd int32, generation, bits uint32), told func())
	close()
}

var errWouldBlock = errors.New("tcpserver: would block")

// pollers drive the connections whose sockets they have taken over, with a
// goroutine for each processor instead of one for each connection. The
// goroutines start with the first connection and end in stop.
type pollers struct {
	sys   kernel
	conns connTable

	start   sync.Once
	queues  []eventQueue // fixed by start; none when the system refuses them
	running sync.WaitGroup
	spread  atomic.Uint32 // gives each new connection its queue, and its generation
}

// pollersFor returns what cfg.Driver asks for, nil where connections are
// streams.
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

// adopt makes c, whose socket nc is, a polled connection. When it returns
// false, nc is as it was, but a bare socket may be closed. c.mu is held.
func (p *pollers) adopt(c *conn, nc net.Conn) bool {
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
		p.release(c, false)
		return false
	}
	nc.Close()
	return true
}

// release closes c's socket. The number is free for another connection at once,
// whose generation differs. c.mu is held.
func (p *pollers) release(c *conn, reset bool) {
	p.conns.set(c.fd, nil)
	p.sys.close(c.fd, reset)
}

// run starts a goroutine for each processor.
func (p *pollers) run() {
	for range runtime.GOMAXPROCS(0) {
		q, err := p.sys.newQueue()
		if err != nil {
			return // those that there are will do; without any, connections are streams
		}
		p.queues = append(p.queues, q)
		r := &round{p: p}
		p.running.Go(func() { q.run(r.tell, r.told) })
	}
}

// stop ends the goroutines. There must be no connection left.
func (p *pollers) stop() {
	p.start.Do(func() {})
	for _, q := range p.queues {
		q.close()
	}
	p.running.Wait()
}

// round is what a poller has heard together. All of it is read before the first
// of it is handled: the code and the pages that each half needs are used again
// while the processor has them at hand, which saves some percent.
type round struct {
	p     *pollers
	turns []heard // that this poller has; as many as an eventQueue tells at once
}

// heard is a connection with input, and when that was read.
type heard struct {
	c  *conn
	at time.Time
}

// tell passes an event on. One that was under way when its socket was closed
// finds no connection under its number, or another generation.
func (r *round) tell(fd int32, generation, bits uint32) {
	c := r.p.conns.get(fd)
	if c == nil || c.generation != generation {
		return
	}
	if at, turn := c.happened(bits); turn {
		r.turns = append(r.turns, heard{c, at})
	}
}

// told handles what was read.
func (r *round) told() {
	for _, h := range r.turns {
		h.c.driveFrom(turn{place: onPoller, left: turnEvents - eventsPerRead, now: h.at})
	}
	clear(r.turns)
	r.turns = r.turns[:0]
}
