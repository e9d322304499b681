package protocol

import "time"

// Heartbeats (SPEC §6). Any byte from the peer is a sign of life. A server that
// has received nothing for the heartbeat sends one; when the grace passes too,
// the peer is gone. Before a client's first answer in time, the patience of its
// dialect stands in the place of a shorter heartbeat. A device watches its server in
// the same way, but lets the server ask first.

// noteInput notes that the peer has sent something.
func (s *Session) noteInput(now time.Time) {
	s.lastIn = s.at(now)
	if s.state == open {
		s.answerBy = 0
		s.notSuspect()
	}
}

// Ping sends a heartbeat now, as if it were due. It does nothing while one is
// unanswered, before registration, or while a stop-and-wait client owes an ack.
func (s *Session) Ping(now time.Time) {
	if s.state == open && s.answerBy == 0 && !s.mustNotAsk() {
		s.ask(s.at(now))
		s.afterChange(now)
	}
}

// mustNotAsk reports whether a heartbeat could spoil an unanswered delivery.
func (s *Session) mustNotAsk() bool {
	return s.wait != nil && s.role == Server && s.wait.outstanding()
}

// heartbeatDue returns when advanceHeartbeat must run next.
func (s *Session) heartbeatDue() instant {
	switch {
	case s.answerBy != 0:
		return s.answerBy
	case s.mustNotAsk():
		return s.deadAt()
	}
	return s.askAt()
}

// askAt returns when the peer has been silent long enough for a heartbeat.
func (s *Session) askAt() instant {
	if s.role == Device {
		return s.lastIn.add(s.heartbeat + s.grace)
	}
	return s.lastIn.add(s.heartbeat - s.phaseStep())
}

// phaseStep is the part of phaseDebt by which the next heartbeat comes early: at
// most half an interval, so that each keeps at least half of its interval.
func (s *Session) phaseStep() time.Duration { return min(s.phaseDebt, s.heartbeat/2) }

// deadAt returns when to give up a client that could not be asked.
func (s *Session) deadAt() instant { return s.lastIn.add(s.heartbeat + s.grace) }

func (s *Session) advanceHeartbeat(now time.Time) {
	i, due := s.at(now), s.heartbeatDue()
	if i < due {
		return
	}
	if s.answerBy != 0 || s.mustNotAsk() {
		s.shut(Close{Code: CloseHeartbeat, Reason: ReasonHeartbeatTimeout})
		return
	}
	s.ask(i)
	// The next heartbeat keeps the place in the interval that this one should
	// have had. Otherwise clients that were asked together, because this process
	// stood still, would be asked together for ever.
	s.phaseDebt = (s.phaseDebt + i.since(due)) % s.heartbeat
}

// ask writes a heartbeat. The grace counts from now and not from the due time: a
// process that was stopped for a while must not give up all its clients.
func (s *Session) ask(now instant) {
	s.write(message{kind: typeHeartbeat})
	s.askedAt = now
	s.answerBy = now.add(s.grace)
	switch {
	case s.role == Server && !s.Confirmed():
		s.answerBy = max(s.answerBy, s.lastIn.add(max(s.heartbeat, s.traits.patience)+s.grace))
	case s.traits.answersLate && s.role == Device:
		// A server that expects no heartbeat from devices sends its own after its
		// interval; that heartbeat is the answer.
		s.answerBy = now.add(s.heartbeat + s.grace)
	case s.wait != nil && s.wait.openedAt > s.askAt():
		// It could not be asked in time because of an unanswered delivery. That
		// delivery was its chance to answer (SPEC §3.5).
		s.answerBy = max(now, s.deadAt())
	}
	s.phaseDebt -= s.phaseStep()
}

func (s *Session) onHeartbeat(now time.Time, m *message) {
	if s.state != open && !s.traits.asksEarly[s.role] {
		s.unexpected(m)
		return
	}
	if m.kind == typeHeartbeat {
		s.write(message{kind: typeHeartbeatAck})
		return
	}
	if s.askedAt != 0 {
		s.rtt = s.at(now).since(s.askedAt)
		s.askedAt = 0
		s.answers = s.answers || s.rtt <= s.grace
		s.answerProbe()
	}
}
