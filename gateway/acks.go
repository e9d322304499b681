package gateway

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// This file has the answers of devices: acks and results, "working", "not now", and
// the timeout of a missing ack.

// Acked reports the device's answer to the payload or the ASK of seq. The link
// may no longer have seq in its window: a late ack is kept with the delivery. The
// session keeps result, which must not change.
func (s *Session) Acked(seq Seq, ephemeral bool, code AckCode, result []byte, at time.Time) {
	switch {
	case !ephemeral:
		s.acked(seq, code, result, at)
	case code != AckWorking: // the call's own deadline decides
		s.ackedCall(seq, code, result, at)
	}
}

// acked is Acked for a stored delivery.
func (s *Session) acked(seq Seq, code AckCode, result []byte, at time.Time) {
	switch code {
	case AckWorking:
		s.working(seq, result)
	case AckRetry, AckSend:
		s.notNow(seq, code)
	default:
		s.settle(seq, code, result, at)
	}
}

// ackedCall is Acked for an online delivery.
func (s *Session) ackedCall(seq Seq, code AckCode, result []byte, at time.Time) {
	s.mu.Lock()
	f := s.findLocked(seq, true)
	if f == nil {
		s.mu.Unlock()
		s.answeredLate(seq, code, result)
		return
	}
	call := f.call
	s.answerStep(at, seq, f.message, code)
	s.dropLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.g.counts.answered(false, code)
	call.answer(code, result, at)
	s.wakeIf(waits)
}

// settle takes the delivery of a verdict out of the window and proposes the verdict
// to the store.
func (s *Session) settle(seq Seq, code AckCode, result []byte, at time.Time) {
	s.mu.Lock()
	f := s.findLocked(seq, false)
	if f == nil {
		s.mu.Unlock()
		return
	}
	s.g.counts.answered(f.is(flightAsked), code)
	o := s.answeredLocked(f, code, result, at)
	last := s.answerLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	if s.g.store.Settle(o, s.g.awaited(o.Message, last)) != nil {
		s.unsettled(seq)
	}
	s.wakeIf(waits)
}

// TryAcked is Acked for a stored delivery, without waiting. If it returns false,
// it has done nothing, and the caller must call Acked on a goroutine that may
// wait.
func (s *Session) TryAcked(seq Seq, code AckCode, result []byte, at time.Time) bool {
	switch code {
	case AckRetry, AckSend, AckWorking:
		return false
	}
	s.mu.Lock()
	f := s.findLocked(seq, false)
	if f == nil {
		s.mu.Unlock()
		return true
	}
	before, o := *f, s.answeredLocked(f, code, result, at)
	last := s.answerLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	if !s.g.store.TrySettle(o, s.g.awaited(o.Message, last)) {
		s.putBack(before)
		return false
	}
	s.g.counts.answered(before.is(flightAsked), code)
	s.wakeIf(waits)
	return true
}

// AckedOther reports an ack for seq whose ephemeral flag is not that of the
// delivery in flight. The ack settles nothing: a stored delivery is sent again,
// and the timeout of an online call names the mistake. It is logged once per
// session.
func (s *Session) AckedOther(seq Seq, ephemeral bool) {
	s.mu.Lock()
	if f := s.findLocked(seq, !ephemeral); f != nil && f.call != nil {
		f.call.misacked = seq
	} else if f != nil && !f.gone() {
		s.noteLocked(f, HappenedMisacked)
	}
	logged := s.flags.has(flagMisacked)
	s.flags |= flagMisacked
	s.mu.Unlock()
	if !logged {
		s.g.cfg.Logger.Warn("an ack does not count: its EPHEMERAL flag (in text: the e before the number) differs from the delivery's",
			"client", s.client, "session", s.ID(), "id", seq, "flag", ephemeral)
	}
}

// answeredLocked is the outcome of a device's answer to f.
func (s *Session) answeredLocked(f *inflight, code AckCode, result []byte, at time.Time) Outcome {
	o := s.outcome(f, Acked, "", at)
	o.Result = result
	switch code {
	case AckOK:
	case AckNotKept:
		o.Reason = ReasonVerdictNotKept
	default:
		o.State, o.Reason = Rejected, ReasonDeviceRejected
	}
	return o
}

// waitsLocked reports whether a delivery waits for the room that an ack makes.
func (s *Session) waitsLocked() bool {
	if !s.flags.flowing() {
		return false
	}
	w := s.work
	return s.flags.has(flagFresh) || w != nil && (s.hasMailLocked() || w.urgent.head != nil || s.nextDueLocked(true) != nil)
}

func (s *Session) wakeIf(waits bool) {
	if waits {
		s.wake()
	}
}

// AckTimeout reports that the payload or the ASK of seq was not answered in time
// after its last flush. The session sends the payload again unless its attempts
// are used up.
func (s *Session) AckTimeout(seq Seq, ephemeral bool) {
	s.mu.Lock()
	f := s.findLocked(seq, ephemeral)
	repeat := f != nil && !f.gone() && f.call == nil
	if f != nil && !f.gone() {
		s.step(StepUnanswered, f)
	}
	if repeat {
		if f.is(flightAsked) {
			s.g.counts.asksUnanswered.Add(1)
		}
		f.stage = stageDue
	}
	s.mu.Unlock()
	if !repeat {
		s.link.Forget(seq, ephemeral) // an online caller's own deadline decides
		return
	}
	s.wake()
}

