package gateway

import (
	"sync"
	"sync/atomic"
	"time"
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
func newSession(g *Gateway, link Link, id uid, rec *ClientRecord, at time.Time) *Session {
	return &Session{g: g, link: link, id: id, client: rec.ID, epoch: rec.Epoch, ref: rec.Ref, connectedAt: at.UnixMilli(),
		maxPayload: int32(min(link.MaxPayload(), MaxPayload)), flags: flagFresh}
}

// inherit takes over the attempts of earlier sessions, and the cursor of the one that
// s replaces. s is not shared yet.
func (s *Session) inherit(tried []attempt, through Seq) {
	if len(tried) > 0 {
		s.busyLocked().tried = tried
	}
	if through > 0 {
		s.busyLocked().sentThrough = through
	}
}

// throughLocked returns the highest sequence that this session, or the ones that it has
// replaced, may have handed to a link. A later session needs it because a verdict that
// came at the takeover may not be in the store yet.
func (s *Session) throughLocked() Seq {
	if s.work == nil {
		return s.cursor
	}
	return max(s.cursor, s.work.sentThrough)
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
	before := f.sentAt
	f.sentAt = now
	f.attempts++
	if f.gone() { // it ended while its frame was on the way
		s.g.ends.add(s.client, f.attempt(), at)
	}
	s.stepAt(at, StepSent, f)
	s.g.counts.delivered.Add(1)
	if f.is(flightRepeat) {
		s.g.counts.redelivered.Add(1)
		if !f.gone() {
			s.noteRepeatLocked(f, before, now)
		}
	}
	f.flags |= flightRepeat
	if !f.gone() && !f.is(flightFlushed) {
		f.flags |= flightFlushed
		if f.is(flightMany) {
			s.g.sent.flush(f.message, 1)
		}
	}
	if f.call != nil {
		f.call.sentAt = at
	}
}

// Closed reports the end of the connection and its reason. The link calls it
// once, after all other methods.
func (s *Session) Closed(reason string) { s.g.disconnected(s, reason) }

// retire stops the session's deliveries and returns the attempts of the unacked
// ones, and the result of throughLocked. The caller must call loseAll with calls when it
// holds no lock. unreported says that the link may still flush payloads, or has flushed some
// whose Sent is still to come. These are among the attempts, because the device may have
// them.
func (s *Session) retire(unreported bool) (calls []*OnlineCall, tried []attempt, through Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	through = s.throughLocked()
	if !s.flags.has(flagClosed) && s.work != nil {
		calls, tried = s.abandonLocked(unreported)
	}
	s.flags |= flagClosed
	return calls, tried, through
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
	inWindow := calls[len(calls)-len(sent):]
	for i, seq := range sent {
		if s.link.Forget(seq, true) {
			inWindow[i].entered = false
		}
	}
	for _, c := range calls {
		c.drained()
	}
}

// evict takes seq, which is final, out of the window. answered says that its end is the
// device's answer, with which the store has its transmissions. evict reports whether to
// pump the session; the pump also takes seq out of the link.
func (s *Session) evict(seq Seq, answered bool) (wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.settledLocked(seq); ok && !answered {
		s.g.ends.add(s.client, f.attempt(), s.g.now())
	}
	f := s.findLocked(seq, false)
	if f == nil || f.gone() {
		if t, ok := s.triedBeforeLocked(seq); ok {
			s.g.ends.add(s.client, t, s.g.now())
		}
		s.cancelMailLocked(seq)
		return s.releaseLocked()
	}
	if f.is(flightRepeat) {
		s.g.ends.add(s.client, f.attempt(), s.g.now())
	}
	s.keepForLateAckLocked(f)
	return true
}

// overlay adds the live session's knowledge to a queued delivery. It reports
// whether the delivery is in the window, or its verdict on the way to the store; if
// neither, d shows the attempts of earlier sessions.
func (s *Session) overlay(d *Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overlayLocked(d)
}

// overlayLocked is overlay.
func (s *Session) overlayLocked(d *Delivery) bool {
	f := s.findLocked(d.Seq, false)
	if f == nil || f.gone() {
		if s.work == nil {
			return false
		}
		attemptAt(s.work.tried, d.Seq).show(d)
		t := s.work.answerTo(d.Seq)
		if t.show(d); t.attempts > 0 {
			d.State = Sent // until the store has the verdict
		}
		return t.seq != 0
	}
	d.Attempts = int(f.attempts)
	d.SentAt = timeOf(f.sentAt)
	if f.notes != nil {
		d.Progress = f.notes.progress
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
