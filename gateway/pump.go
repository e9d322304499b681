package gateway

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// pumpBytes bounds the payload bytes that one step takes from the store.
const pumpBytes = 256 << 10

// markFresh notes that the store has new transmissions for the session. It reports
// whether to pump the session.
func (s *Session) markFresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags |= flagFresh
	return s.flags.flowing()
}

// step is one action of the pump.
type step struct {
	kind         stepKind
	transmission Transmission // of stepUrgent
	repeat       inflight     // of stepRepeat: the entry before the step
	forget       Seq          // of stepForget
	room         int          // of stepMail and stepFresh
}

type stepKind uint8

const (
	stepNone   stepKind = iota
	stepUrgent          // hand an online delivery to the link; it is in the window already
	stepRepeat          // send seq again
	stepForget          // drop a final delivery from the link's window
	stepMail            // send up to room transmissions of the mailbox
	stepFresh           // take up to room new transmissions from the store
	stepPause           // send no first transmission for settlePause
)

// Pauses of first transmissions: settlePause waits for verdicts to become
// durable, finalPause for a final state. A final state that becomes durable ends
// the pause early.
const (
	settlePause = 5 * time.Millisecond
	finalPause  = time.Second
)

// pump hands deliveries to the link: online deliveries first, because a caller
// waits for them, then repeats, then new ones. It runs on one goroutine at a time
// per session, so first transmissions stay in order. It reports whether the link
// took something that Flush must follow.
func (s *Session) pump() (flush bool) {
	for more := true; more; {
		next := s.nextStep()
		sent := false
		switch next.kind {
		case stepNone:
			return flush
		case stepUrgent:
			sent, more = s.sendUrgent(next.transmission)
		case stepRepeat:
			sent, more = s.sendRepeat(next.repeat)
		case stepForget:
			s.link.Forget(next.forget, false)
		case stepMail:
			sent, more = s.sendMail(next.room)
		case stepFresh:
			sent, more = s.sendFresh(next.room)
		case stepPause:
			s.g.cfg.After(settlePause, s.resume)
		}
		flush = flush || sent
	}
	return flush
}

// nextStep chooses the next step. Repeats already have a place in the window, so
// they leave while first transmissions wait for room.
func (s *Session) nextStep() step {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.flags.flowing() {
		return step{}
	}
	if w := s.work; w != nil {
		if seq := s.toForgetLocked(); seq != 0 {
			return step{kind: stepForget, forget: seq}
		}
		free := s.linkRoomLocked() > 0
		if free && w.urgent.head != nil {
			return step{kind: stepUrgent, transmission: s.enterUrgentLocked()}
		}
		if f := s.nextDueLocked(free); f != nil {
			was := *f
			f.stage, f.flags = stageOut, f.flags&^(flightAway|flightAsked|flightStalled)
			return step{kind: stepRepeat, repeat: was}
		}
	}
	mail := s.hasMailLocked()
	if room := s.roomLocked(); room > 0 && (mail || s.flags.has(flagFresh)) && !s.flags.has(flagHeld) && !s.askingLocked() {
		if room = min(room, s.undurableRoomLocked()); room <= 0 {
			s.flags |= flagHeld
			return step{kind: stepPause}
		}
		if mail { // its transmissions come before those in the store
			return step{kind: stepMail, room: room}
		}
		// Cleared before the store is read. A goroutine that adds transmissions sets it
		// again.
		s.flags = s.flags&^flagFresh | flagReading
		return step{kind: stepFresh, room: room}
	}
	return step{}
}

// undurableRoomLocked is how many first transmissions may leave until the
// client's undurable verdicts and unanswered deliveries reach their bound; see
// Store.Undurable.
func (s *Session) undurableRoomLocked() int {
	n, bytes := s.g.store.Undurable(s.client)
	if bytes >= MaxUndurableBytes {
		return 0
	}
	return MaxUndurable - n - s.liveLocked()
}

// resume ends a pause of first transmissions, if there is one.
func (s *Session) resume() {
	s.mu.Lock()
	held := s.releaseLocked()
	s.mu.Unlock()
	s.wakeIf(held)
}

