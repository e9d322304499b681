package tcpserver

import (
	"errors"
	"io"
	"net"
	"time"
)

// polled is a conn that a poller drives. The goroutine with the turn reads and
// writes; the rest of the work waits for an event. A polled connection has no
// goroutine, no buffer and no other memory than the conn.
//
// System calls on the socket need the connection's mutex. No call is made when life
// is dead, because the descriptor's number may then belong to another socket.
type polled conn

// Readiness bits record the state of a socket without a system call. Events report
// changes only, so a bit stays set until a read or a write has found that it is out
// of date.
const (
	canRead   uint32 = 1 << iota // input may be available
	canWrite                     // the socket accepts output again
	hangUp                       // the device has ended its direction: after each read there may be another
	urgent                       // the device has sent urgent data, and a read stops there: likewise
	gone                         // the connection was reset: nothing goes either way any more
	wantsRoom                    // conn.out waits for canWrite
)

// onReady handles an event of the poller. If no goroutine has the turn, the poller
// gets it, with the input that was available at that time.
func (c *conn) onReady(bits uint32) (at time.Time, turn bool) {
	before := c.ready.Or(bits)
	if bits == canWrite && before&wantsRoom == 0 {
		return at, false // the socket was writable before, too
	}
	if !c.turn.CompareAndSwap(turnIdle, turnRunning) {
		c.wantTurn()
		return at, false
	}
	at = c.srv.cfg.Now()
	c.readAhead(at)
	return at, true
}

// readAhead reads once before the turn. The last turn has handled all earlier
// input.
func (c *conn) readAhead(now time.Time) {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == open && c.cause == causeNone && !c.is(flagEnded) {
		c.takeInputLocked(now)
	}
}

// listen requests a turn if input was left in the socket for the budget and can be
// read now, because no event will report it again.
func (p *polled) listen() {
	c := (*conn)(p)
	if c.life == open && !p.listening() && c.cause == causeNone && !c.inputWaitsLocked() {
		c.wantTurn()
	}
}

func (p *polled) retryIO()        { p.ready.Or(canRead | canWrite) }
func (p *polled) pause()          {}
func (p *polled) listening() bool { return p.ready.Load()&canRead == 0 }

// read reads once from the socket. A read that does not fill its buffer was the
// last one, unless the device has ended its direction, because then the end of the stream
// remains, or has sent urgent data, because a read stops there. The kernel drops the one
// urgent byte itself.
func (p *polled) read() *inbound {
	if p.listening() {
		return nil
	}
	p.ready.And(^canRead) // before the read, so that an event during it counts
	in := takeLarge()
	n, err := p.srv.poll.sys.read(p.fd, in.buf)
	switch {
	case errors.Is(err, errWouldBlock):
		in.release()
		return nil
	case err != nil:
		in.err = err
	case n == 0:
		in.err = io.EOF
	default:
		in.n = n
		if n == len(in.buf) || p.ready.Load()&(hangUp|urgent) != 0 {
			p.ready.Or(canRead)
		}
	}
	return in
}

func (p *polled) reset() bool { return p.ready.Load()&gone != 0 }

func (p *polled) mayWrite() bool { return p.out == nil || p.ready.Load()&canWrite != 0 }

func (p *polled) write(o *outbound) (int, error) {
	p.ready.And(^(canWrite | wantsRoom)) // before the write, so that an event during it counts
	n, err := p.srv.poll.sys.write(p.fd, o.left())
	if errors.Is(err, errWouldBlock) {
		return n, nil
	}
	return n, err
}

// finish waits for an event. The timer bounds the wait.
func (p *polled) finish(o *outbound, now time.Time) {
	if o.stalledAt == 0 {
		o.stalledAt = p.srv.nanos(now) + int64(p.srv.cfg.WriteTimeout)
	}
	p.ready.Or(wantsRoom) // from now on canWrite requests a turn; an earlier event is seen by flushLocked
}

func (p *polled) closeWrite() { p.srv.poll.sys.closeWrite(p.fd) }

func (p *polled) close(reset bool) {
	if p.out != nil {
		(*conn)(p).dropOutputLocked()
	}
	p.srv.poll.releaseLocked((*conn)(p), reset)
}

func (p *polled) netConn() net.Conn { return nil }
