package gateway

import (
	"slices"
	"sync"
	"time"
)

// work is a session's window and its queue. A session has one only while there is
// something in it. Guarded by the session's mutex.
type work struct {
	flight []inflight // in the order of first transmission
	gone   int        // entries kept for late acks only
	forget int        // number of entries with flightForget
	urgent onlineQueue
	tried  []attempt // transmissions of earlier sessions
	// answered has the deliveries that the device has answered while the store still has
	// them queued, because it does not have the verdict yet.
	answered []inflight
	mail     mailbox

	askThrough Seq // ASKs are sent for deliveries up to here; 0 once the cursor is past it
	// sentThrough is the cursor of the session that this one has replaced: deliveries up
	// to here that are queued have been handed to its link. 0 once the cursor is past it.
	sentThrough Seq
	open        int // entries with flightOpen

	receptions []*reception // uplinks on their way to the store
}

// inflight is one delivery in the session's window.
type inflight struct {
	seq      Seq
	message  MessageID
	sentAt   int64       // last flush, Unix nanoseconds; 0 = not flushed yet
	call     *OnlineCall // the waiting call; nil for a stored delivery
	notes    *flightNotes
	attempts int32 // flushes without those answered with retry later; includes earlier sessions
	stage    stage
	flags    flightFlags
	retries  uint8 // answers retry later in this session
	broken   uint8 // as in attempt
}

// answerTo returns the transmissions of an answered delivery, the zero value for none.
func (w *work) answerTo(seq Seq) attempt {
	for i := range w.answered {
		if f := &w.answered[i]; f.seq == seq {
			return f.attempt()
		}
	}
	return attempt{}
}

// appendAnswered appends the transmissions of the answered deliveries to list.
func (w *work) appendAnswered(list []attempt) []attempt {
	for i := range w.answered {
		list = append(list, w.answered[i].attempt())
	}
	return list
}

// attempt returns the transmissions of f so far.
func (f *inflight) attempt() attempt {
	t := attempt{seq: f.seq, sentAt: f.sentAt, attempts: f.attempts, broken: f.broken}
	if f.notes != nil {
		t.later = f.notes.later
	}
	return t
}

// stage is the progress of a delivery in the window.
type stage uint8

const (
	stageOut     stage = iota // the link has it, or is about to
	stageWaiting              // to be sent again after its delay
	stageDue                  // to be sent again now
	stageGone                 // final another way; kept so that a late ack is recognized
)

type flightFlags uint8

const (
	flightMany    flightFlags = 1 << iota // the message has more than one recipient
	flightRepeat                          // transmitted before, in this session or an earlier one
	flightFlushed                         // its last transmission is flushed and not answered: it shows as sent
	flightAsked                           // its ASK has left on this connection, its payload has not
	flightOpen                            // holds back first transmissions: its ASK is unanswered, or answered with AckSend
	flightForget                          // gone, but the link still has it
	flightAway                            // to be sent again, but answered and so without a place in the link
	flightStalled                         // to be sent again once the store has recovered
)

// is reports whether g is set.
func (f *inflight) is(g flightFlags) bool { return f.flags&g != 0 }

func (f *inflight) gone() bool { return f.stage == stageGone }

// counted reports whether sentCounts has the delivery once it is answered.
func (f *inflight) counted() bool { return f.is(flightMany) && f.attempts > 0 }

// maxGone bounds the entries kept for late acks only; above it the oldest are
// dropped.
const maxGone = 64

// works pools *work. A work that has grown far beyond a usual window is not kept.
var works = sync.Pool{New: func() any { return &work{flight: make([]inflight, 0, 4)} }}

const maxPooledFlight = 64

// busyLocked returns the session's work; it makes one if there is none.
func (s *Session) busyLocked() *work {
	if s.work == nil {
		s.work = works.Get().(*work)
	}
	return s.work
}

// relaxLocked returns the work to its pool if it is empty.
func (s *Session) relaxLocked() {
	w := s.work
	if w == nil || len(w.flight) > 0 || len(w.answered) > 0 || w.urgent.head != nil || len(w.tried) > 0 || len(w.receptions) > 0 || len(w.mail.transmissions) > 0 || w.askThrough != 0 || w.sentThrough != 0 {
		return
	}
	s.work = nil
	w.tried = nil
	if cap(w.flight) <= maxPooledFlight && cap(w.answered) <= maxPooledFlight && cap(w.mail.transmissions) <= maxPooledFlight {
		works.Put(w)
	}
}

func (s *Session) findLocked(seq Seq, ephemeral bool) *inflight {
	if s.work == nil {
		return nil
	}
	for i := range s.work.flight {
		if f := &s.work.flight[i]; f.seq == seq && (f.call != nil) == ephemeral {
			return f
		}
	}
	return nil
}

