package tcpserver

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// turn is one goroutine's time with a connection.
type turn struct {
	place place
	left  int // events, or as much reading, until other connections get theirs
	// now is the time for what takes no time to speak of; zero = to be asked for.
	now time.Time
}

// place is where a turn runs, and so how long a call to the gateway may take.
type place uint8

const (
	onPoller place = iota // other connections wait for this one: no call that may wait
	onWorker              // brief waits
	onCaller              // any call
)

// callTime is how long the gateway may take over an event.
func callTime(e *protocol.Event) place {
	switch e.Kind {
	case protocol.KindRegister, protocol.KindData:
		return onCaller // it waits for the store
	case protocol.KindAck, protocol.KindStaleAck, protocol.KindAckTimeout:
		if !e.Ephemeral {
			return onWorker // it may wait while the store's queue is full
		}
	}
	return onPoller
}

// runTurn drives the connection until nothing is left to do. It runs on a
// worker, and never twice at a time for one connection.
func (c *conn) runTurn() {
	c.turn.Store(turnRunning)
	c.handleLeft()
	c.drive(onWorker)
}

// drive handles events one by one: under the mutex the session says what is
// next, without it the gateway is told. An event that may take longer than the
// place allows takes the rest of the turn to where it may.
func (c *conn) drive(where place) { c.driveFrom(turn{place: where, left: turnEvents}) }

// driveFrom goes on with a turn that has begun.
func (c *conn) driveFrom(t turn) {
	for {
		e, ok := c.step(&t)
		if !ok {
			return
		}
		if needs := callTime(&e); needs <= t.place {
			c.handle(e, t.now)
			if needs > onPoller {
				t.now = time.Time{} // it may have waited
			}
		} else if !c.handledAtOnce(&e, t.now) {
			c.leave(&e, needs)
			return
		}
	}
}

// handledAtOnce handles an event that may take long when this time it need not:
// an ack, as long as the store's queue has room.
func (c *conn) handledAtOnce(e *protocol.Event, now time.Time) bool {
	if e.Kind != protocol.KindAck {
		return false
	}
	defer c.survive()
	return c.gw.TryAcked(gateway.Seq(e.Seq), gateway.AckCode(e.Code), e.Payload, now)
}

// leave passes the turn on, with the event that it goes on with. Nothing is
// read while that waits for the store.
func (c *conn) leave(e *protocol.Event, to place) {
	c.left = leftEvents.Get().(*protocol.Event)
	*c.left = *e
	if to == onWorker {
		c.yieldTurn()
		return
	}
	c.mu.Lock()
	c.tr.pause()
	c.mu.Unlock()
	c.srv.callers.push(c)
}

var leftEvents = sync.Pool{New: func() any { return new(protocol.Event) }}

// handleLeft handles the event that the turn was left with, if there is one.
func (c *conn) handleLeft() {
	if c.left == nil {
		return
	}
	e := *c.left
	*c.left = protocol.Event{}
	leftEvents.Put(c.left)
	c.left = nil
	c.handle(e, c.srv.cfg.Now())
}

// yieldTurn ends a turn before its end.
func (c *conn) yieldTurn() {
	c.turn.Store(turnQueued)
	c.srv.workers.push(c)
}

// driveSlowly goes on with a turn where waiting hurts nobody.
func (c *conn) driveSlowly() {
	c.handleLeft()
	c.drive(onCaller)
}

// step returns the next event. When there is none the turn is over, and the
// timer is armed and reading goes on; or others are due, and it goes on later.
func (c *conn) step(t *turn) (e protocol.Event, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			c.yieldTurn()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for t.left > 0 {
		c.turn.CompareAndSwap(turnAgain, turnRunning)
		if t.now.IsZero() {
			t.now = c.srv.cfg.Now()
		}
		now := t.now
		if e, ok := c.nextEvent(now, t); ok {
			t.left--
			if e.Kind == protocol.KindSent {
				c.messagesOut++
			}
			return e, true
		}
		if t.left <= 0 {
			break
		}
		c.rest(now)
		if c.turn.CompareAndSwap(turnRunning, turnIdle) {
			return protocol.Event{}, false
		}
		t.now = time.Time{} // something came meanwhile
	}
	c.yieldTurn()
	return protocol.Event{}, false
}

