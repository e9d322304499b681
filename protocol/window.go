package protocol

import (
	"bytes"
	"math"
	"slices"
	"time"
)

// flight is one delivery in the window.
type flight struct {
	seq       uint64
	end       uint64  // Session.taken when its last byte is taken; notTaken while stopAndWait holds it
	first     instant // first flush; 0 = none yet
	sent      instant // last flush; 0 while a transmission is in the output
	worked    instant // when the last AckWorking was accepted; 0 = none
	ephemeral bool
	ask       bool // the last transmission was an ASK
	timedOut  bool // KindAckTimeout was pushed for this transmission
	repeated  bool // more than one transmission: no RTT can be measured
}

const notTaken = math.MaxUint64

// Send puts one payload into the window and its frame into the output. A sequence
// that is already in the window is transmitted again and keeps its place. Errors:
// ErrWindowFull and ErrBusy (KindWritable follows when there is room),
// ErrTooLarge, ErrNotRegistered, ErrClosed, ErrZeroSeq.
func (s *Session) Send(now time.Time, d Data) error {
	switch {
	case s.state == closed:
		return ErrClosed
	case s.state != open:
		return ErrNotRegistered
	case d.Seq == 0:
		return ErrZeroSeq
	case len(d.Payload) > s.MaxPayload():
		return ErrTooLarge
	}
	return s.transmit(now, message{kind: typeData, seq: d.Seq, dup: d.Dup, ephemeral: d.Ephemeral, payload: d.Payload})
}

// transmit puts m, a DATA, into the window and into the output.
func (s *Session) transmit(now time.Time, m message) error {
	f := s.flight(m.seq, m.ephemeral)
	if f == nil {
		if err := s.roomError(); err != nil {
			s.owes |= owesWritable
			return err
		}
		w := s.busy()
		w.flights = append(w.flights, flight{seq: m.seq, ephemeral: m.ephemeral})
		f = &w.flights[len(w.flights)-1]
	} else {
		f.repeated = true
	}
	f.sent, f.timedOut, f.ask = 0, false, m.head
	if s.wait != nil {
		s.wait.put(s.traits, f, m)
	} else {
		s.write(m)
		f.end = s.taken + uint64(len(s.work.out))
	}
	s.afterChange(now)
	return nil
}

// roomError returns why the window takes no new delivery, nil if it does.
func (s *Session) roomError() error {
	switch {
	case s.wait != nil && (s.InFlight() > 0 || s.wait.outstanding()):
		return ErrBusy
	case s.InFlight() >= s.Window():
		return ErrWindowFull
	}
	return nil
}

func (s *Session) hasRoom() bool { return s.roomError() == nil }

// flight returns the delivery in the window, nil if there is none. It points into
// the window and is valid until the window changes.
func (s *Session) flight(seq uint64, ephemeral bool) *flight {
	if s.work == nil {
		return nil
	}
	for i := range s.work.flights {
		if f := &s.work.flights[i]; f.seq == seq && f.ephemeral == ephemeral {
			return f
		}
	}
	return nil
}

// removeFlight removes a delivery from the window.
func (s *Session) removeFlight(seq uint64, ephemeral bool) {
	s.work.flights = slices.DeleteFunc(s.work.flights, func(f flight) bool {
		return f.seq == seq && f.ephemeral == ephemeral
	})
}

// Forget removes a delivery from the window and stops its ack timeout. Its ack is
// stale when it comes. An ack without a number could belong to the next delivery,
// so stop-and-wait holds that delivery back for a while (SPEC §3.4). Forget returns true
// if the delivery has never left and now never will; false says nothing.
func (s *Session) Forget(now time.Time, seq uint64, ephemeral bool) (unsent bool) {
	f := s.flight(seq, ephemeral)
	if f == nil || s.state == closed {
		return false
	}
	if s.wait != nil {
		unsent = f.first == 0 && s.wait.waits()
		s.wait.forget(s, s.at(now))
	}
	s.removeFlight(seq, ephemeral)
	s.afterChange(now)
	return unsent
}

// markSent pushes KindSent for deliveries whose last byte has been flushed.
func (s *Session) markSent(now time.Time) {
	for i := range s.work.flights {
		if f := &s.work.flights[i]; f.sent == 0 && f.end <= s.flushed {
			f.sent = s.at(now)
			if f.first == 0 {
				f.first = f.sent
			}
			s.pushSent(f)
		}
	}
}

func (s *Session) pushSent(f *flight) {
	if !f.ask {
		s.push(Event{Kind: KindSent, Seq: f.seq, Ephemeral: f.ephemeral})
	}
}

