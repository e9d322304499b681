package verdicts

// ledger is the device's saved state.
type ledger struct {
	log     uint8
	ask     uint8 // highest sequence handled
	from    uint8 // complete_from: an unlisted delivery at or below it was handled, and its verdict may be lost
	holes   bits  // came, at or below ask, and not handled
	n       uint8
	verdict [maxVerdicts]verdict // in the order in which they were given
}

type verdict struct {
	seq  uint8
	code code
}

const maxVerdicts = 4

// noLog is the log of a device that has never registered.
const noLog = 7

// bits is a set of sequences.
type bits uint8

func (b bits) has(m uint8) bool { return b&(1<<m) != 0 }
func (b *bits) add(m uint8)     { *b |= 1 << m }
func (b *bits) del(m uint8)     { *b &^= 1 << m }
func upTo(m uint8) bits         { return bits(1)<<(m+1) - 1 }
func (b bits) count() (n uint8) {
	for ; b != 0; b &= b - 1 {
		n++
	}
	return n
}

// device has one process with workers, and one connection at a time.
type device struct {
	mem, disk ledger
	pending   bits // came and is not handled
	working   bits // a worker has it; part of pending unless forgotten
	reply     bits // came on this connection and waits for its answer
	seen      bits // came or was asked for on this connection

	on         bool // there is a connection
	conn       uint8
	registered bool

	made   uint8 // uplink payloads made so far
	number uint8 // last number given to an uplink
	up     [maxUplinks]pendingUplink
}

type pendingUplink struct {
	payload, number uint8
	sent            bool // on this connection, and not to be sent again now
}

// find returns the index of a listed verdict, -1 for none.
func (l *ledger) find(m uint8) int {
	for i := range l.n {
		if l.verdict[i].seq == m {
			return int(i)
		}
	}
	return -1
}

func (l *ledger) remove(i int) {
	copy(l.verdict[i:], l.verdict[i+1:])
	l.n--
	l.verdict[l.n] = verdict{}
}

// list notes a verdict; the oldest goes when there are more than keep.
func (l *ledger) list(v verdict, keep uint8, r ruleSet) {
	l.verdict[l.n] = v
	l.n++
	if l.n <= keep {
		return
	}
	i := 0
	if !r.holds(evictByAge) {
		for j := range int(l.n) {
			if l.verdict[j].seq < l.verdict[i].seq {
				i = j
			}
		}
	}
	l.from = max(l.from, l.verdict[i].seq)
	l.remove(i)
}

// known is the ledger's answer for m; ok is false if it is not handled.
func (d *device) known(m uint8, r ruleSet) (c code, ok bool) {
	l := &d.mem
	if i := l.find(m); i >= 0 {
		return l.verdict[i].code, true
	}
	switch {
	case d.pending.has(m):
		return 0, false
	case m <= l.from:
		return ackUnkept, true
	case m <= l.ask:
		return ackOK, true
	}
	return 0, false
}

// save makes the ledger durable.
func (d *device) save(r ruleSet) {
	d.mem.holes = 0
	if r.holds(listHoles) {
		d.mem.holes = d.pending & upTo(d.mem.ask)
	} else {
		d.pending &^= upTo(d.mem.ask) &^ d.working
	}
	d.disk = d.mem
}

// void forgets what belongs to another log.
func (d *device) void(log uint8) {
	d.mem = ledger{log: log}
	d.disk = d.mem
	d.pending, d.working, d.reply, d.seen = 0, 0, 0, 0
}

// disconnect forgets the connection. Workers continue.
func (d *device) disconnect(r ruleSet) {
	d.on, d.conn, d.registered, d.reply, d.seen = false, 0, false, 0, 0
	for i := range d.up {
		d.up[i].sent = false
	}
	if !r.holds(pendingSurvives) {
		d.pending &= d.working
	}
}

// restart loads the saved ledger. Uplinks are kept with it.
func (d *device) restart(r ruleSet) {
	d.disconnect(r)
	d.mem = d.disk
	d.pending, d.working = d.mem.holes, 0
}

