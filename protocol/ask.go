package protocol

import "time"

// Asking (SPEC §2.3). A device says in REGISTER how far it has handled what
// reached it. If the server agrees, it sends no payload up to there again: it
// asks for the verdict, with a DATA frame that has no payload.

// workingEvery is how often an AckWorking for one delivery counts.
const workingEvery = time.Second

// agree settles at the end of a registration whether ASK may be used.
func (s *Session) agree(a *Registered) {
	a.Ask = a.Ask && s.asks
	s.asks = a.Ask
}

// checkAsk says why m, a DATA with HEAD, is no ASK.
func checkAsk(m *message, agreed bool) *wireError {
	switch {
	case !agreed:
		return broken(ReasonProtocolError, "HEAD without an agreement on ask")
	case !m.dup || m.ephemeral:
		return broken(ReasonProtocolError, "HEAD without DUP, or with EPHEMERAL")
	case len(m.payload) != 0:
		return broken(ReasonProtocolError, "HEAD with a payload of %d bytes", len(m.payload))
	}
	return nil
}

// Ask asks the device what became of seq. The question takes a place in the
// window, as Send does, and keeps it until KindAck or KindAckTimeout, whose Ask
// is set; Send then transmits the payload in that place. Errors: those of Send,
// and ErrCannotAsk.
func (s *Session) Ask(now time.Time, seq uint64) error {
	switch {
	case s.state == closed:
		return ErrClosed
	case s.state != open:
		return ErrNotRegistered
	case !s.asks || s.role == Device:
		return ErrCannotAsk
	case seq == 0:
		return ErrZeroSeq
	}
	return s.transmit(now, message{kind: typeData, seq: seq, dup: true, head: true})
}

// onAsk is a server's question. The device answers also for a sequence above
// its ask_through (SPEC §2.3).
func (s *Session) onAsk(now time.Time, m *message) {
	if s.role == Server {
		s.fail(now, broken(ReasonProtocolError, "only a server asks"))
		return
	}
	s.push(Event{Kind: KindAsk, Seq: m.seq})
}

// onWorking restarts the ack timeout of f and reports it, once a second at most.
func (s *Session) onWorking(now time.Time, f *flight, m *message) {
	i := s.at(now)
	if f.worked != 0 && i.since(f.worked) < workingEvery {
		s.tooSoon++
		return
	}
	e := s.answered(now, f, m)
	f.worked, f.repeated = i, true // the time to the verdict is no round trip
	if f.first == 0 {
		f.first, f.sent = i, i // Flushed is late
	}
	if f.sent != 0 { // otherwise the flush of a repeat restarts it
		f.sent, f.timedOut = i, false
	}
	s.push(e)
}

// TooSoon returns how many AckWorking were dropped since it was called before,
// modulo 65,536, because another one for the same delivery was taken less than a
// second earlier.
func (s *Session) TooSoon() int {
	n := int(s.tooSoon)
	s.tooSoon = 0
	return n
}

// sayable returns the code that the session says for c; ok is false if it says
// nothing.
func (s *Session) sayable(c AckCode) (said AckCode, ok bool) {
	agreed := s.asks && s.role == Device
	switch {
	case c <= AckRetry, c <= AckWorking && agreed:
	case c == AckNotKept:
		c = AckOK
	case c == AckWorking:
		return c, false
	default:
		c = AckRetry
	}
	return c, c == AckOK || s.traits.rejects
}
