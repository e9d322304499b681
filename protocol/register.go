package protocol

import (
	"cmp"
	"time"
)

// NewDevice returns the device's end of a connection that was made at now;
// dialect Unknown means V2. Its REGISTER is in the output at once. A registration
// that the dialect cannot carry closes the session at once, with
// ReasonBadClientID or ReasonBadRegister.
func NewDevice(cfg *Config, d Dialect, r Register, now time.Time) *Session {
	s := newSession(cfg, Device, now)
	d = cmp.Or(d, V2)
	s.id = r.ID
	if err := dialects[d].check(&r); err != nil {
		s.state = closed
		s.push(Event{Kind: KindClosed, Close: Close{Code: CloseProtocol, Reason: err.reason, Text: err.text}})
		return s
	}
	s.speak(d)
	s.asks = s.traits.ask && r.Asks
	if s.traits.paces && r.Heartbeat != 0 {
		s.heartbeat = clampHeartbeat(r.Heartbeat) // a REGISTER_ACK may set another
	}
	s.write(message{kind: typeRegister, register: &r})
	if s.wait != nil {
		s.wait.register = &Register{ID: r.ID, Token: r.Token}
		s.wait.repeatLater(s, s.at(now))
	}
	s.afterChange(now)
	return s
}

// onRegister processes a REGISTER on the server (SPEC §2.1).
func (s *Session) onRegister(now time.Time, m *message) {
	r := m.register
	switch {
	case s.role == Device:
		s.unexpected(m)
	case s.state == awaiting:
		s.id = r.ID
		s.window = uint16(s.cfg.window(s.traits, r.Window))
		if r.Heartbeat != 0 {
			s.heartbeat = max(MinHeartbeat, min(r.Heartbeat, s.cfg.maxHeartbeat()))
		}
		s.asks = s.traits.ask && r.Asks
		s.state, s.askedAt = deciding, s.at(now)
		s.push(Event{Kind: KindRegister, Register: r})
	case s.traits.repeatsRegister && r.ID == s.id:
		s.write(message{kind: typeRegisterAck, accepted: &Registered{}})
	default:
		s.fail(broken(ReasonAlreadyRegistered, "this connection is registered as %s", s.id))
	}
}

func clampHeartbeat(d time.Duration) time.Duration { return max(MinHeartbeat, min(d, MaxHeartbeat)) }

// Accept answers KindRegister: the client is registered. Zero fields of a stand
// for the negotiated values; Ask is an agreement only if the client has offered
// it. At any other time Accept does nothing.
func (s *Session) Accept(now time.Time, a Registered) {
	if s.state != deciding {
		return
	}
	s.heartbeat = cmp.Or(a.Heartbeat, s.heartbeat)
	s.grace = cmp.Or(a.Grace, s.grace)
	s.window = uint16(s.cfg.window(s.traits, cmp.Or(a.Window, int(s.window))))
	if a.MaxPayload > 0 {
		s.maxPayload = int32(min(a.MaxPayload, s.cfg.maxPayload(s.traits)))
	}
	a.Heartbeat, a.Grace, a.Window, a.MaxPayload = s.heartbeat, s.grace, s.Window(), s.MaxPayload()
	s.agree(&a)
	if s.cfg.Jitter != nil {
		s.phaseDebt = max(0, min(s.cfg.Jitter(s.heartbeat), s.heartbeat))
	}
	s.state, s.answerBy, s.askedAt = open, 0, 0
	s.lastIn = s.at(now) // the client waited for the decision: that was no silence (SPEC §6)
	s.write(message{kind: typeRegisterAck, accepted: &a})
	s.parseKept(now)
	s.afterChange(now)
}

// Refuse answers KindRegister: the client may not register. The session ends with
// CLOSE and KindClosed. A client that repeats its REGISTER, as in v1, gets a
// refusing REGISTER_ACK and may try again until the registration deadline, which has
// stood still since the REGISTER, but for maxDeciding in all at most. At any other time
// Refuse does nothing.
func (s *Session) Refuse(now time.Time, c Close) {
	if s.state != deciding {
		return
	}
	if !s.traits.repeatsRegister {
		s.Close(c)
		return
	}
	i := s.at(now)
	s.state, s.id = awaiting, ""
	s.answerBy = min(s.answerBy.add(i.since(s.askedAt)), s.at(s.start).add(s.cfg.registerTime()+maxDeciding))
	s.askedAt = 0
	if i >= s.answerBy {
		s.advanceRegister(now) // the next REGISTER may be here already
	} else {
		s.write(message{kind: typeRegisterAck}) // 2#er
		s.parseKept(now)
	}
	s.afterChange(now)
}

// onRegisterAck processes a REGISTER_ACK on the device (SPEC §2.1).
func (s *Session) onRegisterAck(now time.Time, m *message) {
	switch {
	case s.role == Server || s.state != awaiting && !s.traits.repeatsRegister:
		s.unexpected(m)
	case s.state != awaiting:
		// It answers a REGISTER that was repeated too early.
	case m.accepted == nil:
		s.wait.refused = true
		s.wait.repeatLater(s, s.at(now))
	default:
		s.registered(m.accepted)
	}
}

func (s *Session) registered(a *Registered) {
	s.heartbeat = cmp.Or(a.Heartbeat, s.heartbeat)
	s.grace = cmp.Or(a.Grace, s.grace)
	s.window = uint16(s.cfg.window(s.traits, a.Window))
	if a.MaxPayload > 0 {
		s.maxPayload = int32(a.MaxPayload)
	}
	a.Heartbeat, a.Grace, a.Window, a.MaxPayload = s.heartbeat, s.grace, s.Window(), s.MaxPayload()
	s.agree(a)
	s.state, s.answerBy = open, 0
	if s.wait != nil {
		s.wait.repeatAt = 0
	}
	s.push(Event{Kind: KindRegistered, Registered: a})
}

// onError processes a server's ERROR line. It ends the session before
// registration, because a program cannot correct itself.
func (s *Session) onError(m *message) {
	switch {
	case s.role == Server:
		s.refuse(unknownCommand())
	case s.state == awaiting:
		s.shut(Close{Code: CloseProtocol, Reason: ReasonRegisterRefused, Text: m.close.Text, Remote: true})
	default:
		s.push(Event{Kind: KindMalformed, Close: Close{Reason: ReasonRemoteError, Text: m.close.Text, Remote: true}})
	}
}

// advanceRegister closes a connection that has not registered in time. A
// stop-and-wait device repeats its REGISTER until then.
func (s *Session) advanceRegister(now time.Time) {
	i := s.at(now)
	if i >= s.answerBy {
		c := Close{Code: CloseHeartbeat, Reason: ReasonRegisterTimeout}
		if s.wait != nil && s.wait.refused {
			c = Close{Reason: ReasonRegisterRefused}
		}
		s.shut(c)
		return
	}
	if s.wait != nil {
		s.wait.repeat(s, i)
	}
}
