package tcpserver

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// turn is the time in which one goroutine drives a connection.
type turn struct {
	runner runner
	budget int // events, or the same cost in reads, until other connections have their turns
	// now caches the clock for work that takes almost no time; zero means to read
	// it again.
	now time.Time
}

// runner is the kind of goroutine that runs a turn. It bounds how long a call to
// the gateway may take.
type runner uint8

const (
	onPoller runner = iota // other connections wait for this goroutine: no call that may wait
	onWorker               // short waits
	onCaller               // any call
)

// runnerFor returns the kind of goroutine that the gateway's handling of an event
// needs.
func runnerFor(e *protocol.Event) runner {
	switch e.Kind {
	case protocol.KindRegister, protocol.KindData:
		return onCaller // waits for the store
	case protocol.KindAck, protocol.KindStaleAck, protocol.KindAckTimeout:
		if !e.Ephemeral {
			return onWorker // may wait while the store's queue is full
		}
	}
	return onPoller
}

// runTurn drives the connection until it has no more work. Workers call it, for one
// connection one at a time.
func (c *conn) runTurn() {
	c.turn.Store(turnRunning)
	c.handleHandedOff()
	c.drive(onWorker)
}

// drive handles events one by one: it takes each from the session under the mutex,
// and passes it to the gateway without it. If an event needs another kind of
// goroutine, drive hands the turn off.
func (c *conn) drive(where runner) { c.driveFrom(turn{runner: where, budget: turnEvents}) }

// driveFrom continues a turn.
func (c *conn) driveFrom(t turn) {
	for {
		e, ok := c.step(&t)
		if !ok {
			return
		}
		if needs := runnerFor(&e); needs <= t.runner {
			c.handle(e, t.now)
			if needs > onPoller {
				t.now = time.Time{} // the call may have waited
			}
		} else if !c.tryInline(&e, t.now) {
			c.handOff(&e, needs)
			return
		}
	}
}

// tryInline handles an event that may take long without waiting if it can: an ack,
// while the store's queue has room.
func (c *conn) tryInline(e *protocol.Event, now time.Time) bool {
	if e.Kind != protocol.KindAck {
		return false
	}
	defer c.recoverPanic()
	return c.gw.TryAcked(gateway.Seq(e.Seq), gateway.AckCode(e.Code), e.Payload, now)
}

// handOff passes the turn, which begins with event e, to another kind of goroutine.
// Reading pauses while that waits for the store.
func (c *conn) handOff(e *protocol.Event, to runner) {
	c.handedOff = handedOffEvents.Get().(*protocol.Event)
	*c.handedOff = *e
	if to == onWorker {
		c.yieldTurn()
		return
	}
	c.mu.Lock()
	c.tr.pause()
	c.mu.Unlock()
	c.srv.callers.push(c)
}

var handedOffEvents = sync.Pool{New: func() any { return new(protocol.Event) }}

// handleHandedOff handles the event with which the turn was handed off, if there is
// one.
func (c *conn) handleHandedOff() {
	if c.handedOff == nil {
		return
	}
	e := *c.handedOff
	*c.handedOff = protocol.Event{}
	handedOffEvents.Put(c.handedOff)
	c.handedOff = nil
	c.handle(e, c.srv.cfg.Now())
}

// yieldTurn requeues the turn before its work is done.
func (c *conn) yieldTurn() {
	c.turn.Store(turnQueued)
	c.srv.workers.push(c)
}

// driveOnCaller continues a turn on a goroutine that may wait.
func (c *conn) driveOnCaller() {
	c.handleHandedOff()
	c.drive(onCaller)
}

// step returns the next event. Without one the turn is over: step arms the timer
// and resumes reading, or requeues the turn after its share of events.
func (c *conn) step(t *turn) (e protocol.Event, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			c.yieldTurn()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for t.budget > 0 {
		c.turn.CompareAndSwap(turnAgain, turnRunning)
		if t.now.IsZero() {
			t.now = c.srv.cfg.Now()
		}
		now := t.now
		if e, ok := c.nextEventLocked(now, t); ok {
			t.budget--
			if e.Kind == protocol.KindSent {
				c.messagesOut++
			}
			return e, true
		}
		if t.budget <= 0 {
			break
		}
		c.endTurnLocked(now)
		if c.turn.CompareAndSwap(turnRunning, turnIdle) {
			return protocol.Event{}, false
		}
		t.now = time.Time{} // a change came during the turn
	}
	c.yieldTurn()
	return protocol.Event{}, false
}

