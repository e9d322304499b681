package tcpserver

import (
	"errors"
	"io"
	"net"
	"time"
)

// polled is a conn as its poller drives it: whoever has the turn reads and
// writes, and what is left to be done waits for an event. It costs no
// goroutine, no buffer and no other memory than the conn.
//
// All system calls on the socket are made with the connection's mutex held and
// none when life is dead, so that none can meet a number that belongs to another
// socket already.
type polled conn

// What is known of a socket without asking it. Events come when something
// changes, not again: a bit stays set until a read or a write has found that
// there is nothing more.
const (
	canRead   uint32 = 1 << iota // something may be there to read
	canWrite                     // the socket takes something again
	hangUp                       // the device has ended its direction: each read may be followed by another
	wantsRoom                    // conn.out waits for canWrite
)

// happened is the poller's word that something has changed. When nobody has the
// turn the poller gets it, with what there was to read at that time.
func (c *conn) happened(bits uint32) (at time.Time, turn bool) {
	before := c.ready.Or(bits)
	if bits == canWrite && before&wantsRoom == 0 {
		return at, false // it was never otherwise
	}
	if !c.turn.CompareAndSwap(turnIdle, turnRunning) {
		c.wantTurn()
		return at, false
	}
	at = c.srv.cfg.Now()
	c.readAhead(at)
	return at, true
}

// readAhead reads once before the turn. Whatever came before was told when the
// last turn ended.
func (c *conn) readAhead(now time.Time) {
	defer c.survive()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == open && c.cause == causeNone && !c.is(flagEnded) {
		c.takeInput(now)
	}
}

// listen asks for a turn when input was left where it is, for the budget, and
// need not be any more: no event will tell of it again.
func (p *polled) listen() {
	c := (*conn)(p)
	if c.life == open && !p.listening() && c.cause == causeNone && !c.inputWaits() {
		c.wantTurn()
	}
}

func (p *polled) look()           { p.ready.Or(canRead | canWrite) }
func (p *polled) pause()          {}
func (p *polled) listening() bool { return p.ready.Load()&canRead == 0 }

// read is one read of the socket. One that has not filled its buffer was the
// last, unless the device has ended its direction: then the end is still to be
// read.
func (p *polled) read() *inbound {
	if p.listening() {
		return nil
	}
	p.ready.And(^canRead) // before the read, so that an event meanwhile counts
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
		if n == len(in.buf) || p.ready.Load()&hangUp != 0 {
			p.ready.Or(canRead)
		}
	}
	return in
}

func (p *polled) mayWrite() bool { return p.out == nil || p.ready.Load()&canWrite != 0 }

func (p *polled) write(o *outbound) (int, error) {
	p.ready.And(^(canWrite | wantsRoom)) // before the write, so that an event meanwhile counts
	n, err := p.srv.poll.sys.write(p.fd, o.left())
	if errors.Is(err, errWouldBlock) {
		return n, nil
	}
	return n, err
}

// finish waits for an event; the timer bounds the wait.
func (p *polled) finish(o *outbound, now time.Time) {
	if o.stalledAt == 0 {
		o.stalledAt = p.srv.nanos(now) + int64(p.srv.cfg.WriteTimeout)
	}
	p.ready.Or(wantsRoom) // from here on canWrite asks for a turn; before, flush sees it
}

func (p *polled) closeWrite() { p.srv.poll.sys.closeWrite(p.fd) }

func (p *polled) close(reset bool) {
	if p.out != nil {
		(*conn)(p).dropOutput()
	}
	p.srv.poll.release((*conn)(p), reset)
}

func (p *polled) netConn() net.Conn { return nil }
