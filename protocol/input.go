package protocol

import "time"

// consume parses p, after what was kept of earlier input, and keeps what is
// not a whole message yet: at most one frame, line or lone type byte, or
// maxPendingIn bytes while the driver decides about a registration.
func (s *Session) consume(now time.Time, p []byte) {
	if s.work == nil || len(s.work.in) == 0 {
		s.keep(now, s.parse(now, p))
		return
	}
	w := s.work
	if s.state == deciding && len(w.in)+len(p) > maxPendingIn {
		s.fail(now, broken(ReasonInputOverflow, "more than %d bytes before the registration was answered", maxPendingIn))
		return
	}
	w.in = append(w.in, p...)
	if s.state != deciding {
		s.parseKept(now)
	}
}

// parseKept goes on with the kept input.
func (s *Session) parseKept(now time.Time) {
	if s.work == nil || len(s.work.in) == 0 {
		return
	}
	in := s.work.in
	s.work.in = nil // so that nobody else touches it
	rest := s.parse(now, in)
	if s.state == closed {
		return
	}
	w := s.busy()
	w.in = in[:copy(in, rest)]
}

func (s *Session) keep(now time.Time, rest []byte) {
	if len(rest) == 0 || s.state == closed {
		return
	}
	if s.state == deciding && len(rest) > maxPendingIn {
		s.fail(now, broken(ReasonInputOverflow, "more than %d bytes before the registration was answered", maxPendingIn))
		return
	}
	w := s.busy()
	w.in = append(w.in[:0], rest...)
}

// parse handles the messages at the start of b and returns what is left.
func (s *Session) parse(now time.Time, b []byte) (rest []byte) {
	if s.dialect == Unknown && !s.sniff(now, b) {
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

// parseOne handles the message at the start of b and returns its size, 0 when
// it is not complete or the session was closed.
func (s *Session) parseOne(now time.Time, b []byte) int {
	switch s.dialect {
	case V2:
		return s.parseV2(now, b)
	case Text:
		return s.parseText(now, b)
	default:
		return s.parseV1(now, b)
	}
}

func (s *Session) parseV2(now time.Time, b []byte) int {
	f, n, err := parseFrame(b, s.maxBody())
	if err == nil && n == 0 {
		return 0
	}
	var m message
	if err == nil {
		m, err = decodeFrame(f)
	}
	if err != nil {
		s.fail(now, err)
		return 0
	}
	s.handle(now, &m)
	return n
}

func (s *Session) parseText(now time.Time, b []byte) int {
	line, n, err := nextLine(b, s.maxLine())
	if err != nil {
		s.writeError(err)
		s.fail(now, err)
		return 0
	}
	if n == 0 {
		return 0
	}
	m, err := parseLine(line)
	switch {
	case err != nil && s.strangeLine(now, line, err):
	case err != nil:
		s.refuseLine(now, err)
	default:
		s.handle(now, &m)
	}
	return n
}

// parseV1 handles one message of a read. A read of one lone type byte is the
// one thing it waits to see completed: nothing else in v1 tells where a
// message ends.
func (s *Session) parseV1(now time.Time, b []byte) int {
	if len(b) == 1 && b[0] >= typeRegister && b[0] <= typeAck {
		return 0
	}
	msg, _ := cutV1(b)
	if m, err := decodeV1(msg, s.role, s.cfg.V1Token); err != nil {
		s.refuseV1(err)
	} else {
		s.handle(now, &m)
	}
	return len(msg)
}

// maxBody bounds a v2 frame body (SPEC §8).
func (s *Session) maxBody() int {
	if s.state != open {
		return maxRegister
	}
	return max(s.inboundPayload()+bodyOverhead, maxRegister)
}

// maxLine bounds a text line (SPEC §8).
func (s *Session) maxLine() int {
	if s.state != open {
		return maxRegister
	}
	return maxLine
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
		s.onClose(now, m)
	case kindError:
		s.onError(now, m)
	case typeHeartbeat, typeHeartbeatAck:
		s.onHeartbeat(now, m)
	case typeData:
		s.onData(now, m)
	case typeAck:
		s.onAck(now, m)
	}
	if s.state == open && s.malformed == refused {
		s.malformed = 0 // they count in a row
	}
}

func (s *Session) onClose(now time.Time, m *message) {
	c := remoteClose(m.close)
	if s.role == Server {
		c.Reason = ReasonClientClosed
	}
	s.shut(now, c)
}

func (s *Session) onData(now time.Time, m *message) {
	if s.state != open {
		s.unexpected(now, m)
		return
	}
	if len(m.payload) > s.inboundPayload() {
		s.refuse(now, broken(ReasonFrameTooLarge, "payload of %d bytes, at most %d", len(m.payload), s.inboundPayload()))
		return
	}
	if s.role == Server && m.ephemeral {
		if s.dialect == Text {
			s.refuse(now, broken(ReasonProtocolError, "only the server numbers with e"))
			return
		}
		m.ephemeral = false // has no meaning from a device (SPEC §4.1)
	}
	payload := append(make([]byte, 0, len(m.payload)), m.payload...)
	s.push(Event{Kind: KindData, Seq: m.seq, Ephemeral: m.ephemeral, Dup: m.dup, Payload: payload})
}

// inboundPayload bounds what comes in. A server has told its bound to the
// device; a device takes what either bound allows.
func (s *Session) inboundPayload() int {
	if s.role == Server {
		return int(s.maxPayload)
	}
	return max(int(s.maxPayload), s.cfg.maxPayload(s.dialect))
}

// unexpected answers a message that has no place in this state or role.
func (s *Session) unexpected(now time.Time, m *message) {
	if s.state == awaiting && s.role == Server {
		s.refuse(now, broken(ReasonNotRegistered, "register first"))
		return
	}
	s.refuse(now, broken(ReasonProtocolError, "unexpected message type %d", m.kind))
}

// refuse answers input that breaks a rule, in the manner of the dialect: v2
// closes, v1 and text go on (SPEC §7.3).
func (s *Session) refuse(now time.Time, e *wireError) {
	switch s.dialect {
	case V1:
		s.refuseV1(e)
	case Text:
		s.refuseLine(now, e)
	default:
		s.fail(now, e)
	}
}

func (s *Session) refuseV1(e *wireError) {
	s.push(Event{Kind: KindMalformed, Close: Close{Reason: e.reason, Text: e.text}})
	if s.role == Server && s.state == awaiting {
		s.write(&message{kind: typeRegisterAck}) // 2#er
	}
}

func (s *Session) refuseLine(now time.Time, e *wireError) {
	s.writeError(e)
	s.push(Event{Kind: KindMalformed, Close: Close{Reason: e.reason, Text: e.text}})
	if s.malformed++; s.malformed > maxMalformed {
		s.fail(now, broken(ReasonTooManyErrors, "%d lines refused in a row", s.malformed))
	}
}

// writeError writes an ERROR line; only servers do.
func (s *Session) writeError(e *wireError) {
	if s.role != Server {
		return
	}
	code := "400 "
	switch e.reason {
	case ReasonNotRegistered:
		code = "401 "
	case ReasonFrameTooLarge:
		code = "413 "
	}
	s.write(&message{kind: kindError, close: Close{Text: code + e.text}})
}
