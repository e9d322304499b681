package protocol

import (
	"bytes"
	"slices"
	"time"
)

// v1Peer is what a v1 session remembers besides (SPEC §3.3, §3.4). Frames to a
// v1 peer go out one by one with a gap between, for two writes may arrive as
// one read, of which the peer then sees the first message only.
type v1Peer struct {
	held []byte // control frames that wait for their turn, back to back
	data []byte // the DATA frame that waits for its turn, nil for none

	ready bool // the output is the DATA frame
	owed  int  // DATA transmissions taken that no ack has answered yet

	gapUntil  instant       // no frame before
	holdUntil instant       // when owed acks are given up; 0 while a delivery is in the window
	holdFor   time.Duration // how long each of them is waited for
	firstAt   instant       // first transmission of the delivery in the window
	openedAt  instant       // when owed acks were last given up

	register *Register // device: what is repeated until it is answered
	repeatAt instant   // device: when REGISTER is sent again; 0 = not
	refused  bool      // device: the last answer was 2#er
}

// outstanding reports whether the peer has a DATA frame that it has not
// answered.
func (p *v1Peer) outstanding() bool { return p.owed > 0 || p.ready }

// holdV1 queues a control frame. Refusals and heartbeats are not queued twice:
// one says all that two would.
func (s *Session) holdV1(m *message) {
	if m.kind == typeClose {
		return
	}
	n := len(s.v1.held)
	held := appendV1(s.v1.held, m)
	if m.kind != typeAck && bytes.Contains(held[:n], held[n:]) {
		held = held[:n]
	}
	s.v1.held = held
}

// queueV1Data makes m the DATA frame to go out next.
func (s *Session) queueV1Data(f *flight, m *message) {
	if s.v1.ready {
		return // its last transmission has not been taken yet
	}
	s.v1.data = appendV1(make([]byte, 0, 2+len(m.payload)), m)
	f.end = notTaken
}

// paceV1 gives up acks that have been owed for too long and moves the next
// frame to the output when its turn has come.
func (s *Session) paceV1(now time.Time) {
	p, i := s.v1, s.at(now)
	if due := s.holdDue(); due != 0 && i >= due {
		p.owed, p.holdUntil, p.openedAt = 0, 0, i
	}
	if i < p.gapUntil || !s.drainedV1() {
		return
	}
	switch {
	case s.mayWriteControl():
		frame, rest := cutV1(p.held)
		w := s.busy()
		w.out = append(w.out, frame...)
		p.held = slices.Clip(rest)
		if len(rest) == 0 {
			p.held = nil
		}
	case p.data != nil:
		w := s.busy()
		w.out = append(w.out, p.data...)
		p.data, p.ready = nil, true
		if len(w.flights) > 0 {
			w.flights[0].end = s.taken + uint64(len(w.out))
		}
		if p.firstAt == 0 {
			p.firstAt = i
		}
	}
}

// drainedV1 reports whether the frame before has reached the socket.
func (s *Session) drainedV1() bool { return s.Pending() == 0 && s.flushed == s.taken }

// mayWriteControl reports whether a control frame may go out now, the gap
// aside. A server writes nothing to a client that owes an ack.
func (s *Session) mayWriteControl() bool {
	return len(s.v1.held) > 0 && (s.role == Device || !s.v1.outstanding())
}

// takenV1 notes that the output has been taken.
func (s *Session) takenV1() {
	if s.v1.ready {
		s.v1.ready = false
		s.v1.owed++
	}
}

// flushedV1 starts the gap, and the wait for owed acks anew: a peer can answer
// only what it has got.
func (s *Session) flushedV1(i instant) {
	p := s.v1
	p.gapUntil = i.add(s.cfg.v1Gap())
	if p.holdUntil != 0 {
		p.holdUntil = i.add(p.holdFor)
	}
}

// v1Due returns when paceV1 has something to do, 0 for never.
func (s *Session) v1Due() instant {
	p := s.v1
	due := p.repeatAt
	for _, i := range [...]instant{s.holdDue(), s.gapDue()} {
		if i != 0 && (due == 0 || i < due) {
			due = i
		}
	}
	return due
}

func (s *Session) holdDue() instant {
	if s.flushed < s.taken {
		return 0
	}
	return s.v1.holdUntil
}

func (s *Session) gapDue() instant {
	if s.drainedV1() && (s.v1.data != nil || s.mayWriteControl()) {
		return max(s.v1.gapUntil, 1)
	}
	return 0
}

// onV1Ack is an ack without an id. It answers the delivery in the window if
// that has been transmitted. When there were more transmissions than one,
// their acks are still to come, and the gate stays shut until they have come
// or a hold has passed, or they would be taken for the next delivery's.
func (s *Session) onV1Ack(now time.Time) {
	p, i := s.v1, s.at(now)
	if p.owed == 0 {
		s.push(Event{Kind: KindStaleAck})
		return
	}
	p.owed--
	if s.InFlight() == 0 {
		s.push(Event{Kind: KindStaleAck})
	} else {
		p.holdFor = s.v1Hold(i)
		s.dropUnsentV1()
		s.acked(now, &s.work.flights[0], &message{kind: typeAck})
		p.firstAt = 0
	}
	p.holdUntil = 0
	if p.owed > 0 {
		p.holdUntil = i.add(p.holdFor)
	}
}

// v1Hold returns how long each owed ack is waited for: twice what the peer
// has taken for the first, and not less than the ack timeout.
func (s *Session) v1Hold(i instant) time.Duration {
	return max(s.cfg.v1AckTimeout(), 2*i.since(s.v1.firstAt))
}

// forgetV1 prepares for the ack of a delivery that nobody waits for any more.
func (s *Session) forgetV1(i instant, f *flight) {
	p := s.v1
	s.dropUnsentV1()
	if p.owed > 0 {
		p.holdFor = s.v1Hold(i)
		p.holdUntil = i.add(p.holdFor)
	}
	p.firstAt = 0
}

// dropUnsentV1 takes back a DATA frame that has not been handed out.
func (s *Session) dropUnsentV1() {
	s.v1.data = nil
	if s.v1.ready {
		s.v1.ready = false
		s.work.out = s.work.out[:0]
	}
}