// wipe comes back with nothing.
func (d *device) wipe() { *d = device{mem: ledger{log: noLog}, disk: ledger{log: noLog}, made: d.made} }

// deviceRead takes one frame from the connection.
func (w *world) deviceRead(x *run, f frame) {
	d, wi := &w.dev, &w.wires[w.dev.conn]
	answer := func(m uint8, c code) { wi.up.push(frame{ack, m, c}) }
	switch f.kind {
	case registered:
		d.registered = true
		if f.b == 0 || f.a != d.mem.log {
			switch {
			case f.a != d.mem.log && !x.rules.holds(otherLogVoids):
				d.mem.log, d.disk.log = f.a, f.a
			default:
				x.cover("ledger void")
				w.epoch(x, f.a)
			}
		}
	case data:
		w.arrived(x, f.a)
		d.seen.add(f.a)
		if c, ok := d.known(f.a, x.rules); ok && x.rules.holds(dedup) {
			x.cover("repeat answered from the ledger")
			answer(f.a, c)
			return
		}
		if !d.pending.has(f.a) {
			w.forgetHoles(x, f.a)
			if d.pending.count() >= x.cfg.holes {
				if x.rules.holds(holesReconnect) {
					x.cover("reconnect: too many holes")
					wi.closeDevice()
					d.disconnect(x.rules)
					return
				}
				for m := uint8(1); m <= maxMessages; m++ {
					if d.pending.has(m) && !d.working.has(m) {
						d.pending.del(m)
						break
					}
				}
			}
			d.pending.add(f.a)
		}
		if d.working.has(f.a) && d.pending.has(f.a) {
			answer(f.a, ackWorking)
		}
		d.working.add(f.a)
		d.reply.add(f.a)
	case ask:
		d.seen.add(f.a)
		c, ok := d.known(f.a, x.rules)
		switch {
		case ok:
		case d.working.has(f.a):
			d.reply.add(f.a)
			c = ackWorking
		default:
			c = ackUnknown
		}
		answer(f.a, c)
	case uplinkAcked:
		for i := range d.up {
			u := &d.up[i]
			if u.number != f.a || u.payload == 0 {
				continue
			}
			if f.b == ackRetry {
				u.sent = false
				return
			}
			if w.store.uplinks&(1<<u.payload) == 0 {
				x.fail("uplink %d is acked and not stored", u.payload)
			}
			copy(d.up[i:], d.up[i+1:])
			d.up[maxUplinks-1] = pendingUplink{}
			return
		}
	}
}

// forgetHoles runs when a new delivery m comes. Every delivery below m that
// neither came nor was asked for on this connection is final.
func (w *world) forgetHoles(x *run, m uint8) {
	d := &w.dev
	old := d.pending & upTo(m) &^ d.seen
	if old != 0 && x.rules.holds(holesForgotten) {
		x.cover("hole forgotten")
		d.pending &^= old
	}
}

// decide ends a worker's work on m.
func (w *world) decide(x *run, m uint8, c code) {
	d := &w.dev
	d.working.del(m)
	answers := d.reply.has(m)
	d.reply.del(m)
	if !d.pending.has(m) {
		return // forgotten
	}
	if c != ackRetry && c != ackUnknown {
		w.handled(x, m, c)
		d.pending.del(m)
		l := &d.mem
		late := m < l.ask
		l.ask = max(l.ask, m)
		if i := l.find(m); i >= 0 {
			l.remove(i)
		}
		plain := c == ackOK && !(late && x.rules.holds(lateOKListed))
		if !plain && x.rules.holds(verdictListed) {
			kept := c
			if x.cfg.longResults && c == ackResult || x.cfg.longResults && !x.rules.holds(rejectKept) {
				kept = ackUnkept
			}
			l.list(verdict{m, kept}, x.cfg.verdicts, x.rules)
		}
		if x.rules.holds(savedBeforeAck) {
			d.save(x.rules)
		}
	}
	if answers {
		w.wires[d.conn].up.push(frame{ack, m, c})
	}
}
