package verdicts

// flight is a delivery's place in a session.
type flight uint8

const (
	none    flight = iota
	asking         // the ASK is not answered
	due            // the payload is to be sent again
	sent           // the payload is not answered
	waiting        // answered retry later
	working        // the ASK was answered "working"
	closing        // a final state is proposed and not durable
	gone           // final; kept to recognise a late ack
)

func (f flight) place() bool { return f != none && f != gone }

// session is one registered connection.
type session struct {
	open       bool
	live       bool  // not taken over
	claim      uint8 // ask_through, 0 if it does not count
	asks       uint8 // highest sequence asked for
	cursor     uint8 // highest sequence sent, above claim
	window     uint8
	flight     [maxMessages + 1]flight
	highest    uint8 // uplink number stored
	remembered uint8 // uplink numbers acked ok
	underway   uint8
}

// gate is the memory of the gateway's process.
type gate struct {
	session [2]session
	tries   [maxMessages + 1]uint8
}

func (s *session) places() (n uint8) {
	for _, f := range s.flight {
		if f.place() {
			n++
		}
	}
	return n
}

func (s *session) asking() (n uint8) {
	for _, f := range s.flight {
		if f == asking {
			n++
		}
	}
	return n
}

func (g *gate) live() (c uint8, s *session) {
	for i := range g.session {
		if g.session[i].live {
			return uint8(i), &g.session[i]
		}
	}
	return 0, nil
}

// retire keeps of a session what late acks need.
func (s *session) retire() {
	s.live, s.claim, s.asks, s.cursor, s.window = false, 0, 0, 0, 0
	for i := range s.flight {
		if s.flight[i] != none {
			s.flight[i] = gone
		}
	}
}

// view is a delivery's state as sessions see it.
func (w *world) view(x *run, m uint8) state {
	if x.rules.holds(readDurable) {
		return w.store.message[m]
	}
	return w.store.applied(m)
}

// next is the lowest delivery above after that is not final, 0 for none.
func (w *world) next(x *run, after uint8) uint8 {
	for m := after + 1; m <= maxMessages; m++ {
		if w.view(x, m) == queued {
			return m
		}
	}
	return 0
}

// nextAsk is the delivery to be asked for next, 0 for none.
func (w *world) nextAsk(x *run, s *session) uint8 {
	if m := w.next(x, s.asks); m <= s.claim {
		return m
	}
	return 0
}

func (w *world) expiredNow(x *run, m uint8) bool { return x.cfg.ttl[m] != 0 && w.clock >= x.cfg.ttl[m] }

// gateRead takes one frame from connection c.
func (w *world) gateRead(x *run, c uint8, f frame) {
	s := &w.gate.session[c]
	switch f.kind {
	case register:
		w.admit(x, c, f)
	case ack:
		w.answered(x, s, f.a, f.b)
	case uplink:
		w.uplinkCame(x, c, f)
	}
}

// admit registers the device of connection c.
func (w *world) admit(x *run, c uint8, f frame) {
	if !x.rules.holds(claimSettlesNothing) {
		w.settleThrough(f.b)
	}
	known := f.a == w.store.log && (f.b <= w.store.through() || !x.rules.holds(foreignClaimVoid))
	if _, old := w.gate.live(); old != nil {
		x.cover("takeover")
		old.retire()
	}
	s := session{open: true, live: true, window: x.cfg.window[min(int(w.conns), len(x.cfg.window))-1]}
	if !x.rules.holds(uplinkPerConnection) {
		o := w.gate.session[1-c]
		s.highest, s.remembered = o.highest, o.remembered
	}
	resumed := uint8(0)
	if known {
		resumed, s.claim, s.cursor = 1, f.b, f.b
	}
	w.gate.session[c] = s
	w.wires[c].down.push(frame{registered, w.store.log, resumed})
}

// refuse turns a REGISTER away.
func (w *world) refuse(x *run, c uint8, f frame) {
	if !x.rules.holds(refusalChangesNothing) {
		w.settleThrough(f.b)
	}
	w.wires[c].closeGateway()
}

// settleThrough takes a claim for acks.
func (w *world) settleThrough(through uint8) {
	for m := uint8(1); m <= min(through, maxMessages); m++ {
		if w.store.applied(m) == queued && w.store.room() {
			w.store.append(record{kind: settle, a: m, s: acked})
		}
	}
}

// answered takes the device's ACK on a session, live or taken over.
func (w *world) answered(x *run, s *session, m uint8, c code) {
	f := s.flight[m]
	if f == none {
		x.cover("stale ack")
		return
	}
	x.coverCode(f, c)
	switch c {
	case ackOK, ackReject, ackUnkept, ackResult:
		if f == gone && s.live {
			x.cover("late ack")
		}
		w.store.append(record{kind: settle, a: m, s: stateOf[c], b: 1})
		if f != closing {
			s.flight[m] = none
		}
	case ackRetry:
		if f == asking || f == sent || f == working {
			s.flight[m] = waiting
			if f == sent && w.gate.tries[m] > 0 && x.rules.holds(retryCostsNoAttempt) {
				w.gate.tries[m]--
			}
			if f == sent && w.ghost.silent[m] > 0 {
				w.ghost.silent[m]--
			}
		}
	case ackUnknown:
		switch f {
		case asking:
			s.flight[m] = due
		case sent:
			s.flight[m] = waiting
		}
	case ackWorking:
		if f == asking {
			s.flight[m] = working
		}
	}
}

