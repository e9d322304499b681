package protocol

import "time"

// write appends m to the output in the session's dialect. With stop-and-wait the
// frame waits for its turn.
func (s *Session) write(m message) {
	if s.wait != nil {
		s.wait.hold(s.traits, m)
		return
	}
	w := s.busy()
	w.out = s.traits.append(w.out, m)
}

// Pending returns how many bytes AppendOutput would append now.
func (s *Session) Pending() int {
	if s.work == nil {
		return 0
	}
	return len(s.work.out)
}

// Buffered returns how many output bytes the session holds, including frames that
// wait for their turn. The session never drops a frame; the driver must bound
// this number.
func (s *Session) Buffered() int {
	n := s.Pending()
	if s.wait != nil {
		n += s.wait.buffered()
	}
	return n
}

// OutputMemory returns how much memory the bytes of Buffered take: a buffer has room to
// grow.
func (s *Session) OutputMemory() int {
	n := s.Buffered() - s.Pending()
	if s.work != nil {
		n += cap(s.work.out)
	}
	return n
}

// AppendOutput is AppendOutputAt for a driver that has not read the clock. Without
// Config.Frames it does not read it either.
func (s *Session) AppendOutput(b []byte) []byte {
	now := time.Time{}
	if s.cfg.Frames != nil {
		now = time.Now()
	}
	return s.AppendOutputAt(now, b)
}

// AppendOutputAt moves the pending bytes to b. The driver writes them to the
// socket in order and calls Flushed. now is for Config.Frames.
func (s *Session) AppendOutputAt(now time.Time, b []byte) []byte {
	w := s.work
	if w == nil || len(w.out) == 0 {
		return b
	}
	if s.cfg.Frames != nil {
		s.observeOutput(now, w.out)
	}
	b = append(b, w.out...)
	s.taken += uint64(len(w.out))
	w.out = w.out[:0]
	if s.wait != nil {
		s.wait.taken()
	}
	s.releaseWork()
	return b
}

// Flushed reports that n more of the taken bytes have reached the socket. Ack
// timers start here.
func (s *Session) Flushed(now time.Time, n int) {
	s.flushed = min(s.flushed+uint64(max(n, 0)), s.taken)
	if s.state == closed {
		return
	}
	if s.wait != nil && n > 0 && s.flushed == s.taken {
		s.wait.flushed(s, s.at(now))
	}
	if s.work != nil {
		s.markSent(now)
	}
	s.afterChange(now)
}
