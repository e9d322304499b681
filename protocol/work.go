package protocol

import "sync"

// work is the state of a busy session. It comes from a pool and returns there as
// soon as it is empty, so an idle session holds no buffer.
type work struct {
	in      []byte   // input that is not a whole frame yet, or waits for the driver's decision
	begun   instant  // when the first byte of in came
	out     []byte   // output that may be taken now
	events  []Event  // events before next are taken
	next    int      //
	flights []flight // the window, in order of first transmission
}

// Capacity in bytes or entries above which a buffer is not kept: keepPooled in
// the pool, keepInFlight in a session that waits for acks.
const (
	keepPooled   = 4 << 10
	keepInFlight = 512
	keepEntries  = 32
)

var works = sync.Pool{New: func() any { return new(work) }}

// busy returns the session's work; it takes one from the pool if there is none.
func (s *Session) busy() *work {
	if s.work == nil {
		s.work = works.Get().(*work)
	}
	return s.work
}

// releaseWork returns the work to the pool if it is empty.
func (s *Session) releaseWork() {
	w := s.work
	if w == nil || len(w.in)+len(w.out)+len(w.flights) > 0 || w.next < len(w.events) {
		return
	}
	if cap(w.in) > keepPooled {
		w.in = nil
	}
	if cap(w.out) > keepPooled {
		w.out = nil
	}
	if cap(w.events) > keepEntries {
		w.events = nil
	}
	if cap(w.flights) > keepEntries {
		w.flights = nil
	}
	w.events, w.next = w.events[:0], 0 // Next has cleared what it took
	s.work = nil
	works.Put(w)
}

func (s *Session) push(e Event) {
	w := s.busy()
	if w.next == len(w.events) {
		w.events, w.next = w.events[:0], 0
	}
	w.events = append(w.events, e)
}
