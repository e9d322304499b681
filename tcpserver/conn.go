package tcpserver

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// conn is one socket and the protocol session on it, about 250 bytes beside
// the session (a test keeps that). Everything below mu is guarded by it.
//
// Lock order: a gateway session's lock, then conn.mu, then the locks of the
// worker queue, the wheel and the server. Nothing calls the gateway with
// conn.mu held.
type conn struct {
	// Fixed after construction.
	srv    *Server
	nc     net.Conn
	raw    syscall.RawConn // nil where reads and writes have to block
	remote netip.AddrPort

	// Guarded by the server's mutex.
	prev, next     *conn
	isUnregistered bool // counted in the server's unregistered

	nextTurn *conn // guarded by the worker queue

	in *inbound // owned by the read loop; set only while there is data

	turn    atomic.Uint32           // a turnState: whether somebody drives the session
	inbox   atomic.Pointer[inbound] // what was read and no turn has taken yet
	waiting atomic.Int32            // reads in inbox and input
	deaf    atomic.Bool             // no more is to be read for now

	timer wheel.Timer

	mu                      sync.Mutex
	proto                   *protocol.Session
	input                   *inbound         // reads that a turn has taken and not handled yet, oldest first
	gw                      session          // nil until registered
	out                     *outbound        // what the flusher is writing; nil while nothing is left over
	life                    lifeState        // how far the connection has ended
	cause                   causeOfEnd       // why it cannot go on, causeNone while it can
	flags                   connFlags        //
	dialect                 protocol.Dialect // under which it is counted as online
	discarded               int32            // bytes read while lingering
	armed                   int64            // when the timer fires; 0 = not armed. This and the next two in the server's nanoseconds
	hold                    int64            // no deadline is judged before; while lingering, when the socket is closed
	lastOut                 int64            // when the socket last took something
	bytesIn                 uint64
	bytesOut                uint64
	messagesIn, messagesOut uint64
}

// Turn states. A connection is in the worker queue at most once, and driven by
// at most one goroutine; what happens meanwhile makes that look again.
const (
	turnIdle uint32 = iota
	turnQueued
	turnRunning
	turnAgain
)

type lifeState uint8

const (
	open      lifeState = iota
	lingering           // ended for the gateway; last words are on their way
	dead                // socket closed
)

type causeOfEnd uint8

const (
	causeNone     causeOfEnd = iota
	causePeerGone            // end of file or a socket error: no last words
	causeSlow                // the device has read nothing for WriteTimeout
	causePanic               // a bug, for this connection: its session must not be used again
)

type connFlags uint8

const (
	flagReading      connFlags = 1 << iota // a read loop runs
	flagRegistered                         // Accept was called
	flagWantWritable                       // a delivery was refused for the output budget
	flagEnded                              // the gateway was told of the end, or is about to be
	flagHalfClosed                         // our direction is shut down
	flagDraining                           // closed as soon as nothing is in flight
	flagGoodbye                            // the device has ended it and expects nothing
)

func (c *conn) is(f connFlags) bool { return c.flags&f != 0 }

// newConn takes over nc. Its counts in the server are taken already.
func newConn(s *Server, nc net.Conn, remote netip.AddrPort, now time.Time) *conn {
	c := &conn{srv: s, nc: nc, raw: rawConnOf(nc), remote: remote}
	c.proto = protocol.NewServer(&s.cfg.Protocol, now)
	s.cfg.Wheel.Init(&c.timer, c)
	return c
}

// start begins to read and arms the registration deadline.
func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rearm()
	c.resumeReading()
}

// Fire is called by the wheel: a deadline may be due.
func (c *conn) Fire(time.Time) {
	c.mu.Lock()
	c.armed = 0
	c.mu.Unlock()
	c.wantTurn()
}

// wantTurn asks for a turn after something has changed. c.mu may be held.
func (c *conn) wantTurn() {
	for {
		switch c.turn.Load() {
		case turnIdle:
			if c.turn.CompareAndSwap(turnIdle, turnQueued) {
				c.srv.workers.push(c)
				return
			}
		case turnRunning:
			if c.turn.CompareAndSwap(turnRunning, turnAgain) {
				return
			}
		default: // queued, or to be looked at again
			return
		}
	}
}

// deadline is the next instant at which a turn has something to do, ok false
// for none. c.mu is held.
func (c *conn) deadline() (at int64, ok bool) {
	if c.life == lingering {
		return c.hold, true
	}
	if c.is(flagEnded) {
		return 0, false
	}
	t, ok := c.proto.Deadline()
	if !ok {
		return 0, false
	}
	return max(c.srv.nanos(t), c.hold), true
}

// rearm sets the timer when the next deadline is earlier than the armed one. A
// later one costs nothing: the timer fires, and is armed again. c.mu is held.
func (c *conn) rearm() {
	at, ok := c.deadline()
	if c.life == dead || !ok || c.armed != 0 && c.armed <= at {
		return
	}
	c.armed = at
	c.srv.cfg.Wheel.Schedule(&c.timer, c.srv.instant(at))
}

// held is how many bytes of output are kept in memory. c.mu is held.
func (c *conn) held() int {
	n := c.proto.Buffered()
	if c.out != nil {
		n += len(c.out.left())
	}
	return n
}

// fail notes why the connection cannot go on and asks for the turn that ends
// it. c.mu is held.
func (c *conn) fail(why causeOfEnd) {
	if c.cause == causeNone || why == causePanic {
		c.cause = why
	}
	c.wantTurn()
}

// shut closes the socket, which wakes whoever waits on it. c.mu is held.
func (c *conn) shut() {
	if c.life == dead {
		return
	}
	c.life = dead
	c.srv.cfg.Wheel.Cancel(&c.timer)
	abandon(c.nc, c.cause == causeSlow)
	c.srv.remove(c)
}
