package protocol

import "time"

// consume parses the kept input and p, and keeps an incomplete message: at most
// one frame, line or lone type byte, or maxPendingIn bytes while the driver
// decides about a registration.
func (s *Session) consume(now time.Time, p []byte) {
	if s.work == nil || len(s.work.in) == 0 {
		s.keep(now, s.parse(now, p))
		return
	}
	w := s.work
	if s.state == deciding && len(w.in)+len(p) > maxPendingIn {
		s.fail(broken(ReasonInputOverflow, "more than %d bytes before the registration was answered", maxPendingIn))
		return
	}
	w.in = append(w.in, p...)
	if s.state != deciding {
		s.parseKept(now)
	}
}

// parseKept parses the kept input further.
func (s *Session) parseKept(now time.Time) {
	if s.work == nil || len(s.work.in) == 0 {
		return
	}
	in := s.work.in
	s.work.in = nil // no other function may touch it now
	rest := s.parse(now, in)
	if s.state == closed {
		return
	}
	w := s.busy()
	if len(rest) < len(in) {
		w.begun = s.at(now) // another frame
	}
	w.in = in[:copy(in, rest)]
}

func (s *Session) keep(now time.Time, rest []byte) {
	if len(rest) == 0 || s.state == closed {
		return
	}
	if s.state == deciding && len(rest) > maxPendingIn {
		s.fail(broken(ReasonInputOverflow, "more than %d bytes before the registration was answered", maxPendingIn))
		return
	}
	w := s.busy()
	w.in, w.begun = append(w.in[:0], rest...), s.at(now)
}

// parse handles the messages at the start of b and returns the rest.
func (s *Session) parse(now time.Time, b []byte) (rest []byte) {
	if s.traits == unspoken && !s.sniff(b) {
		return b
	}
	for len(b) > 0 && (s.state == awaiting || s.state == open) {
		n := s.parseOne(now, b)
		if n == 0 {
			break
		}
		b = b[n:]
		s.unasked++
	}
	return b
}

// parseOne handles the message at the start of b and returns its size, 0 if it is
// incomplete or the session was closed.
func (s *Session) parseOne(now time.Time, b []byte) int {
	m, n, err := s.traits.parse(b, reading{s.role, s.state == open, s.inboundPayload(), s.cfg.V1Token, s.asks && s.state == open})
	if s.cfg.Frames != nil && (n > 0 || err != nil) {
		seen := b
		if n > 0 {
			seen = b[:n]
		}
		s.observeInput(now, &m, seen, err)
	}
	switch {
	case err == nil && n == 0:
	case err == nil:
		s.handle(now, &m)
	case n == 0:
		s.writeRefusal(err)
		s.fail(err)
	case s.foreignLine(b[:n], err):
	default:
		s.refuse(err)
	}
	return n
}

// handle is the state machine behind all dialects (SPEC §2).
func (s *Session) handle(now time.Time, m *message) {
	refused := s.malformed
	switch m.kind {
	case kindBlank:
		return
	case typeRegister:
		s.onRegister(now, m)
	case typeRegisterAck:
		s.onRegisterAck(now, m)
	case typeClose:
		s.onClose(m)
	case kindError:
		s.onError(m)
	case typeHeartbeat, typeHeartbeatAck:
		s.onHeartbeat(now, m)
	case typeData:
		s.onData(m)
	case typeAck:
		s.onAck(now, m)
	}
	if s.malformed == refused {
		s.malformed = 0 // only refusals in a row count
	}
}

func (s *Session) onClose(m *message) {
	c := remoteClose(*m.close)
	if s.role == Server {
		c.Reason = ReasonClientClosed
	}
	s.shut(c)
}

func (s *Session) onData(m *message) {
	if s.state != open {
		s.unexpected(m)
		return
	}
	if s.tooLarge(m) {
		return
	}
	if s.role == Server && m.ephemeral {
		if s.traits.ownsEphemeral {
			s.refuse(broken(ReasonProtocolError, "only the server numbers with e"))
			return
		}
		m.ephemeral = false // has no meaning from a device (SPEC §4.1)
	}
	if m.head {
		s.onAsk(m)
		return
	}
	payload := append(make([]byte, 0, len(m.payload)), m.payload...)
	s.push(Event{Kind: KindData, Seq: m.seq, Ephemeral: m.ephemeral, Dup: m.dup, Payload: payload})
}

// tooLarge refuses a payload, result or reason above the bound (SPEC §8).
func (s *Session) tooLarge(m *message) bool {
	most := s.inboundPayload()
	if len(m.payload) <= most {
		return false
	}
	s.refuse(broken(ReasonFrameTooLarge, "payload of %d bytes, at most %d", len(m.payload), most))
	return true
}

// inboundPayload bounds received payloads. A server's bound is in its
// REGISTER_ACK; a device accepts the larger of both bounds.
func (s *Session) inboundPayload() int {
	if s.role == Server {
		return int(s.maxPayload)
	}
	return max(int(s.maxPayload), s.cfg.maxPayload(s.traits))
}

// unexpected answers a message that this state or role does not allow.
func (s *Session) unexpected(m *message) {
	if s.state == awaiting && s.role == Server {
		s.refuse(broken(ReasonNotRegistered, "register first"))
		return
	}
	s.refuse(broken(ReasonProtocolError, "unexpected message type %d", m.kind))
}

// refuse answers input that breaks a rule. If the dialect forgives, the session
// drops the input and stays open; otherwise it closes (SPEC §7.3).
func (s *Session) refuse(e *wireError) {
	if !s.traits.forgives {
		s.fail(e)
		return
	}
	s.push(Event{Kind: KindMalformed, Close: Close{Reason: e.reason, Text: e.text}, Payload: e.badID()})
	s.writeRefusal(e)
	if s.traits.maxRefused == 0 {
		return
	}
	if s.malformed++; s.malformed > s.traits.maxRefused {
		s.fail(broken(ReasonTooManyErrors, "%d lines refused in a row", s.malformed))
	}
}

// writeRefusal writes a server's answer to refused input, if the dialect has one.
func (s *Session) writeRefusal(e *wireError) {
	switch {
	case s.role != Server:
	case s.traits.errors:
		s.write(message{kind: kindError, close: &Close{Text: errorText(e)}})
	case s.traits.repeatsRegister && s.state == awaiting:
		s.write(message{kind: typeRegisterAck}) // 2#er
	}
}

// errorText returns the code and the text of an ERROR line (SPEC §7.3).
func errorText(e *wireError) string {
	switch e.reason {
	case ReasonNotRegistered:
		return "401 " + e.text
	case ReasonFrameTooLarge:
		return "413 " + e.text
	}
	return "400 " + e.text
}
