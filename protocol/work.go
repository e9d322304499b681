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
// the pool, keepInFlight in a busy session, such as one that waits for acks.
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

// releaseWork drops large buffers that are empty, and returns the work to the pool if
// all are empty.
func (s *Session) releaseWork() {
	w := s.work
	if w == nil {
		return
	}
	taken := w.next == len(w.events)
	idle, keep := taken && len(w.in)+len(w.out)+len(w.flights) == 0, keepInFlight
	if idle {
		keep = keepPooled
	}
	w.in, w.out = dropLarge(w.in, keep), dropLarge(w.out, keep)
	if taken { // and cleared by Next
		w.events, w.next = dropLarge(w.events[:0], keepEntries), 0
	}
	if idle {
		w.flights = dropLarge(w.flights, keepEntries)
		s.work = nil
		works.Put(w)
	}
}

// dropLarge returns b, or nil if b is empty and has room for more than keep entries.
func dropLarge[T any](b []T, keep int) []T {
	if len(b) == 0 && cap(b) > keep {
		return nil
	}
	return b
}

func (s *Session) push(e Event) {
	w := s.busy()
	w.events = append(w.events, e)
}