// reopened marks the session to read the store, which failed and is open again, and makes
// the repeats due that were put off. The verdicts that the store does not have may be lost,
// so that their deliveries are sent again. It reports whether to pump the session.
func (s *Session) reopened() (pump bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags |= flagFresh
	pump = s.releaseLocked()
	if s.work == nil {
		return pump
	}
	for _, f := range slices.Clone(s.work.answered) {
		s.settledLocked(f.seq)
		s.againLocked(f, stageDue)
	}
	if s.work == nil {
		return pump
	}
	for i := range s.work.flight {
		if f := &s.work.flight[i]; f.is(flightStalled) && !f.gone() {
			f.stage, pump = stageDue, true
		}
	}
	return pump
}

// releaseLocked ends a pause and reports whether there was one.
func (s *Session) releaseLocked() (held bool) {
	held = s.flags.has(flagHeld)
	s.flags &^= flagHeld
	return held
}

// enterUrgentLocked puts the first waiting call into the window and returns a
// copy of its transmission: once the call is in the window, its caller may
// withdraw it and use it again.
func (s *Session) enterUrgentLocked() Transmission {
	call := s.work.urgent.pop()
	call.entered = true
	n := s.numberingLocked()
	n.local++
	s.enterLocked(inflight{seq: n.local, message: call.message, call: call})
	return Transmission{Message: call.message, Seq: n.local, Payload: call.payload, Ephemeral: true}
}

// sendUrgent hands an online delivery to the link. Like its siblings it reports
// whether the link took something and whether it may take more.
func (s *Session) sendUrgent(p Transmission) (sent, more bool) {
	err := s.link.Deliver(p)
	if err == nil {
		return true, true
	}
	s.mu.Lock()
	// Only the goroutine that removes a call from the window replies to it: the
	// session may have ended, or the caller withdrawn the call, since.
	var call *OnlineCall
	if f := s.findLocked(p.Seq, true); f != nil {
		call = f.call
		s.dropLocked(f)
		if call.entered = false; retryable(err) {
			s.busyLocked().urgent.pushFront(call)
		}
	}
	s.mu.Unlock()
	if retryable(err) {
		return false, false
	}
	if call != nil {
		call.refused(err)
	}
	return false, true
}

// sendRepeat sends a delivery again; was is its entry before nextStep chose it.
func (s *Session) sendRepeat(was inflight) (sent, more bool) {
	seq := was.seq
	if int(was.attempts) >= s.g.cfg.MaxAttempts {
		s.giveUp(was, ReasonAttemptsUsedUp)
		return false, true
	}
	p, ok, err := s.g.store.Transmission(s.client, seq)
	switch {
	case err != nil:
		s.laterAgain(was)
		return false, false
	case !ok: // it became final since nextStep
		s.evict(seq, false)
		return false, true // nextStep chooses stepForget
	}
	if now := s.g.now(); !p.ExpiresAt.After(now) {
		if err := s.g.store.ProposeExpiry(p.Message, now); err != nil {
			s.laterAgain(was)
			return false, false
		}
		s.link.Forget(seq, false) // it leaves the window when the store has settled it
		return false, true
	}
	p.Dup = true
	switch err = s.link.Deliver(p); {
	case err == nil:
		s.payloadLeft(seq)
		return true, true
	case retryable(err):
		s.repeatFailed(was, stageDue)
	case errors.Is(err, ErrTooLarge):
		s.giveUp(was, ReasonTooLargeForProtocol)
		return false, true
	}
	return false, false
}

// payloadLeft lets first transmissions follow once the payload of an asked
// delivery has left.
func (s *Session) payloadLeft(seq Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.findLocked(seq, false); f != nil {
		s.closeAskLocked(f)
	}
}

// giveUp proposes Failed for a delivery that was transmitted before: the device
// may have handled it. The delivery keeps its place in the window until the state
// is durable, and the proposal is repeated until then.
func (s *Session) giveUp(was inflight, reason string) {
	s.link.Forget(was.seq, false)
	_ = s.g.store.Settle(s.outcome(&was, Failed, reason, s.g.now()), true)
	s.laterAgain(was)
}

