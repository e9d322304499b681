package gateway

import (
	"slices"
	"sync"
	"time"
)

// work is what a session has in its window and what waits for room in it. A
// session holds one only while there is any. Guarded by the session's mutex.
type work struct {
	flight []inflight // in the order of first transmission
	gone   int        // of these, kept for late acks only
	urgent onlineQueue
	tried  []attempt // transmissions of earlier sessions

	receptions []*reception // uplinks on their way to the store
}

// inflight is one delivery in the session's window.
type inflight struct {
	seq      Seq
	message  MessageID
	sentAt   int64       // last flush, Unix nanoseconds; 0 = not flushed yet
	call     *OnlineCall // who waits for it; nil for what is stored
	attempts int32       // flushes, earlier sessions included
	many     bool
	waiting  bool // to be sent again, not before its delay is over
	due      bool // to be sent again now
	gone     bool // final by another way; kept so that a late ack is recognised
}

// maxGone bounds the entries kept for late acks only; the oldest are forgotten.
const maxGone = 64

// works pools *work. What was grown far beyond a usual window is not kept.
var works = sync.Pool{New: func() any { return &work{flight: make([]inflight, 0, 4)} }}

const maxPooledFlight = 64

// The functions below are called with s.mu held.

// busy returns the session's work, new where it has none.
func (s *Session) busy() *work {
	if s.work == nil {
		s.work = works.Get().(*work)
	}
	return s.work
}

// relax gives the work back when nothing is left in it.
func (s *Session) relax() {
	w := s.work
	if w == nil || len(w.flight) > 0 || w.urgent.head != nil || len(w.tried) > 0 || len(w.receptions) > 0 {
		return
	}
	s.work = nil
	w.tried = nil
	if cap(w.flight) <= maxPooledFlight {
		works.Put(w)
	}
}

func (s *Session) find(seq Seq, ephemeral bool) *inflight {
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

// live counts the entries that hold a place in the window.
func (s *Session) live() int {
	if s.work == nil {
		return 0
	}
	return len(s.work.flight) - s.work.gone
}

// room is how many deliveries fit into the window now.
func (s *Session) room() int { return max(0, int(s.window)-s.live()) }

// enter puts an entry into the window before its frame is written, for the
// answer may come at once.
func (s *Session) enter(f inflight) {
	w := s.busy()
	w.flight = append(w.flight, f)
	s.g.hub.inFlight.Add(1)
}

// leave takes a live entry out of the counts. It reports whether that was the
// last delivery of its message on the way, of which there may be many.
func (s *Session) leave(f *inflight) (last bool) {
	if f.gone {
		return true
	}
	s.g.hub.inFlight.Add(-1)
	return !f.many || f.sentAt == 0 || s.g.sent.add(f.message, -1)
}

// drop removes an entry, which must not be used afterwards, and returns what
// leave does.
func (s *Session) drop(f *inflight) (last bool) {
	last = s.leave(f)
	w := s.work
	if f.gone {
		w.gone--
	}
	for i := range w.flight {
		if &w.flight[i] == f {
			w.flight = slices.Delete(w.flight, i, i+1)
			break
		}
	}
	s.relax()
	return last
}

// putBack undoes drop for an answer that is about to come again.
func (s *Session) putBack(f inflight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.gone {
		w := s.busy()
		w.flight = append(w.flight, f)
		w.gone++
		return
	}
	s.enter(f)
	if f.many && f.sentAt != 0 {
		s.g.sent.add(f.message, 1)
	}
}

// keepForLateAck frees the place of an entry that is final another way.
func (s *Session) keepForLateAck(f *inflight) {
	s.leave(f)
	f.gone, f.due, f.waiting = true, false, false
	w := s.work
	w.gone++
	for i := 0; w.gone > maxGone && i < len(w.flight); i++ {
		if w.flight[i].gone {
			w.flight = slices.Delete(w.flight, i, i+1)
			w.gone--
			break
		}
	}
}

// triedBefore takes the transmissions of earlier sessions for seq.
func (s *Session) triedBefore(seq Seq) int32 {
	if s.work == nil {
		return 0
	}
	for i, t := range s.work.tried {
		if t.seq == seq {
			s.work.tried = slices.Delete(s.work.tried, i, i+1)
			s.relax()
			return t.attempts
		}
	}
	return 0
}

// takeCalls removes all online calls from the session's work and returns them,
// with the numbers of the calls that were in the window. The caller calls relax.
func (s *Session) takeCalls() (calls []*OnlineCall, inWindow []Seq) {
	w := s.work
	for c := w.urgent.pop(); c != nil; c = w.urgent.pop() {
		calls = append(calls, c)
	}
	w.flight = slices.DeleteFunc(w.flight, func(f inflight) bool {
		if f.call == nil {
			return false
		}
		s.leave(&f)
		calls, inWindow = append(calls, f.call), append(inWindow, f.seq)
		return true
	})
	return calls, inWindow
}

// abandon empties the window of a session that has ended: the callers have to
// be told, and the next session needs to know what was tried. An ack that is
// still on its way to this session must find its delivery, for what the device
// said stays true: these entries are kept.
func (s *Session) abandon() (calls []*OnlineCall, tried []attempt) {
	w := s.work
	tried = w.tried
	w.tried = nil
	calls, _ = s.takeCalls()
	for i := range w.flight {
		f := &w.flight[i]
		if f.gone {
			continue
		}
		if f.attempts > 0 {
			tried = append(tried, attempt{f.seq, f.attempts})
		}
		s.leave(f)
		f.gone = true
	}
	w.gone = len(w.flight)
	s.relax()
	return calls, tried
}

func (s *Session) outcome(f *inflight, st State, reason string, at time.Time) Outcome {
	return Outcome{Message: f.message, Client: s.client, Ref: s.ref, Seq: f.seq, State: st, Reason: reason,
		Attempts: int(f.attempts), SentAt: timeOf(f.sentAt), At: at}
}