// nextEvent is what the gateway has to be told next. Input is taken when all
// that came before is told. Output is written when nothing else is to be done,
// so that what belongs together leaves together, and before a wait. c.mu is held.
func (c *conn) nextEvent(now time.Time, t *turn) (protocol.Event, bool) {
	if c.is(flagEnded) {
		return protocol.Event{}, false
	}
	if c.cause == causePanic {
		return protocol.Event{Kind: protocol.KindClosed, Close: protocol.Close{Reason: reasonInternal}}, true
	}
	for {
		if e, ok := c.proto.Next(); ok {
			if callTime(&e) == onCaller || e.Kind == protocol.KindClosed {
				c.flush(now)
			}
			return e, true
		}
		if t.left > 0 && c.takeInput(now) {
			t.left -= eventsPerRead
			continue
		}
		if c.listensFirst(now) {
			continue
		}
		c.advance(now)
		c.flush(now)
		if e, ok := c.proto.Next(); ok {
			return e, true
		}
		return c.ownEvent(now)
	}
}

// ownEvent is what follows from the driver's own bounds and not from the
// protocol. c.mu is held.
func (c *conn) ownEvent(now time.Time) (protocol.Event, bool) {
	if c.is(flagWantWritable) && c.held() <= c.srv.cfg.OutputBudget/2 {
		c.flags &^= flagWantWritable
		return protocol.Event{Kind: protocol.KindWritable}, true
	}
	if c.unpaced(now) {
		return protocol.Event{Kind: protocol.KindWritable}, true
	}
	if c.expires != 0 && c.srv.nanos(now) >= c.expires.nanos() {
		c.expires = 0
		c.proto.Close(now, credentialsExpired())
		c.flush(now)
		return c.proto.Next()
	}
	if c.is(flagDraining) && c.proto.InFlight() == 0 {
		c.flags &^= flagDraining
		c.proto.Close(now, c.srv.farewell())
		c.flush(now)
		return c.proto.Next()
	}
	return protocol.Event{}, false
}

// listensFirst puts off what silence would mean when a deadline is seen much
// too late, for this process was stalled, or when input was left where it is:
// then what has come meanwhile is read first. c.mu is held.
func (c *conn) listensFirst(now time.Time) bool {
	t, ok := c.proto.Deadline()
	if !ok || now.Before(t) || c.hold != 0 || !c.mayHaveMissedInput(now, t) {
		return false
	}
	c.hold = c.srv.nanos(now) + int64(lateness)
	c.tr.look()
	return true
}

// mayHaveMissedInput reports whether the device's silence, judged at a deadline
// that was due at t, may be ours. c.mu is held.
func (c *conn) mayHaveMissedInput(now, t time.Time) bool {
	if c.cause != causeNone || now.Sub(c.proto.LastReceived()) < 2*lateness {
		return false
	}
	return now.Sub(t) > lateness || !c.tr.listening()
}

// advance tells the session the time when a deadline is due. c.mu is held.
func (c *conn) advance(now time.Time) {
	ns := c.srv.nanos(now)
	c.judgeWriting(ns, now)
	if t, ok := c.proto.Deadline(); !ok || now.Before(t) || ns < c.hold {
		return
	}
	c.hold = 0
	c.proto.Advance(now)
}

// judgeWriting ends the connection when its socket has taken nothing for too
// long, also now. c.mu is held.
func (c *conn) judgeWriting(ns int64, now time.Time) {
	if !c.stalled(ns) {
		return
	}
	c.tr.look()
	if c.flush(now); c.stalled(ns) {
		c.tooSlow(now)
	}
}

func (c *conn) stalled(ns int64) bool {
	return c.out != nil && c.out.stalledAt != 0 && c.out.stalledAt <= ns
}

// rest ends a turn: everything is told. c.mu is held.
func (c *conn) rest(now time.Time) {
	if c.life == open && c.is(flagEnded) {
		c.linger(now)
	}
	if c.life == lingering {
		c.flush(now)
		c.discardInput()
	}
	if c.life == lingering && c.lingered(now) {
		c.shut()
	}
	if c.life == dead {
		return
	}
	c.tr.listen()
	c.rearm()
}

// linger begins the end of the socket: last words are flushed, and a device
// that was written to lately gets a moment to read them. c.mu is held.
func (c *conn) linger(now time.Time) {
	c.life = lingering
	c.armed, c.paid = 0, 0
	c.hold = c.srv.nanos(now)
	lately := c.lastOut > 0 && c.hold-c.lastOut < int64(c.srv.cfg.LingerTimeout)
	if c.out != nil || lately && !c.is(flagGoodbye) {
		c.hold += int64(c.srv.cfg.LingerTimeout)
	}
}