// maxProgress is how much of an AckWorking is kept, in bytes.
const maxProgress = 1 << 10

// working processes AckWorking, which settles nothing: the link restarts the ack
// timeout, and the API shows the end of said. The device has the payload, so
// first transmissions may follow.
func (s *Session) working(seq Seq, said []byte) {
	s.mu.Lock()
	f := s.findLocked(seq, false)
	if f == nil || f.gone() || f.is(flightAway) {
		s.mu.Unlock()
		return
	}
	s.g.counts.answered(f.is(flightAsked), AckWorking)
	s.step(StepWorking, f)
	f.stage = stageOut
	if n := s.noteLocked(f, HappenedWorking); n != nil && len(said) > 0 {
		n.progress = lastText(said, maxProgress)
	}
	s.closeAskLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.wakeIf(waits)
}

// lastText copies about the last n bytes of b: a few less if the cut would split
// a character.
func lastText(b []byte, n int) []byte {
	cut := max(0, len(b)-n)
	for i := 0; i < utf8.UTFMax && cut > 0 && cut < len(b) && !utf8.RuneStart(b[cut]); i++ {
		cut++
	}
	return bytes.Clone(b[cut:])
}

// The delay of a delivery that the device wants later starts at minRetryDelay and
// doubles with each such answer on the connection (SPEC §2.2).
const (
	minRetryDelay = time.Second
	maxRetryDelay = time.Minute
)

// notNow processes AckRetry and AckSend, which settle nothing. AckSend as the answer
// to an ASK makes the payload due. AckRetry, and AckSend as the answer to a payload,
// mean retry later.
func (s *Session) notNow(seq Seq, code AckCode) {
	s.mu.Lock()
	f := s.findLocked(seq, false)
	if f == nil {
		s.mu.Unlock()
		return
	}
	asked := f.is(flightAsked)
	if code == AckSend && !asked {
		s.g.counts.answered(false, AckSend)
	}
	if f.gone() || f.is(flightAway) { // the second answer to two transmissions
		s.mu.Unlock()
		return
	}
	if asked {
		s.g.counts.answered(true, code)
	}
	if code == AckSend && asked {
		s.step(StepNotHandled, f)
		f.stage, f.flags = stageDue, f.flags|flightAway
		f.forgetProgress()
		s.mu.Unlock()
		s.wake()
		return
	}
	delay := s.postponeLocked(f)
	s.step(StepRetryLater, f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.g.cfg.After(delay, func() { s.retryNow(seq, 0) })
	s.wakeIf(waits)
}

// postponeLocked returns the delay after which the caller must send f again. The
// answered transmission does not count as an attempt. During the delay f keeps
// its place in the window against first transmissions, so that a window of one
// stays strict; an online call may take the place.
func (s *Session) postponeLocked(f *inflight) (delay time.Duration) {
	s.unflushLocked(f)
	s.closeAskLocked(f)
	if !f.is(flightAsked) {
		f.attempts = max(0, f.attempts-1)
	}
	f.stage, f.flags = stageWaiting, f.flags&^flightStalled|flightAway
	f.forgetProgress()
	delay = min(minRetryDelay<<f.retries, maxRetryDelay)
	if n := s.noteLocked(f, HappenedRetryLater); n != nil {
		n.nextAt = s.g.now().Add(delay).UnixNano()
	}
	f.retries = min(f.retries+1, ManyRetries) // 64 s is above the longest
	s.g.counts.retriesLater.Add(1)
	return delay
}

// retryNow ends the wait of a delivery for its time, or with flightStalled that for the
// store. It leaves the other wait alone, which may have followed.
func (s *Session) retryNow(seq Seq, stalled flightFlags) {
	s.mu.Lock()
	if f := s.findLocked(seq, false); f != nil && f.stage == stageWaiting && f.flags&flightStalled == stalled {
		f.stage = stageDue
	}
	s.mu.Unlock()
	s.wake()
}

// retryStalled ends the wait of a delivery for the store after some seconds; reopened may
// end it before.
func (s *Session) retryStalled(seq Seq) {
	s.g.cfg.After(jitter(5*time.Second), func() { s.retryNow(seq, flightStalled) })
}

// unsettled puts a delivery back whose verdict the store has refused: it is still queued
// there. A live session sends it again when the store is open again, or after some seconds;
// the next session would in any case.
func (s *Session) unsettled(seq Seq) {
	s.mu.Lock()
	f, ok := s.settledLocked(seq)
	if ok {
		s.againLocked(f, stageWaiting)
	}
	s.mu.Unlock()
	if ok {
		s.retryStalled(seq)
	}
}

// awaited reports whether the store must write an outcome at once because a
// caller waits for the message. For a message to many only the last outcome is
// urgent; the others may share a write.
func (g *Gateway) awaited(m MessageID, last bool) bool { return last && g.waiters.has(m) }