// laterAgain schedules the repeat again, for a time when the store may have
// recovered.
func (s *Session) laterAgain(was inflight) {
	was.flags |= flightStalled
	s.repeatFailed(was, stageWaiting)
	s.retryStalled(was.seq)
}

// repeatFailed resets the entry of a repeat that did not leave.
func (s *Session) repeatFailed(was inflight, to stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.findLocked(was.seq, false); f != nil && f.stage == stageOut {
		f.stage, f.flags = to, f.flags|was.flags&(flightAway|flightAsked|flightStalled)
	}
}

// transmissionBuffers holds *[]Transmission; sendMail and sendFresh borrow one for each call.
var transmissionBuffers = sync.Pool{New: func() any { b := make([]Transmission, 0, 16); return &b }}

// sendFresh reads up to room transmissions above the cursor from the store and hands
// them to the link.
func (s *Session) sendFresh(room int) (sent, more bool) {
	buf := transmissionBuffers.Get().(*[]Transmission)
	defer transmissionBuffers.Put(buf)
	transmissions, last, err := s.g.store.Next(TransmissionQuery{Client: s.client, Ref: s.ref, After: s.cursor, Max: room, MaxBytes: pumpBytes}, (*buf)[:0])
	if err != nil {
		s.mu.Lock()
		s.flags = s.flags&^flagReading | flagFresh | flagHeld
		s.mu.Unlock()
		s.g.cfg.After(jitter(5*time.Second), s.resume)
		return false, false
	}
	dry := len(transmissions) < room && payloadBytes(transmissions) < pumpBytes
	sent, more = s.sendAll(transmissions)
	*buf = transmissions[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flags &^= flagReading
	if !more || !dry {
		s.flags |= flagFresh
		return sent, more
	}
	s.cursor = max(s.cursor, last)
	s.passedAllLocked()
	return sent, true
}

// sendMail hands up to room transmissions of the mailbox to the link. The store still
// has the transmissions that the link does not take.
func (s *Session) sendMail(room int) (sent, more bool) {
	buf := transmissionBuffers.Get().(*[]Transmission)
	defer transmissionBuffers.Put(buf)
	s.mu.Lock()
	transmissions := s.takeMailLocked(room, (*buf)[:0])
	s.mu.Unlock()
	sent, more = s.sendAll(transmissions)
	*buf = transmissions[:0]
	if !more {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flags |= flagFresh
		s.dropMailLocked()
		s.relaxLocked()
	}
	return sent, more
}

// sendAll hands transmissions to the link until it takes no more, and clears them.
func (s *Session) sendAll(transmissions []Transmission) (sent, more bool) {
	more = true
	for i := 0; more && i < len(transmissions); i++ {
		var took bool
		took, more = s.send(transmissions[i])
		sent = sent || took
	}
	clear(transmissions)
	return sent, more
}

// askingLocked reports whether the pump must not read on: all ASKs have left, and
// one is open.
func (s *Session) askingLocked() bool {
	return s.work != nil && s.work.open > 0 && s.work.askThrough == 0
}

// asksForLocked reports whether to send an ASK for seq, the next above the
// cursor.
func (s *Session) asksForLocked(seq Seq) bool {
	w := s.work
	if w == nil || w.askThrough == 0 {
		return false
	}
	if seq <= w.askThrough {
		return true
	}
	w.askThrough = 0
	s.relaxLocked()
	return false
}

// passedAllLocked ends the asking, and the repeats of the session before. Every
// message that the store accepts from now on has a higher sequence. The attempts that no
// transmission took are of deliveries that became final while a session handed them on.
func (s *Session) passedAllLocked() {
	if w := s.work; w != nil {
		w.askThrough, w.sentThrough = 0, 0
		for _, t := range w.tried {
			s.g.ends.add(s.client, t, s.g.now())
		}
		w.tried = nil
		s.relaxLocked()
	}
}

func payloadBytes(transmissions []Transmission) (n int) {
	for i := range transmissions {
		n += len(transmissions[i].Payload)
	}
	return n
}

// send hands one new transmission to the link.
func (s *Session) send(p Transmission) (sent, more bool) {
	if now := s.g.now(); !p.ExpiresAt.After(now) {
		return false, s.awaitFinal(func() error { return s.g.store.ProposeExpiry(p.Message, now) })
	}
	s.mu.Lock()
	if s.flags.has(flagClosed) {
		s.mu.Unlock()
		return false, false
	}
	p.Ask = s.asksForLocked(p.Seq)
	if !p.Ask && (s.askingLocked() || s.roomLocked() == 0) { // the room was that of ASKs
		s.mu.Unlock()
		return false, false
	}
	f := inflight{seq: p.Seq, message: p.Message}
	t, repeat := s.triedBeforeLocked(p.Seq)
	if repeat {
		p.Dup = true
		f.attempts, f.sentAt, f.broken, f.flags = t.attempts, t.sentAt, t.broken, flightRepeat
	} else if s.work != nil && p.Seq <= s.work.sentThrough {
		p.Dup, f.flags = true, flightRepeat
	}
	if p.Many {
		f.flags |= flightMany
	}
	if p.Ask {
		p.Dup, p.Payload = true, nil
		f.flags |= flightAsked | flightOpen
	} else if int(f.attempts) >= s.g.cfg.MaxAttempts {
		s.keepTriedLocked(t)
		s.mu.Unlock()
		return false, s.awaitOutcome(&f, Failed, ReasonAttemptsUsedUp)
	}
	s.enterLocked(f)
	if t.later > 0 {
		if n := s.notesLocked(s.findLocked(p.Seq, false)); n != nil {
			n.later = t.later
		}
	}
	before := s.cursor
	s.cursor = p.Seq // its answer, and then a takeover, may come before Deliver returns
	s.mu.Unlock()

	err := s.link.Deliver(p)
	if err == nil {
		if p.Ask {
			s.mu.Lock()
			if e := s.findLocked(p.Seq, false); e != nil && !e.gone() {
				s.noteLocked(e, HappenedAsked)
			}
			s.mu.Unlock()
			s.g.counts.asks.Add(1)
		}
		return true, true
	}
	s.mu.Lock()
	s.cursor = before
	if e := s.findLocked(p.Seq, false); e != nil {
		s.dropLocked(e)
	}
	if repeat && !s.flags.has(flagClosed) {
		s.keepTriedLocked(t)
	}
	s.mu.Unlock()
	switch {
	case !errors.Is(err, ErrTooLarge):
		return false, false
	case f.is(flightRepeat): // the device may have handled it
		return false, s.awaitOutcome(&f, Failed, ReasonTooLargeForProtocol)
	}
	return false, s.awaitOutcome(&f, Rejected, ReasonTooLargeForProtocol)
}

// awaitFinal proposes the final state of a delivery that will not be sent, and
// ends the turn of first transmissions. The cursor stays before the delivery
// until Next leaves it out, which means that the state is durable. If a later
// delivery left earlier, a crash could lose the proposal, and the device would
// take this delivery for one that it has handled.
func (s *Session) awaitFinal(propose func() error) (more bool) {
	s.mu.Lock()
	s.flags |= flagHeld // before Settled can end the pause
	s.mu.Unlock()
	pause := finalPause
	if propose() != nil {
		pause = jitter(5 * time.Second)
	}
	s.g.cfg.After(pause, s.resume)
	return false
}

// awaitOutcome is awaitFinal for an outcome that the gateway decides.
func (s *Session) awaitOutcome(f *inflight, st State, reason string) (more bool) {
	o := s.outcome(f, st, reason, s.g.now())
	return s.awaitFinal(func() error { return s.g.store.Settle(o, true) })
}

// retryable reports whether Deliver may succeed later on the same link.
func retryable(err error) bool {
	return errors.Is(err, ErrLinkBusy) || errors.Is(err, ErrWindowFull)
}
