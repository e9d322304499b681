package protocol

import "time"

// Asking (SPEC §2.3). A device says in REGISTER up to which sequence it has
// handled the deliveries that reached it. If the server agrees, it sends no
// payload up to that sequence again: it asks for the verdict, with a DATA frame
// that has no payload.

// workingEvery is how often an AckWorking for one delivery counts.
const workingEvery = time.Second

// agree decides at the end of a registration whether ASK may be used.
func (s *Session) agree(a *Registered) {
	a.Ask = a.Ask && s.asks
	s.asks = a.Ask
}

// checkAsk returns why m, a DATA with HEAD, is not an ASK; nil if it is.
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

// Ask asks the device for its verdict on seq. The ASK takes a place in the
// window, as Send does, and keeps it until KindAck or KindAckTimeout with Ask
// set; Send then transmits the payload in that place. Errors: those of Send, and
// ErrCannotAsk.
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

// onAsk processes a server's ASK. The device also answers for a sequence above
// its ask_through (SPEC §2.3).
func (s *Session) onAsk(m *message) {
	if s.role == Server {
		s.fail(broken(ReasonProtocolError, "only a server asks"))
		return
	}
	s.push(Event{Kind: KindAsk, Seq: m.seq})
}

// onWorking restarts the ack timeout of f and reports it, at most once a second.
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

// TooSoon returns the number of AckWorking dropped since the last call, modulo
// 65,536: each came less than a second after an accepted one for the same
// delivery.
func (s *Session) TooSoon() int {
	n := int(s.tooSoon)
	s.tooSoon = 0
	return n
}

// sendable returns the code that the session sends for c; ok is false if it sends
// nothing.
func (s *Session) sendable(c AckCode) (said AckCode, ok bool) {
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
