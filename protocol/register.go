package protocol

import (
	"cmp"
	"time"
)

// NewDevice returns the device's end of a connection that was made at now;
// Unknown is V2. Its REGISTER is in the output at once. A registration that the dialect cannot
// carry closes the session at once, with ReasonBadClientID or
// ReasonBadRegister.
func NewDevice(cfg *Config, d Dialect, r Register, now time.Time) *Session {
	s := newSession(cfg, Device, now)
	d = cmp.Or(d, V2)
	s.speak(d)
	s.id = r.ID
	if err := checkRegister(d, &r); err != nil {
		s.state, s.dialect = closed, Unknown
		s.push(Event{Kind: KindClosed, Close: Close{Code: CloseProtocol, Reason: err.reason, Text: err.text}})
		return s
	}
	s.write(&message{kind: typeRegister, register: &r})
	if s.v1 != nil {
		s.v1.register = &Register{ID: r.ID, Token: r.Token}
		s.v1.repeatAt = s.at(now).add(s.cfg.v1AckTimeout())
	}
	s.settle(now)
	return s
}

// checkRegister says why a registration cannot be sent.
func checkRegister(d Dialect, r *Register) *wireError {
	limit := maxClientID
	if d == V1 {
		limit = maxV1Payload
	}
	switch {
	case !validID(r.ID, limit):
		return broken(ReasonBadClientID, "id must be 1 to %d of A-Z a-z 0-9 . _ : @ -", limit)
	case d == V1 && r.Token != "" && (!validV1Token(r.Token) || len(r.ID)+1+len(r.Token) > maxV1Payload):
		return broken(ReasonBadRegister, "v1 takes a token of printable characters and, with the id, of at most %d bytes", maxV1Payload-1)
	case d == Text && !isPlainText([]byte(r.Token)):
		return broken(ReasonBadRegister, "token has control characters")
	case d == Text && len(r.ID)+len(r.Token) > maxRegister-longestVerb:
		return broken(ReasonBadRegister, "token too long")
	case d == V2:
		_, err := decodeRegister(encodeRegister(r))
		return err
	}
	return nil
}

// onRegister is the server's side of a registration (SPEC §2.1).
func (s *Session) onRegister(now time.Time, m *message) {
	r := m.register
	switch {
	case s.role == Device:
		s.unexpected(now, m)
	case s.state == awaiting:
		s.id = r.ID
		s.window = uint16(s.cfg.window(s.dialect, r.Window))
		if r.Heartbeat != 0 {
			s.heartbeat = max(MinHeartbeat, min(r.Heartbeat, MaxHeartbeat))
		}
		s.state = deciding
		s.push(Event{Kind: KindRegister, Register: r})
	case s.dialect == V1 && r.ID == s.id:
		// The first client program repeats its REGISTER until it hears 2#ok.
		s.write(&message{kind: typeRegisterAck, accepted: &Registered{}})
	default:
		s.fail(now, broken(ReasonAlreadyRegistered, "this connection is registered as %s", s.id))
	}
}

// Accept answers KindRegister: the client is registered. Zero fields of a mean
// what was negotiated. It does nothing at any other time.
func (s *Session) Accept(now time.Time, a Registered) {
	if s.state != deciding {
		return
	}
	s.heartbeat = cmp.Or(a.Heartbeat, s.heartbeat)
	s.grace = cmp.Or(a.Grace, s.grace)
	s.window = uint16(s.cfg.window(s.dialect, cmp.Or(a.Window, int(s.window))))
	if a.MaxPayload > 0 {
		s.maxPayload = int32(min(a.MaxPayload, s.cfg.maxPayload(s.dialect)))
	}
	a.Heartbeat, a.Grace, a.Window, a.MaxPayload = s.heartbeat, s.grace, s.Window(), s.MaxPayload()
	if s.cfg.Jitter != nil {
		s.early = max(0, min(s.cfg.Jitter(s.heartbeat), s.heartbeat))
	}
	s.state = open
	s.malformed = 0
	s.write(&message{kind: typeRegisterAck, accepted: &a})
	s.parseKept(now)
	s.settle(now)
}

// Refuse answers KindRegister: the client may not register, with CLOSE and
// KindClosed. v1 has no CLOSE: its client is told 2#er and may try again until
// the registration deadline. It does nothing at any other time.
func (s *Session) Refuse(now time.Time, c Close) {
	if s.state != deciding {
		return
	}
	if s.dialect != V1 {
		s.Close(now, c)
		return
	}
	s.state, s.id = awaiting, ""
	s.write(&message{kind: typeRegisterAck}) // 2#er
	s.parseKept(now)
	s.settle(now)
}

// onRegisterAck is the device's side (SPEC §2.1).
func (s *Session) onRegisterAck(now time.Time, m *message) {
	switch {
	case s.role == Server || s.state != awaiting && s.dialect != V1:
		s.unexpected(now, m)
	case s.state != awaiting:
		// A second 2#ok answers a REGISTER that was repeated too early.
	case m.accepted == nil:
		s.v1.refused = true
		s.v1.repeatAt = s.at(now).add(s.cfg.v1AckTimeout())
	default:
		s.registered(m.accepted)
	}
}

func (s *Session) registered(a *Registered) {
	s.heartbeat = cmp.Or(a.Heartbeat, s.heartbeat)
	s.grace = cmp.Or(a.Grace, s.grace)
	s.window = uint16(s.cfg.window(s.dialect, a.Window))
	if a.MaxPayload > 0 && s.dialect == V2 {
		s.maxPayload = int32(a.MaxPayload)
	}
	a.Heartbeat, a.Grace, a.Window, a.MaxPayload = s.heartbeat, s.grace, s.Window(), s.MaxPayload()
	s.state = open
	if s.v1 != nil {
		s.v1.repeatAt = 0
	}
	s.push(Event{Kind: KindRegistered, Registered: a})
}

// onError is a server's ERROR line. Before registration there is nothing that
// a program could do better, so it ends there.
func (s *Session) onError(now time.Time, m *message) {
	switch {
	case s.role == Server:
		s.refuse(now, unknownCommand())
	case s.state == awaiting:
		s.shut(now, Close{Code: CloseProtocol, Reason: ReasonRegisterRefused, Text: m.close.Text, Remote: true})
	default:
		s.push(Event{Kind: KindMalformed, Close: Close{Reason: ReasonRemoteError, Text: m.close.Text, Remote: true}})
	}
}

// advanceRegister ends a connection that has not registered in time. A v1
// device repeats its REGISTER until then.
func (s *Session) advanceRegister(now time.Time) {
	i := s.at(now)
	if i >= s.registerBy {
		c := Close{Code: CloseHeartbeat, Reason: ReasonRegisterTimeout}
		if s.v1 != nil && s.v1.refused {
			c = Close{Reason: ReasonRegisterRefused}
		}
		s.shut(now, c)
		return
	}
	if s.v1 != nil && s.v1.repeatAt != 0 && i >= s.v1.repeatAt {
		s.v1.repeatAt = i.add(s.cfg.v1AckTimeout())
		s.write(&message{kind: typeRegister, register: s.v1.register})
	}
}