// nextEventLocked returns the next event for the gateway. It takes input when all
// earlier events are handled. It writes output before a wait and when no event is
// left, so that related output leaves in one write.
func (c *conn) nextEventLocked(now time.Time, t *turn) (protocol.Event, bool) {
	if c.is(flagEnded) {
		return protocol.Event{}, false
	}
	if c.cause == causePanic {
		return protocol.Event{Kind: protocol.KindClosed, Close: protocol.Close{Reason: reasonInternal}}, true
	}
	for {
		if e, ok := c.proto.Next(); ok {
			if runnerFor(&e) == onCaller || e.Kind == protocol.KindClosed {
				c.flushLocked(now)
			}
			return e, true
		}
		if t.budget > 0 && c.takeInputLocked(now) {
			t.budget -= eventsPerRead
			continue
		}
		if c.readBeforeTimeoutLocked(now) {
			continue
		}
		c.advanceLocked(now)
		c.flushLocked(now)
		if e, ok := c.proto.Next(); ok {
			return e, true
		}
		return c.ownEventLocked(now)
	}
}

// ownEventLocked returns an event of the driver's own limits instead of the
// protocol's.
func (c *conn) ownEventLocked(now time.Time) (protocol.Event, bool) {
	if c.is(flagWantWritable) && c.heldLocked() <= c.roomAgainLocked() {
		c.flags &^= flagWantWritable
		return protocol.Event{Kind: protocol.KindWritable}, true
	}
	if c.paceEndedLocked(now) {
		return protocol.Event{Kind: protocol.KindWritable}, true
	}
	if c.expires != 0 && c.srv.nanos(now) >= c.expires.nanos() {
		c.expires = 0
		c.proto.Close(credentialsExpired())
		c.flushLocked(now)
		return c.proto.Next()
	}
	if c.is(flagDraining) && c.proto.InFlight() == 0 {
		c.flags &^= flagDraining
		c.proto.Close(c.srv.shutdownClose())
		c.flushLocked(now)
		return c.proto.Next()
	}
	return protocol.Event{}, false
}

// roomAgainLocked returns the bytes in memory from which on down Deliver is asked for
// more: half of the budget, or less if the largest delivery would not fit then.
func (c *conn) roomAgainLocked() int {
	budget := c.srv.cfg.OutputBudget
	return max(0, min(budget/2, budget-c.proto.MaxPayload()))
}

// readBeforeTimeoutLocked postpones an expired deadline if this process was stalled
// or input is unread. The turn then reads first, so that a live device is not
// declared dead. It postpones once, for a registered device until that has taken enough
// output for the server to read again; WriteTimeout bounds that.
func (c *conn) readBeforeTimeoutLocked(now time.Time) bool {
	t, ok := c.proto.Deadline()
	if !ok || now.Before(t) || !c.mayHaveMissedInputLocked(now, t) {
		return false
	}
	blocked := c.is(flagRegistered) && c.out != nil && c.inputWaitsLocked()
	if c.quietUntil != 0 && (!blocked || c.srv.nanos(now) < c.quietUntil) {
		return false
	}
	c.quietUntil = c.srv.nanos(now) + int64(lateness)
	c.tr.retryIO()
	return true
}

// mayHaveMissedInputLocked reports whether a device that seems silent at a
// deadline, due at t, may have sent unread input.
func (c *conn) mayHaveMissedInputLocked(now, t time.Time) bool {
	if c.cause != causeNone || now.Sub(c.proto.LastReceived()) < 2*lateness {
		return false
	}
	return now.Sub(t) > lateness || !c.tr.listening()
}

// advanceLocked advances the session's clock when a deadline is due.
func (c *conn) advanceLocked(now time.Time) {
	ns := c.srv.nanos(now)
	c.checkStalledLocked(ns, now)
	if t, ok := c.proto.Deadline(); !ok || now.Before(t) || ns < c.quietUntil {
		return
	}
	c.quietUntil = 0
	c.proto.Advance(now)
}

