package protocol

import (
	"bytes"
	"slices"
	"time"
)

// stopAndWait sends to a peer that reads one frame at a time and acks without a
// number (SPEC §3.3, §3.4). Frames leave one by one with a gap in between: two
// writes may arrive as one read, and the peer sees only the first message of a
// read. One delivery is in flight. Its acks are counted, and a server writes
// nothing else until it is acked.
type stopAndWait struct {
	held []byte // control frames that wait for their turn, back to back
	data []byte // the DATA frame that waits for its turn, nil for none

	ready   bool // the output is the DATA frame
	sending bool // the frame that was taken last is a DATA frame
	owed    int  // DATA transmissions taken and not yet acked

	gapUntil  instant       // no frame leaves before
	holdUntil instant       // when owed acks are given up; 0 while a delivery is in the window
	holdFor   time.Duration // how long to wait for each of them
	firstAt   instant       // first transmission of the delivery in the window
	openedAt  instant       // when owed acks were last given up

	register *Register // device: repeated until the server answers
	repeatAt instant   // device: when REGISTER is sent again; 0 = not
	refused  bool      // device: the last answer was a refusal
}

// outstanding reports whether the peer has an unanswered DATA frame.
func (w *stopAndWait) outstanding() bool { return w.owed > 0 || w.ready }

// buffered returns how many bytes wait for their turn.
func (w *stopAndWait) buffered() int { return len(w.held) + len(w.data) }

// hold queues a control frame. A refusal or heartbeat that is queued already is
// not queued twice.
func (w *stopAndWait) hold(t *traits, m message) {
	n := len(w.held)
	held := t.append(w.held, m)
	if m.kind != typeAck && bytes.Contains(held[:n], held[n:]) {
		held = held[:n]
	}
	w.held = held
}

// put makes m, which transmits f, the next DATA frame.
func (w *stopAndWait) put(t *traits, f *flight, m message) {
	if w.ready {
		return // its last transmission has not been taken yet
	}
	w.data = t.append(make([]byte, 0, 2+len(m.payload)), m)
	f.end = notTaken
}

// advance gives up acks that have been owed for too long. It moves the next frame
// to the output when its turn has come.
func (w *stopAndWait) advance(s *Session, now time.Time) {
	i := s.at(now)
	if due := w.holdDue(s); due != 0 && i >= due {
		w.owed, w.holdUntil, w.openedAt = 0, 0, i
	}
	if i < w.gapUntil || !s.drained() {
		return
	}
	switch {
	case w.mayWriteControl(s.role):
		frame, rest := s.traits.cut(w.held)
		b := s.busy()
		b.out = append(b.out, frame...)
		w.held = slices.Clip(rest)
		if len(rest) == 0 {
			w.held = nil
		}
	case w.data != nil:
		b := s.busy()
		b.out = append(b.out, w.data...)
		w.data, w.ready = nil, true
		if len(b.flights) > 0 {
			b.flights[0].end = s.taken + uint64(len(b.out))
		}
		if w.firstAt == 0 {
			w.firstAt = i
		}
	}
}

// drained reports whether all earlier frames have reached the socket.
func (s *Session) drained() bool { return s.Pending() == 0 && s.flushed == s.taken }

// mayWriteControl reports whether a control frame may leave now, apart from the
// gap. A server writes nothing to a client that owes an ack.
func (w *stopAndWait) mayWriteControl(role Role) bool {
	return len(w.held) > 0 && (role == Device || !w.outstanding())
}

// taken notes that the driver has taken the output.
func (w *stopAndWait) taken() {
	w.sending = w.ready
	if w.ready {
		w.ready = false
		w.owed++
	}
}

// flushed starts the gap. After a DATA frame it also restarts the wait for owed acks,
// because a peer can answer a frame only after it has received it.
func (w *stopAndWait) flushed(s *Session, i instant) {
	w.gapUntil = i.add(s.traits.gap(s.cfg))
	if w.holdUntil != 0 && w.sending {
		w.holdUntil = i.add(w.holdFor)
	}
}

// due returns when advance must run next, 0 for never.
func (w *stopAndWait) due(s *Session) instant {
	return sooner(w.repeatAt, sooner(w.holdDue(s), w.gapDue(s)))
}

func (w *stopAndWait) holdDue(s *Session) instant {
	if s.flushed < s.taken {
		return 0
	}
	return w.holdUntil
}

func (w *stopAndWait) gapDue(s *Session) instant {
	if s.drained() && (w.data != nil || w.mayWriteControl(s.role)) {
		return max(w.gapUntil, 1)
	}
	return 0
}

// onAck processes an ack without a number. It answers the delivery in the window
// if that has been transmitted. After several transmissions their other acks are
// still to come. No delivery leaves until they have come or a hold has passed;
// otherwise they would be taken for the next delivery's.
func (w *stopAndWait) onAck(s *Session, now time.Time) {
	i := s.at(now)
	if w.owed == 0 {
		s.push(Event{Kind: KindStaleAck})
		return
	}
	w.owed--
	if s.InFlight() == 0 {
		s.push(Event{Kind: KindStaleAck})
	} else {
		w.holdFor = w.patience(s, i)
		w.dropUnsent(s)
		s.acked(now, &s.work.flights[0], &message{kind: typeAck})
		w.firstAt = 0
	}
	w.holdUntil = 0
	if w.owed > 0 {
		w.holdUntil = i.add(w.holdFor)
	}
}

// patience returns how long to wait for each owed ack: twice the time of the
// first ack, and at least the ack timeout.
func (w *stopAndWait) patience(s *Session, i instant) time.Duration {
	return max(s.traits.ackTimeout(s.cfg), 2*i.since(w.firstAt))
}

// forget prepares for the ack of a withdrawn delivery.
func (w *stopAndWait) forget(s *Session, i instant) {
	w.dropUnsent(s)
	if w.owed > 0 {
		w.holdFor = w.patience(s, i)
		w.holdUntil = i.add(w.holdFor)
	}
	w.firstAt = 0
}

// waits reports whether a DATA frame has not been taken.
func (w *stopAndWait) waits() bool { return w.data != nil || w.ready }

// dropUnsent drops a DATA frame that has not been taken.
func (w *stopAndWait) dropUnsent(s *Session) {
	w.data = nil
	if w.ready {
		w.ready = false
		s.work.out = s.work.out[:0]
	}
}

// stop drops all waiting frames: the session is closed.
func (w *stopAndWait) stop(s *Session) {
	w.dropUnsent(s)
	w.held = nil
}

// repeat sends the device's REGISTER again when it is due.
func (w *stopAndWait) repeat(s *Session, i instant) {
	if w.repeatAt != 0 && i >= w.repeatAt {
		w.repeatLater(s, i)
		s.write(message{kind: typeRegister, register: w.register})
	}
}

// repeatLater makes the next repeat due one ack timeout after i.
func (w *stopAndWait) repeatLater(s *Session, i instant) {
	w.repeatAt = i.add(s.traits.ackTimeout(s.cfg))
}