// liveLocked counts the entries that hold a place in the window.
func (s *Session) liveLocked() int {
	if s.work == nil {
		return 0
	}
	return len(s.work.flight) - s.work.gone
}

// linkRoomLocked is the number of free places in the link's window. A delivery
// answered with retry later has left that window, although it still holds back
// first transmissions.
func (s *Session) linkRoomLocked() int {
	held := 0
	for i := range s.work.flight {
		if f := &s.work.flight[i]; !f.gone() && !f.is(flightAway) {
			held++
		}
	}
	return int(s.window) - held
}

// nextDueLocked returns the first delivery to be sent again now, nil if there is
// none. It skips a delivery that is away unless the link has room.
func (s *Session) nextDueLocked(room bool) *inflight {
	for i := range s.work.flight {
		if f := &s.work.flight[i]; f.stage == stageDue && (room || !f.is(flightAway)) {
			return f
		}
	}
	return nil
}

// roomLocked returns how many first transmissions fit into the window now. While
// ASKs are due it counts places for ASKs: they also take the places of deliveries
// that the device wants later, so that no known verdict is held up.
func (s *Session) roomLocked() int {
	if s.work != nil && s.work.askThrough != 0 {
		return max(0, s.linkRoomLocked())
	}
	return max(0, int(s.window)-s.liveLocked())
}

// enterLocked puts an entry into the window before its frame is written, because
// the answer may come at once.
func (s *Session) enterLocked(f inflight) {
	w := s.busyLocked()
	w.flight = append(w.flight, f)
	s.g.hub.inFlight.Add(1)
	if f.notes != nil { // putBack or unsettled
		s.g.notes.Add(1)
	}
	if f.is(flightOpen) {
		w.open++
	}
}

// leaveLocked removes a live entry from the counts. last is true if no other
// delivery of its message, which may have many, is on its way.
func (s *Session) leaveLocked(f *inflight) (last bool) {
	if f.gone() {
		return true
	}
	s.g.hub.inFlight.Add(-1)
	s.dropNotesLocked(f)
	s.closeAskLocked(f)
	return s.unflushLocked(f)
}

// closeAskLocked stops f from holding back first transmissions.
func (s *Session) closeAskLocked(f *inflight) {
	if f.is(flightOpen) {
		f.flags &^= flightOpen
		s.work.open--
	}
}

// unflushLocked notes that f no longer shows as sent. It returns the result of
// leave.
func (s *Session) unflushLocked(f *inflight) (last bool) {
	flushed := f.is(flightFlushed)
	f.flags &^= flightFlushed
	return !flushed || !f.is(flightMany) || s.g.sent.flush(f.message, -1)
}

// dropLocked removes an entry and returns the result of leaveLocked. The entry must not
// be used afterwards.
func (s *Session) dropLocked(f *inflight) (last bool) {
	last = s.leaveLocked(f)
	w := s.work
	if f.gone() {
		w.gone--
	}
	if f.is(flightForget) {
		w.forget--
	}
	for i := range w.flight {
		if &w.flight[i] == f {
			w.flight = slices.Delete(w.flight, i, i+1)
			break
		}
	}
	s.relaxLocked()
	return last
}

// answerLocked removes an entry whose verdict goes to the store now, and returns the result
// of leaveLocked.
func (s *Session) answerLocked(f *inflight) (last bool) {
	if f.gone() {
		return s.dropLocked(f)
	}
	s.work.answered = append(s.work.answered, *f)
	if f.counted() {
		last = s.g.sent.answer(f.message, f.is(flightFlushed))
		f.flags &^= flightFlushed
		s.dropLocked(f)
		return last
	}
	return s.dropLocked(f)
}

// takeAnsweredLocked undoes answerLocked, except for the counts of its message. ok is false
// if the store has the end of the delivery, or the session has ended.
func (s *Session) takeAnsweredLocked(seq Seq) (f inflight, ok bool) {
	if s.work == nil {
		return f, false
	}
	for i := range s.work.answered {
		if s.work.answered[i].seq == seq {
			f = s.work.answered[i]
			s.work.answered = slices.Delete(s.work.answered, i, i+1)
			s.relaxLocked()
			return f, true
		}
	}
	return f, false
}

// settledLocked forgets an answered delivery, and returns it: the store has its end, or
// refused the verdict.
func (s *Session) settledLocked(seq Seq) (f inflight, ok bool) {
	if f, ok = s.takeAnsweredLocked(seq); ok && f.counted() {
		s.g.sent.settle(f.message)
	}
	return f, ok
}

// againLocked puts an answered delivery whose verdict is lost back into the window. Its
// transmissions so far count on.
func (s *Session) againLocked(f inflight, st stage) {
	f.stage, f.flags, f.retries = st, f.flags&flightMany|flightRepeat|flightAway|flightStalled, 0
	f.forgetProgress()
	s.enterLocked(f)
}

