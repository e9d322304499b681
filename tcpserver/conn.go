package tcpserver

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
)

// conn is one socket and the protocol session on it: 256 bytes and the session (a
// test checks that). mu guards the fields below it; their order leaves no holes.
// The caller of a method whose name ends in Locked holds c.mu.
//
// Lock order: a gateway session's lock, then conn.mu, then the locks of the worker
// queue, the wheel and the server. No goroutine calls the gateway with conn.mu
// held.
type conn struct {
	// Fixed after construction.
	srv    *Server
	remote address

	life    lifeState        // how far the connection has ended; mu guards it and the next five
	cause   causeOfEnd       // why it must end, causeNone while it need not
	flags   connFlags        //
	dialect protocol.Dialect // under which it counts as online
	pauses  uint8            // successive pauses for sending too fast
	counted countedKinds     // kinds of memory that are counted for it

	prev, next *conn           // guarded by the server's mutex
	nextTurn   *conn           // guarded by the mutex of its worker queue
	handedOff  *protocol.Event // first event of a turn that moved to another goroutine; owned by the turn
	turn       atomic.Uint32   // a turnState: whether a goroutine drives the session
	ready      atomic.Uint32   // readiness bits from a poller; 0 without a poller

	timer wheel.Timer

	mu                      sync.Mutex
	tr                      transport
	fd                      int32  // of a polled connection; startLocked fixes it
	generation              uint32 // distinguishes it from other connections with the same fd; startLocked fixes it
	proto                   *protocol.Session
	gw                      session   // nil until registered
	out                     *outbound // output that the socket has not taken; nil for none
	armed                   int64     // when the timer fires; 0 = not armed. It and the next three are in the server's nanoseconds
	quietUntil              int64     // before it no deadline counts as missed; lingerUntil at the end
	lastOut                 int64     // when the socket last took output
	paceUntil               int64     // when the deliveries will be paid for (outrate.go); discarded at the end
	bytesIn                 uint64
	bytesOut                uint64
	messagesIn, messagesOut uint64
	expires                 tenths // when the credentials expire; 0 = never
	debt                    micros // time by which its input exceeds the rates, as of the last input. See inrate.go
}

// Turn states. A connection is in a worker queue at most once, and at most one
// goroutine drives it. A change during its turn makes that goroutine look again.
const (
	turnIdle uint32 = iota
	turnQueued
	turnRunning
	turnAgain
)

type lifeState uint8

const (
	open      lifeState = iota
	lingering           // ended for the gateway; the last output is on its way
	dead                // socket closed
)

type causeOfEnd uint8

const (
	causeNone     causeOfEnd = iota
	causePeerGone            // end of file or a socket error: no more output
	causeSlow                // the device has read nothing for WriteTimeout
	causePanic               // a bug in handling this connection: its session must not be used again
)

type connFlags uint8

const (
	flagRegistered   connFlags = 1 << iota // the session was accepted
	flagWantWritable                       // the output budget refused a delivery
	flagEnded                              // the gateway got the end of the connection, or is about to get it
	flagHalfClosed                         // the socket's sending direction is shut down
	flagDraining                           // close when no delivery is in flight
	flagGoodbye                            // the device closed the connection and expects no output
	flagThrottled                          // reading pauses because the device sends too fast
	flagPaced                              // the delivery rates refused a delivery
)

func (c *conn) is(f connFlags) bool { return c.flags&f != 0 }

// A lingering connection needs neither quietUntil nor paceUntil. The two words then
// have other names, because fields of their own would make the conn larger.

// lingerUntil is when the socket is closed at the latest, in the server's nanoseconds.
func (c *conn) lingerUntil() *int64 { return &c.quietUntil }

// discarded counts the bytes that were read since the connection began to linger.
func (c *conn) discarded() *int64 { return &c.paceUntil }

// newConn makes a connection without a socket, which startLocked gives it.
func newConn(s *Server, remote netip.AddrPort, now time.Time) *conn {
	c := &conn{srv: s, remote: addressOf(remote)}
	c.proto = protocol.NewServer(&s.cfg.Protocol, now)
	s.cfg.Wheel.Init(&c.timer, c)
	return c
}

// startLocked takes over nc, begins to read, and arms the registration deadline.
func (c *conn) startLocked(nc net.Conn) {
	if c.srv.poll != nil && c.srv.poll.adoptLocked(c, nc) {
		c.tr = (*polled)(c)
	} else {
		c.tr = newStream(c, netConnOf(nc))
	}
	c.rearmLocked()
	c.tr.listen()
}

// Fire implements wheel.Firer: a deadline may have passed.
func (c *conn) Fire(time.Time) {
	c.mu.Lock()
	c.armed = 0
	c.mu.Unlock()
	c.wantTurn()
}

// wantTurn requests a turn after a change. The caller may hold c.mu.
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
		default: // already queued, or the running turn will look again
			return
		}
	}
}

// deadlineLocked returns the next time at which a turn has work; ok is false for
// none.
func (c *conn) deadlineLocked() (at int64, ok bool) {
	if c.life == lingering {
		return *c.lingerUntil(), true
	}
	if c.is(flagEnded) {
		return 0, false
	}
	at = math.MaxInt64
	if t, due := c.proto.Deadline(); due {
		at = max(c.srv.nanos(t), c.quietUntil)
	}
	if c.out != nil && c.out.stalledAt != 0 {
		at = min(at, c.out.stalledAt)
	}
	if c.expires != 0 {
		at = min(at, c.expires.nanos())
	}
	if c.is(flagThrottled) {
		at = min(at, c.readsAgainAtLocked())
	}
	if c.is(flagPaced) {
		at = min(at, c.deliversAgainAtLocked())
	}
	return at, at != math.MaxInt64
}

// rearmLocked arms the timer if the next deadline is earlier than the armed one. A
// later deadline needs no call to the wheel: when the timer fires, the turn arms it
// again.
func (c *conn) rearmLocked() {
	at, ok := c.deadlineLocked()
	if c.life == dead || !ok || c.armed != 0 && c.armed <= at {
		return
	}
	c.armed = at
	c.srv.cfg.Wheel.Schedule(&c.timer, c.srv.instant(at))
}

// heldLocked returns how many bytes of output are in memory.
func (c *conn) heldLocked() int {
	n := c.proto.Buffered()
	if c.out != nil {
		n += len(c.out.left())
	}
	return n
}

// outputMemoryLocked returns how much memory the output takes that heldLocked counts. It is
// more: a buffer has room to grow, and keeps what the socket has taken until it takes all.
func (c *conn) outputMemoryLocked() int {
	n := c.proto.OutputMemory()
	if c.out != nil {
		n += cap(c.out.buf)
	}
	return n
}

// failLocked notes why the connection must end and requests the turn that ends it.
func (c *conn) failLocked(why causeOfEnd) {
	if c.cause == causeNone || why == causePanic {
		c.cause = why
	}
	c.wantTurn()
}

// closeSocketLocked closes the socket. That wakes the goroutines that wait on it.
func (c *conn) closeSocketLocked() {
	if c.life == dead {
		return
	}
	c.life = dead
	c.srv.cfg.Wheel.Cancel(&c.timer)
	c.tr.close(c.cause == causeSlow)
	c.uncountMemoryLocked()
	c.srv.remove(c)
}
