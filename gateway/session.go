package gateway

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Session is one registered connection. The link reports events on the wire to
// it, and the session moves deliveries. An idle session takes these 128 bytes and
// nothing else; a test checks that.
//
// Its methods may wait briefly while the store's queue is full. A caller must not
// hold a lock that the Link's methods take, because the session calls those with
// its own lock held.
//
// The caller of a method whose name ends in Locked holds mu.
type Session struct {
	// Fixed after construction.
	g           *Gateway
	link        Link
	client      ClientID
	id          uid
	connectedAt int64  // Unix milliseconds
	epoch       uint64 // ClientRecord.Epoch
	ref         uint32 // ClientRecord.Ref
	maxPayload  int32  // of the link, bytes

	run     atomic.Int32 // idle, queued, running, again
	flags   sessionFlags // guarded by mu
	flaps   uint8        // fixed: quick takeovers in a row that led to this session
	window  uint16       // of the link; set by Start, guarded by mu
	nextRun *Session     // guarded by the run queue
	cursor  Seq          // no first transmission up to here is left to send; written by the pumping goroutine, with mu

	mu      sync.Mutex
	work    *work    // in flight or waiting; nil if empty
	counted *counted // nil before the first online delivery or uplink
}

// counted has the numbers of a session's online deliveries and uplinks.
type counted struct {
	local   Seq     // of the last online delivery
	uplinks numbers // stored in this session
}

// numberingLocked returns the session's numbers.
func (s *Session) numberingLocked() *counted {
	if s.counted == nil {
		s.counted = new(counted)
	}
	return s.counted
}

type sessionFlags uint8

const (
	flagStarted  sessionFlags = 1 << iota // the device has its REGISTER_ACK
	flagClosed                            // ended or replaced; nothing more is sent
	flagFresh                             // the store may hold transmissions above cursor that are not in the mailbox
	flagMisacked                          // AckedOther was logged
	flagHeld                              // a timer ends a pause of first transmissions
	flagReading                           // a goroutine is reading the store
)

// has reports whether a flag of g is set.
func (f sessionFlags) has(g sessionFlags) bool { return f&g != 0 }

// flowing reports whether deliveries may be sent.
func (f sessionFlags) flowing() bool { return f&(flagStarted|flagClosed) == flagStarted }

// newSession returns a session that is not in the hub yet. at has whole
// milliseconds.
func newSession(g *Gateway, link Link, rec *ClientRecord, at time.Time) *Session {
	return &Session{g: g, link: link, id: g.cfg.NewID(), client: rec.ID, epoch: rec.Epoch, ref: rec.Ref, connectedAt: at.UnixMilli(),
		maxPayload: int32(min(link.MaxPayload(), MaxPayload)), flags: flagFresh}
}

// inherit takes over the attempts of earlier sessions. s is not shared yet.
func (s *Session) inherit(tried []attempt) {
	if len(tried) > 0 {
		s.busyLocked().tried = tried
	}
}

// ask makes the session send an ASK instead of the payload for each delivery up
// to through. s is not shared yet.
func (s *Session) ask(through Seq) {
	if through > 0 {
		s.busyLocked().askThrough = through
	}
}

func (s *Session) connectedTime() time.Time { return time.UnixMilli(s.connectedAt) }

// ID names the session.
func (s *Session) ID() SessionID { return SessionID(s.id.text(sessionKind)) }

// Start lets deliveries flow: the device's REGISTER_ACK is in the output.
func (s *Session) Start() {
	window := s.link.Window()
	s.mu.Lock()
	s.window = uint16(window)
	s.flags |= flagStarted
	s.mu.Unlock()
	s.wake()
}

// Writable reports that Deliver may succeed again after ErrLinkBusy or
// ErrWindowFull.
func (s *Session) Writable() { s.wake() }

// Sent reports that the frame of seq was flushed to the socket at a time that the
// link has already read: reading the clock again would double the cost of the
// call.
func (s *Session) Sent(seq Seq, ephemeral bool, at time.Time) {
	now := at.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.findLocked(seq, ephemeral)
	if f == nil {
		return
	}
	f.sentAt = now
	f.attempts++
	s.g.counts.delivered.Add(1)
	if f.is(flightRepeat) {
		s.g.counts.redelivered.Add(1)
	}
	f.flags |= flightRepeat
	if !f.gone() && !f.is(flightFlushed) {
		f.flags |= flightFlushed
		if f.is(flightMany) {
			s.g.sent.add(f.message, 1)
		}
	}
	if f.call != nil {
		f.call.sentAt = at
	}
}

