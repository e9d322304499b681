package protocol

import "time"

// write appends m to the output in the session's dialect. v1 frames wait for
// their turn (see pace.go).
func (s *Session) write(m *message) {
	switch s.dialect {
	case V1:
		s.holdV1(m)
	case Text:
		w := s.busy()
		w.out = appendText(w.out, m)
	case V2:
		w := s.busy()
		w.out = appendV2(w.out, m)
	}
}

// Pending returns how many bytes AppendOutput would give now.
func (s *Session) Pending() int {
	if s.work == nil {
		return 0
	}
	return len(s.work.out)
}

// Buffered returns how many output bytes the session holds, those that a v1
// peer must not see yet included. The session never drops a frame by itself:
// the driver bounds this.
func (s *Session) Buffered() int {
	n := s.Pending()
	if s.v1 != nil {
		n += len(s.v1.held) + len(s.v1.data)
	}
	return n
}

// AppendOutput moves the pending bytes to b. The driver writes them to the
// socket in order and calls Flushed.
func (s *Session) AppendOutput(b []byte) []byte {
	w := s.work
	if w == nil || len(w.out) == 0 {
		return b
	}
	b = append(b, w.out...)
	s.taken += uint64(len(w.out))
	w.out = w.out[:0]
	if cap(w.out) > keepInFlight {
		w.out = nil
	}
	if s.v1 != nil {
		s.takenV1()
	}
	s.rest()
	return b
}

// Flushed tells that n more of the bytes taken have reached the socket. Ack
// timers start here.
func (s *Session) Flushed(now time.Time, n int) {
	s.flushed = min(s.flushed+uint64(max(n, 0)), s.taken)
	if s.state == closed {
		return
	}
	if s.v1 != nil && n > 0 && s.flushed == s.taken {
		s.flushedV1(s.at(now))
	}
	if s.work != nil {
		s.markSent(now)
	}
	s.settle(now)
}
