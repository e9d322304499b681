package tcpserver

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// conn is one socket and the protocol session on it, 256 bytes beside the
// session (a test keeps that). Everything below mu is guarded by it; the order
// leaves no holes.
//
// Lock order: a gateway session's lock, then conn.mu, then the locks of the
// worker queue, the wheel and the server. Nothing calls the gateway with
// conn.mu held.
type conn struct {
	// Fixed after construction.
	srv    *Server
	remote address

	life    lifeState        // how far the connection has ended; this and the next four by mu
	cause   causeOfEnd       // why it cannot go on, causeNone while it can
	flags   connFlags        //
	dialect protocol.Dialect // under which it is counted as online
	pauses  uint8            // in a row, for sending too fast
	hoards  hoardFlags       // which memory of it is counted

	prev, next *conn           // guarded by the server's mutex
	nextTurn   *conn           // guarded by the worker queue
	left       *protocol.Event // what the turn goes on with elsewhere; of whoever has the turn
	turn       atomic.Uint32   // a turnState: whether somebody drives the session
	ready      atomic.Uint32   // what a poller has told; 0 where there is none

	timer wheel.Timer

	mu                      sync.Mutex
	tr                      transport
	fd                      int32  // of a polled connection, and
	generation              uint32 // what tells it from others that had fd; both fixed by start
	proto                   *protocol.Session
	gw                      session   // nil until registered
	out                     *outbound // on its way to the socket; nil while nothing is left over
	armed                   int64     // when the timer fires; 0 = not armed. This and the next three in the server's nanoseconds
	hold                    int64     // no deadline is judged before; while lingering, when the socket is closed
	lastOut                 int64     // when the socket last took something
	paid                    int64     // when what was delivered is paid for; while lingering, the bytes read since. See pace.go
	bytesIn                 uint64
	bytesOut                uint64
	messagesIn, messagesOut uint64
	expires                 tenths // when the credentials end; 0 = never
	debt                    micros // time that what it has sent should have taken, when it was last heard
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
	flagRegistered   connFlags = 1 << iota // Accept was called
	flagWantWritable                       // a delivery was refused for the output budget
	flagEnded                              // the gateway was told of the end, or is about to be
	flagHalfClosed                         // our direction is shut down
	flagDraining                           // closed as soon as nothing is in flight
	flagGoodbye                            // the device has ended it and expects nothing
	flagThrottled                          // nothing is read for a while: the device sends too fast
	flagPaced                              // a delivery was refused for the rates of deliveries
)

func (c *conn) is(f connFlags) bool { return c.flags&f != 0 }

// newConn makes a connection of nc, which is its own from start on.
func newConn(s *Server, nc net.Conn, remote netip.AddrPort, now time.Time) *conn {
	c := &conn{srv: s, tr: unstarted{nc}, remote: addressOf(remote)}
	c.proto = protocol.NewServer(&s.cfg.Protocol, now)
	s.cfg.Wheel.Init(&c.timer, c)
	return c
}

// start begins to read and arms the registration deadline.
func (c *conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == dead {
		return // cut off meanwhile
	}
	nc := c.tr.netConn()
	if c.srv.poll != nil && c.srv.poll.adopt(c, nc) {
		c.tr = (*polled)(c)
	} else {
		c.tr = newStream(c, known(nc))
	}
	c.rearm()
	c.tr.listen()
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
	if t, due := c.proto.Deadline(); due {
		at, ok = max(c.srv.nanos(t), c.hold), true
	}
	if c.out != nil && c.out.stalledAt != 0 && (!ok || c.out.stalledAt < at) {
		at, ok = c.out.stalledAt, true
	}
	if c.expires != 0 && (!ok || c.expires.nanos() < at) {
		at, ok = c.expires.nanos(), true
	}
	if c.is(flagThrottled) {
		if again := c.readsAgainAt(); !ok || again < at {
			at, ok = again, true
		}
	}
	if c.is(flagPaced) {
		if again := c.deliversAgainAt(); !ok || again < at {
			at, ok = again, true
		}
	}
	return at, ok
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
	c.tr.close(c.cause == causeSlow)
	c.keepsNothing()
	c.srv.remove(c)
}