// lingered reports whether the socket can be closed. c.mu is held.
func (c *conn) lingered(now time.Time) bool {
	if c.cause != causeNone || c.srv.nanos(now) >= c.hold {
		return true
	}
	if c.out == nil && !c.is(flagHalfClosed) {
		c.flags |= flagHalfClosed
		c.tr.closeWrite()
	}
	return false
}

// handle tells the gateway of one event. No lock is held.
func (c *conn) handle(e protocol.Event, now time.Time) {
	defer c.survive()
	seq := gateway.Seq(e.Seq)
	switch e.Kind {
	case protocol.KindRegister:
		c.register(e.Register)
	case protocol.KindData:
		c.uplink(e)
	case protocol.KindSent:
		c.gw.Sent(seq, e.Ephemeral, now)
	case protocol.KindAck:
		c.gw.Acked(seq, e.Ephemeral, gateway.AckCode(e.Code), e.Payload, now)
	case protocol.KindStaleAck:
		c.staleAck(e, now)
	case protocol.KindAckTimeout:
		c.gw.AckTimeout(seq, e.Ephemeral)
	case protocol.KindWritable:
		c.gw.Writable()
	case protocol.KindMalformed:
		c.srv.stats.malformed.Add(1)
	case protocol.KindClosed:
		c.ended(e.Close)
	}
}

// staleAck counts an ack for nothing in the window. The gateway may still know
// the delivery: the ack is late, or its EPHEMERAL flag differs from the
// delivery's. A late answer that is no verdict changes nothing there.
func (c *conn) staleAck(e protocol.Event, now time.Time) {
	seq := gateway.Seq(e.Seq)
	kind := staleOther
	if e.OtherSpace {
		kind = staleFlagMissing
		if e.Ephemeral {
			kind = staleFlagExtra
		}
	}
	c.srv.stats.staleAcks.add(kind)
	if e.Code == protocol.AckSend || e.Code == protocol.AckWorking {
		return
	}
	c.gw.Acked(seq, e.Ephemeral, gateway.AckCode(e.Code), e.Payload, now)
	if e.OtherSpace {
		c.gw.AckedOther(seq, e.Ephemeral)
	}
}

// uplink stores a payload and acks it when it is safe. When the store cannot
// say, the device is asked to send it again later.
func (c *conn) uplink(e protocol.Event) {
	code := protocol.AckOK
	if err := c.gw.Received(c.srv.callContext(), e.Seq, e.Payload); err != nil {
		code = protocol.AckRetry
		if gateway.CodeOf(err) == gateway.CodeValidation {
			code = protocol.AckReject
		}
		c.srv.log.Debug("uplink not stored", "remote", c.remote, "id", e.Seq, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messagesIn++
	if c.cause == causePanic {
		return
	}
	ack := c.proto.AckData
	if e.Ephemeral {
		ack = c.proto.AckEphemeral
	}
	// The only errors are of a session that has closed or is not registered:
	// then the device sends again.
	_ = ack(time.Now(), e.Seq, code, nil)
}

// ended tells the gateway, once, that the connection is no more.
func (c *conn) ended(why protocol.Close) {
	c.mu.Lock()
	c.flags |= flagEnded
	c.flags &^= flagWantWritable | flagDraining
	if why.Remote {
		c.flags |= flagGoodbye
	}
	gw, dialect := c.gw, c.dialect
	registered := c.is(flagRegistered)
	c.mu.Unlock()

	c.srv.stats.closed.add(why.Reason)
	if registered {
		c.srv.stats.online[dialect].Add(-1)
	}
	if gw != nil {
		gw.Closed(why.Reason)
	}
	c.srv.log.Debug("connection ended", "remote", c.remote, "reason", why.Reason, "code", int(why.Code))
}

// survive ends this connection, and it alone, when handling it has panicked.
// It is deferred before c.mu is locked, so that it runs after the unlock.
func (c *conn) survive() {
	if v := recover(); v != nil {
		c.panicked(v)
	}
}

func (c *conn) panicked(v any) {
	c.srv.stats.panics.Add(1)
	c.srv.log.Error("panic on a connection; it is closed", "remote", c.remote, "panic", v, "stack", string(debug.Stack()))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(causePanic)
}