// Acked reports the device's answer to the payload or the ASK of seq. The link
// may no longer have seq in its window: a late ack is kept with the delivery. The
// session keeps result, which must not change.
func (s *Session) Acked(seq Seq, ephemeral bool, code AckCode, result []byte, at time.Time) {
	switch {
	case !ephemeral:
		s.acked(seq, code, result, at)
	case code != AckWorking: // the call's own deadline decides
		s.ackedCall(seq, code, result)
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
func (s *Session) ackedCall(seq Seq, code AckCode, result []byte) {
	s.mu.Lock()
	f := s.findLocked(seq, true)
	if f == nil {
		s.mu.Unlock()
		return
	}
	call := f.call
	s.dropLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.g.counts.answered(false, code)
	call.answer(code, result)
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
	last := s.dropLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.settleWith(o, last)
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
	last := s.dropLocked(f)
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
	f.stage = stageOut
	if len(said) > 0 {
		end := lastText(said, maxProgress)
		f.progress = &end
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
		f.stage, f.flags, f.progress = stageDue, f.flags|flightAway, nil
		s.mu.Unlock()
		s.wake()
		return
	}
	delay := s.postponeLocked(f)
	waits := s.waitsLocked()
	s.mu.Unlock()
	s.g.cfg.After(delay, func() { s.retryNow(seq) })
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
	f.stage, f.flags, f.progress = stageWaiting, f.flags|flightAway, nil
	delay = min(minRetryDelay<<f.retries, maxRetryDelay)
	f.retries = min(f.retries+1, 6) // 64 s is above the longest
	s.g.counts.retriesLater.Add(1)
	return delay
}

func (s *Session) retryNow(seq Seq) {
	s.mu.Lock()
	if f := s.findLocked(seq, false); f != nil && f.stage == stageWaiting {
		f.stage = stageDue
	}
	s.mu.Unlock()
	s.wake()
}

// settleWith proposes a device's verdict to the store; last says whether no other
// delivery of the message is on its way. If the store refuses the proposal, the
// delivery is still queued there. A live session then sends it again, and the
// next session would in any case.
func (s *Session) settleWith(o Outcome, last bool) {
	if err := s.g.store.Settle(o, s.g.awaited(o.Message, last)); err != nil {
		f := inflight{seq: o.Seq, message: o.Message, attempts: int32(o.Attempts),
			stage: stageDue, flags: flightRepeat | flightAway}
		s.g.cfg.After(jitter(5*time.Second), func() { s.reenter(f) })
	}
}

// awaited reports whether the store must write an outcome at once because a
// caller waits for the message. For a message to many only the last outcome is
// urgent; the others may share a write.
func (g *Gateway) awaited(m MessageID, last bool) bool { return last && g.waiters.has(m) }

func (s *Session) reenter(f inflight) {
	s.mu.Lock()
	if !s.flags.has(flagClosed) && s.findLocked(f.seq, false) == nil {
		s.enterLocked(f)
	}
	s.mu.Unlock()
	s.wake()
}

// Closed reports the end of the connection and its reason. The link calls it
// once, after all other methods.
func (s *Session) Closed(reason string) { s.g.disconnected(s, reason) }

// retire stops the session's deliveries and returns the attempts of the unacked
// ones.
func (s *Session) retire() []attempt {
	s.mu.Lock()
	if s.flags.has(flagClosed) {
		s.mu.Unlock()
		return nil
	}
	s.flags |= flagClosed
	if s.work == nil {
		s.mu.Unlock()
		return nil
	}
	calls, tried := s.abandonLocked()
	s.mu.Unlock()
	for _, c := range calls {
		c.lost()
	}
	return tried
}

// endCalls ends the session's online calls because the gateway stops.
func (s *Session) endCalls() {
	s.mu.Lock()
	if s.work == nil || s.flags.has(flagClosed) {
		s.mu.Unlock()
		return
	}
	calls, sent := s.takeCallsLocked()
	s.relaxLocked()
	s.mu.Unlock()
	for _, seq := range sent {
		s.link.Forget(seq, true)
	}
	for _, c := range calls {
		c.drained()
	}
}

// evict takes seq, which is final, out of the window. It reports whether to pump
// the session; the pump also takes seq out of the link.
func (s *Session) evict(seq Seq) (wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.findLocked(seq, false)
	if f == nil || f.gone() {
		s.triedBeforeLocked(seq)
		s.cancelMailLocked(seq)
		return s.releaseLocked()
	}
	s.keepForLateAckLocked(f)
	return true
}

// overlay adds the live session's knowledge to a queued delivery. It reports
// whether the delivery is in the window; if not, d shows the attempts of earlier
// sessions.
func (s *Session) overlay(d *Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.findLocked(d.Seq, false)
	if f == nil || f.gone() {
		if s.work != nil {
			attemptAt(s.work.tried, d.Seq).show(d)
		}
		return false
	}
	d.Attempts = int(f.attempts)
	d.SentAt = timeOf(f.sentAt)
	if f.progress != nil {
		d.Progress = *f.progress
	}
	switch {
	case f.is(flightFlushed):
		d.State = Sent
	case f.is(flightAway) && f.retries > 0:
		d.Reason = ReasonRetryLater
	}
	return true
}

// inFlight returns the number of unacked deliveries.
func (s *Session) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.liveLocked()
}

// timeOf converts Unix nanoseconds to a time; 0 is the zero time.
func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