// checkStalledLocked ends the connection if its socket has taken no output for too
// long and takes none now.
func (c *conn) checkStalledLocked(ns int64, now time.Time) {
	if !c.stalledLocked(ns) {
		return
	}
	c.tr.retryIO()
	if c.flushLocked(now); c.stalledLocked(ns) {
		c.tooSlowLocked()
	}
}

func (c *conn) stalledLocked(ns int64) bool {
	return c.out != nil && c.out.stalledAt != 0 && c.out.stalledAt <= ns
}

// endTurnLocked ends a turn whose events are all handled.
func (c *conn) endTurnLocked(now time.Time) {
	if c.life == open && c.is(flagEnded) {
		c.lingerLocked(now)
	}
	if c.life == lingering {
		c.flushLocked(now)
		c.discardInputLocked()
	}
	if c.life == lingering && c.lingeredLocked(now) {
		c.closeSocketLocked()
	}
	if c.life == dead {
		return
	}
	c.tr.listen()
	c.rearmLocked()
}

// lingerLocked begins to close the socket. The last output is flushed, and a device
// that got output lately has a moment to read it.
func (c *conn) lingerLocked(now time.Time) {
	c.life = lingering
	c.armed, *c.discarded() = 0, 0
	until := c.srv.nanos(now)
	lately := c.lastOut > 0 && until-c.lastOut < int64(c.srv.cfg.LingerTimeout)
	if c.out != nil || lately && !c.is(flagGoodbye) {
		until += int64(c.srv.cfg.LingerTimeout)
	}
	*c.lingerUntil() = until
}

// lingeredLocked reports whether the socket can be closed.
func (c *conn) lingeredLocked(now time.Time) bool {
	if c.cause != causeNone || c.srv.nanos(now) >= *c.lingerUntil() {
		return true
	}
	if c.out == nil && !c.is(flagHalfClosed) {
		c.flags |= flagHalfClosed
		c.tr.closeWrite()
	}
	return false
}

// handle passes one event to the gateway. The caller holds no lock.
func (c *conn) handle(e protocol.Event, now time.Time) {
	defer c.recoverPanic()
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
	case protocol.KindSuspect:
		c.gw.Suspect()
	case protocol.KindAlive:
		c.gw.Alive(e.RTT)
	case protocol.KindMalformed:
		c.srv.stats.malformed.Add(1)
		c.noteUnnamed(&e)
	case protocol.KindClosed:
		c.noteUnnamed(&e)
		c.ended(e.Close)
	}
}

// staleAck counts an ack for no delivery in the window. The gateway may still know
// the delivery: the ack is late, or its EPHEMERAL flag differs from the delivery's.
// A late answer without a verdict changes nothing there.
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

// uplink stores a payload and acks it when it is durable. If the store cannot
// answer, the ack asks the device to send it again later.
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
	// Errors mean that the session has closed or is not registered. Then the device
	// sends again.
	_ = ack(time.Now(), e.Seq, code, nil)
}

// ended reports the end of the connection to the gateway, once.
func (c *conn) ended(why protocol.Close) {
	c.mu.Lock()
	c.flags |= flagEnded
	c.flags &^= flagWantWritable | flagDraining
	if why.Remote {
		c.flags |= flagGoodbye
	}
	gw, dialect := c.gw, c.dialect
	registered := c.is(flagRegistered)
	stranger := why.Code == protocol.CloseProtocol && c.proto.Unspoken()
	c.mu.Unlock()

	c.srv.stats.closed.add(why.Reason)
	if registered {
		c.srv.stats.online[dialect].Add(-1)
	}
	if gw != nil {
		c.observeClosed(why.Reason)
		gw.Closed(why.Reason)
	}
	if stranger {
		c.srv.logStranger(c.remote.AddrPort(), why.Reason, why.Text)
	}
	c.srv.log.Debug("connection ended", "remote", c.remote, "reason", why.Reason, "code", int(why.Code))
}

// recoverPanic ends this connection, and no other, after a panic in its handling.
// It must be deferred before c.mu is locked, so that it runs after the unlock.
func (c *conn) recoverPanic() {
	if v := recover(); v != nil {
		c.panicked(v)
	}
}

func (c *conn) panicked(v any) {
	c.srv.stats.panics.Add(1)
	c.srv.log.Error("panic on a connection; it is closed", "remote", c.remote, "panic", v, "stack", string(debug.Stack()))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(causePanic)
}