// putBack undoes answerLocked for an answer that will come again. If the delivery has got
// another end since, or the session has, the answer will be a late one.
func (s *Session) putBack(f inflight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.takeAnsweredLocked(f.seq); ok {
		s.enterLocked(f)
		if f.counted() {
			s.g.sent.unanswer(f.message, f.is(flightFlushed))
		}
		return
	}
	if s.findLocked(f.seq, false) != nil { // reopened has put it back
		return
	}
	f.stage, f.flags, f.notes = stageGone, f.flags&flightForget, nil
	w := s.busyLocked()
	w.flight = append(w.flight, f)
	w.gone++
	if f.is(flightForget) {
		w.forget++
	}
}

// keepForLateAckLocked frees the place of an entry that is final another way.
func (s *Session) keepForLateAckLocked(f *inflight) {
	s.leaveLocked(f)
	f.stage, f.flags = stageGone, f.flags|flightForget
	w := s.work
	w.gone, w.forget = w.gone+1, w.forget+1
	for i := 0; w.gone > maxGone && i < len(w.flight); i++ {
		if w.flight[i].gone() && !w.flight[i].is(flightForget) {
			w.flight = slices.Delete(w.flight, i, i+1)
			w.gone--
			break
		}
	}
}

// toForgetLocked returns the next delivery for the link to forget, 0 if there is
// none.
func (s *Session) toForgetLocked() Seq {
	w := s.work
	for i := 0; w.forget > 0 && i < len(w.flight); i++ {
		if f := &w.flight[i]; f.is(flightForget) {
			f.flags &^= flightForget
			w.forget--
			return f.seq
		}
	}
	return 0
}

// triedBeforeLocked removes and returns the transmissions of earlier sessions for
// seq; ok is false if there are none.
func (s *Session) triedBeforeLocked(seq Seq) (t attempt, ok bool) {
	if s.work == nil {
		return t, false
	}
	for i, t := range s.work.tried {
		if t.seq == seq {
			s.work.tried = slices.Delete(s.work.tried, i, i+1)
			s.relaxLocked()
			return t, true
		}
	}
	return attempt{}, false
}

// keepTriedLocked undoes triedBeforeLocked for a delivery that was not sent.
func (s *Session) keepTriedLocked(t attempt) {
	w := s.busyLocked()
	w.tried = append(w.tried, t)
}

// takeCallsLocked removes and returns all online calls of the session's work, those in
// the window last. inWindow has the numbers of those. The caller calls relaxLocked.
func (s *Session) takeCallsLocked() (calls []*OnlineCall, inWindow []Seq) {
	w := s.work
	for c := w.urgent.pop(); c != nil; c = w.urgent.pop() {
		calls = append(calls, c)
	}
	w.flight = slices.DeleteFunc(w.flight, func(f inflight) bool {
		if f.call == nil {
			return false
		}
		s.leaveLocked(&f)
		calls, inWindow = append(calls, f.call), append(inWindow, f.seq)
		return true
	})
	return calls, inWindow
}

// abandonLocked empties the window of a session that has ended. It returns the
// calls, which the caller must end, and the attempts for the next session, also those of
// answered deliveries: the store may refuse the verdict.
// Entries for late acks stay: an ack may still arrive on this session, and the
// device's verdict remains true.
func (s *Session) abandonLocked(unreported bool) (calls []*OnlineCall, tried []attempt) {
	w := s.work
	tried = w.tried
	w.tried = nil
	w.askThrough, w.sentThrough = 0, 0
	s.dropMailLocked()
	calls, inWindow := s.takeCallsLocked()
	for _, c := range calls[len(calls)-len(inWindow):] {
		c.entered = unreported || !c.sentAt.IsZero()
	}
	for i := range w.flight {
		f := &w.flight[i]
		if f.gone() {
			continue
		}
		if f.is(flightFlushed) && !f.is(flightAsked) && f.stage == stageOut && f.broken < 255 {
			f.broken++
		}
		if f.is(flightRepeat) || f.stage == stageOut && unreported && !f.is(flightAsked) {
			tried = append(tried, f.attempt())
		}
		s.leaveLocked(f)
		f.stage = stageGone
	}
	w.gone = len(w.flight)
	tried = w.appendAnswered(tried)
	for i := range w.answered {
		if f := &w.answered[i]; f.counted() {
			s.g.sent.settle(f.message)
		}
	}
	clear(w.answered)
	w.answered = w.answered[:0]
	s.relaxLocked()
	return calls, tried
}

func (s *Session) outcome(f *inflight, st State, reason string, at time.Time) Outcome {
	return Outcome{Message: f.message, Client: s.client, Ref: s.ref, Seq: f.seq, State: st, Reason: reason,
		Attempts: int(f.attempts), SentAt: timeOf(f.sentAt), At: at.Round(0)}
}
