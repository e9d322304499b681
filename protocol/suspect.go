package protocol

import "time"

// Suspicion (SPEC §6): a client that owes an answer for SuspectAfter is suspect,
// until its next byte or until it is given up. The driver gets one event for it. The
// deadline replaces the one at the end of the grace in the driver's timer, so a
// client that answers costs no more than without it.

// SuspectAfter is how long a heartbeat may be unanswered before the client is
// suspect. With a grace below 2 s it is half of the grace.
const SuspectAfter = time.Second

func (s *Session) suspectAfter() time.Duration { return min(SuspectAfter, s.grace/2) }

// suspectAt returns when the client becomes suspect, 0 if no answer is owed or the
// driver knows already. A stop-and-wait client that may not be asked owes the answer
// from the time at which the heartbeat would be due.
func (s *Session) suspectAt() instant {
	switch {
	case s.role == Device, s.owes.has(owesSign):
		return 0
	case s.answerBy != 0:
		return s.askedAt.add(s.suspectAfter())
	case s.mustNotAsk():
		return s.lastIn.add(s.heartbeat + s.suspectAfter())
	}
	return 0
}

func (s *Session) advanceSuspicion(now time.Time) {
	if due := s.suspectAt(); due != 0 && s.at(now) >= due {
		s.owes |= owesSign
		s.push(Event{Kind: KindSuspect})
	}
}

// notSuspect ends a suspicion: the client has sent something.
func (s *Session) notSuspect() {
	if s.owes.has(owesSign) {
		s.owes &^= owesSign
		s.push(Event{Kind: KindAlive})
	}
}

// Probe asks the client for a sign of life now, with a heartbeat or with the one
// that is unanswered, and reports whether it could: not before registration, and
// not while a stop-and-wait client owes an ack. KindAlive with an RTT follows if
// the client answers.
func (s *Session) Probe(now time.Time) (asked bool) {
	if s.state != open || s.mustNotAsk() {
		return false
	}
	s.owes |= owesAnswer
	s.Ping(now)
	return true
}

// answerProbe reports the answer to a heartbeat, after rtt is measured.
func (s *Session) answerProbe() {
	if s.owes.has(owesAnswer) {
		s.owes &^= owesAnswer
		s.push(Event{Kind: KindAlive, RTT: s.rtt})
	}
}