// pump makes the live session's next step for delivery m.
func (w *world) pump(x *run, c uint8, s *session, m uint8) {
	again := s.flight[m] == due
	switch {
	case w.expiredNow(x, m):
		x.cover("skipped: expired")
		switch {
		case x.rules.holds(skipProposes):
			w.store.append(record{kind: expire, a: m, b: w.clock})
			w.give(x, s, m)
		case again:
			s.flight[m] = gone
		default:
			s.pass(m)
		}
		return
	case !again && m <= s.claim:
		x.cover("asked")
		s.flight[m] = asking
		s.pass(m)
		if !x.rules.holds(askCostsNoAttempt) {
			w.gate.tries[m]++
		}
		w.wires[c].down.push(frame{kind: ask, a: m})
		return
	case x.cfg.large == m:
		x.cover("too large")
		w.store.append(record{kind: settle, a: m, s: tooLarge})
		w.give(x, s, m)
		return
	case x.cfg.attempts > 0 && w.gate.tries[m] >= x.cfg.attempts:
		w.fail(x, s, m)
		return
	}
	if !again {
		if s.cursor >= m {
			x.fail("first transmission of %d after %d", m, s.cursor)
		}
		s.cursor = m
	}
	s.flight[m] = sent
	if x.cfg.attempts > 0 {
		w.gate.tries[m]++
		w.ghost.silent[m]++
	}
	w.wires[c].down.push(frame{kind: data, a: m})
}

// pass moves the cursor that m is next for.
func (s *session) pass(m uint8) {
	if m <= s.claim {
		s.asks = m
	} else {
		s.cursor = m
	}
}

// give takes a delivery out of a session for which a final state is proposed.
func (w *world) give(x *run, s *session, m uint8) {
	fresh := s.flight[m] == none
	switch {
	case x.rules.holds(passDurable):
		s.flight[m] = closing
	case fresh:
		s.pass(m)
	default:
		s.flight[m] = gone
	}
}

func (w *world) fail(x *run, s *session, m uint8) {
	x.cover("attempts used up")
	if w.ghost.silent[m] < x.cfg.attempts {
		x.fail("%d failed after %d unanswered transmissions", m, w.ghost.silent[m])
	}
	w.store.append(record{kind: settle, a: m, s: failed})
	w.give(x, s, m)
}

// timeout handles the ack timeout of m.
func (w *world) timeout(x *run, s *session, m uint8) {
	switch {
	case s.flight[m] == asking:
		x.cover("ASK timed out")
		s.flight[m] = due
	case x.cfg.attempts > 0 && w.gate.tries[m] >= x.cfg.attempts:
		w.fail(x, s, m)
	default:
		x.cover("ack timed out")
		s.flight[m] = due
	}
}

// mayPump reports whether the session's next step may be about m.
func (w *world) mayPump(x *run, c uint8, s *session, m uint8) bool {
	if !w.wires[c].down.room() || !w.store.room() {
		return false
	}
	if s.flight[m] == due {
		return true
	}
	if s.flight[m] == closing {
		return false
	}
	first := w.nextAsk(x, s)
	if m == first {
		if x.rules.holds(asksPassRepeats) {
			return s.asking() < s.window
		}
		return s.places() < s.window
	}
	if m != w.next(x, s.cursor) {
		return false
	}
	if x.rules.holds(asksGoFirst) && first != 0 {
		return false
	}
	if x.rules.holds(verdictBound) && s.places()+w.store.verdicts() >= x.cfg.bound {
		return false
	}
	return s.places() < s.window
}

func (w *world) uplinkCame(x *run, c uint8, f frame) {
	s, bit := &w.gate.session[c], uint8(1)<<f.a
	repeat := s.remembered&bit != 0
	if !x.rules.holds(uplinkIdentity) {
		repeat = f.a <= s.highest
	}
	switch {
	case repeat:
		x.cover("uplink repeated")
		w.wires[c].down.push(frame{uplinkAcked, f.a, ackOK})
	case s.underway&bit != 0:
		x.cover("uplink repeated under way")
		if !x.rules.holds(uplinkDurable) {
			w.wires[c].down.push(frame{uplinkAcked, f.a, ackOK})
		}
	case w.store.full:
		x.cover("disk full")
		if !x.rules.holds(uplinkRetryForgotten) {
			s.remembered |= bit
		}
		w.wires[c].down.push(frame{uplinkAcked, f.a, ackRetry})
	default:
		s.underway |= bit
		w.store.append(record{kind: stored, a: f.b, b: c, c: f.a})
	}
}

// synced makes the oldest record durable and passes its effect on.
func (w *world) synced(x *run) {
	r := w.store.pop()
	switch r.kind {
	case accept:
		w.store.given = r.a
		w.store.message[r.a] = queued
	case settle, expire:
		st := r.s
		if r.kind == expire {
			st = expired
			at := r.b
			if !x.rules.holds(expireJudgedTime) {
				at = w.clock
			}
			if at < x.cfg.ttl[r.a] {
				return
			}
		}
		now := w.store.message[r.a]
		if now == absent || now.final() && x.rules.holds(firstFinalWins) {
			return
		}
		w.store.message[r.a] = st
		w.told(x, r.a, st)
		if _, s := w.gate.live(); s != nil {
			switch s.flight[r.a] {
			case none, gone:
			default:
				s.flight[r.a] = gone
			}
		}
	case stored:
		w.store.uplinks |= 1 << r.a
		if r.b == noConn {
			return
		}
		s := &w.gate.session[r.b]
		if s.open && s.underway&(1<<r.c) != 0 {
			s.underway &^= 1 << r.c
			s.remembered |= 1 << r.c
			s.highest = max(s.highest, r.c)
			w.wires[r.b].down.push(frame{uplinkAcked, r.c, ackOK})
		}
	}
}