// onAck processes the peer's answer to a delivery.
func (s *Session) onAck(now time.Time, m *message) {
	if s.state != open {
		s.unexpected(m)
		return
	}
	if s.wait != nil {
		s.wait.onAck(s, now)
		return
	}
	if s.tooLarge(m) {
		return
	}
	if s.role == Device && m.code > AckRetry {
		s.fail(broken(ReasonProtocolError, "code %d is a device's", m.code))
		return
	}
	f := s.flight(m.seq, m.ephemeral)
	if f == nil || !s.transmitted(f) {
		other := s.flight(m.seq, !m.ephemeral)
		s.push(Event{Kind: KindStaleAck, Seq: m.seq, Ephemeral: m.ephemeral, Code: m.code,
			Payload: result(m), OtherSpace: other != nil && s.transmitted(other)})
		return
	}
	if m.code == AckWorking {
		s.onWorking(now, f, m)
		return
	}
	s.acked(now, f, m)
}

// transmitted reports whether the peer can have seen f.
func (s *Session) transmitted(f *flight) bool { return f.first != 0 || f.end <= s.taken }

// acked pushes KindAck. The ack may overtake the driver's Flushed; then acked
// pushes KindSent first.
func (s *Session) acked(now time.Time, f *flight, m *message) {
	e := s.answered(now, f, m)
	s.removeFlight(f.seq, f.ephemeral)
	s.push(e)
}

// answered returns the KindAck event of m for f.
func (s *Session) answered(now time.Time, f *flight, m *message) Event {
	e := Event{Kind: KindAck, Seq: f.seq, Ephemeral: f.ephemeral, Ask: f.ask, Code: m.code, Payload: result(m)}
	if f.first == 0 {
		s.pushSent(f)
	} else {
		e.RTT = s.at(now).since(f.first)
		if !f.repeated {
			s.rtt = e.RTT
		}
	}
	s.unasked-- // it was counted when it was parsed
	return e
}

// result returns a copy of an ack's result, nil if it is empty; m.payload is part
// of the input buffer.
func result(m *message) []byte {
	if len(m.payload) == 0 {
		return nil
	}
	return bytes.Clone(m.payload)
}

// AckData answers a KindData or a KindAsk event. code is the verdict, result an
// answer of at most MaxPayload bytes. Without an agreement on ASK the session
// sends AckSend as AckRetry and AckNotKept as AckOK, and does not send
// AckWorking. v1 can only send AckOK without a result: it does not send other
// verdicts, and it ignores seq and result. Errors: ErrTooLarge, ErrNotRegistered,
// ErrClosed, ErrZeroSeq.
func (s *Session) AckData(now time.Time, seq uint64, code AckCode, result []byte) error {
	return s.ackData(now, message{kind: typeAck, seq: seq, code: code, payload: result})
}

// AckEphemeral is AckData for a KindData event with Ephemeral set.
func (s *Session) AckEphemeral(now time.Time, seq uint64, code AckCode, result []byte) error {
	return s.ackData(now, message{kind: typeAck, seq: seq, ephemeral: true, code: code, payload: result})
}

func (s *Session) ackData(now time.Time, m message) error {
	switch {
	case s.state == closed:
		return ErrClosed
	case s.state != open:
		return ErrNotRegistered
	case s.traits.ids && m.seq == 0:
		return ErrZeroSeq
	case s.traits.results && len(m.payload) > s.MaxPayload():
		return ErrTooLarge
	}
	code, ok := s.sendable(m.code)
	if m.code = code; ok {
		s.write(m)
	}
	s.afterChange(now)
	return nil
}

// ackDue returns when the next ack timeout passes, 0 if there is none.
func (s *Session) ackDue() (due instant) {
	if s.work == nil {
		return 0
	}
	for i := range s.work.flights {
		due = sooner(due, s.ackDueOf(&s.work.flights[i]))
	}
	return due
}

// ackDueOf returns when the ack timeout of f passes, 0 if it does not run.
func (s *Session) ackDueOf(f *flight) instant {
	if f.sent == 0 || f.timedOut {
		return 0
	}
	return f.sent.add(s.traits.ackTimeout(s.cfg))
}

func (s *Session) advanceAcks(now time.Time) {
	if s.work == nil {
		return
	}
	for i := range s.work.flights {
		f := &s.work.flights[i]
		if due := s.ackDueOf(f); due != 0 && s.at(now) >= due {
			f.timedOut = true
			s.push(Event{Kind: KindAckTimeout, Seq: f.seq, Ephemeral: f.ephemeral, Ask: f.ask})
		}
	}
}
