package verdicts

import "fmt"

// fault is an event that a config allows a limited number of times.
type fault uint8

const (
	cut        fault = iota // an end of a connection gives up
	crash                   // the gateway loses any suffix of its unsynced records
	restart                 // the device comes back with its saved state
	wipe                    // the device comes back with nothing
	clockAhead              // the gateway's clock passes an expiry
	clockBack               // and steps back
	cancel                  // by a caller
	refusal                 // REGISTER is not let in
	replaced                // the gateway has another store: another log, other messages
	damage                  // the store has lost its last message, which was durable
	diskFull                // and has room again
	deaf                    // the device does not answer an ASK
	odd                     // the device answers a payload with "not handled"
	again                   // the device repeats an uplink
	faults
)

var faultNames = [faults]string{"cut", "gateway crash", "device restart", "device wiped", "clock ahead", "clock back",
	"cancel", "refusal", "store replaced", "store damaged", "disk full", "ASK ignored", "odd answer", "uplink again"}

// config is the size of a world.
type config struct {
	name     string
	messages uint8 // may be accepted
	at       uint8 // so many of them are in the store at the beginning
	uplinks  uint8
	window   []uint8 // by connection; the last one stays
	ttl      [maxMessages + 1]uint8
	large    uint8 // this message fits no connection
	attempts uint8 // after which a delivery fails; 0 for never
	limit    [faults]uint8
	codes    []code // with which the device answers, beside ok
	timeouts bool

	bound       uint8 // of deliveries that are unanswered, or answered and not durable
	verdicts    uint8 // that the ledger lists
	holes       uint8
	longResults bool  // results are too long for the ledger
	sure        bool  // the ledger is large enough for every verdict
	forged      uint8 // ask_through of the device at the beginning

	progress bool // check that every delivery can become final
	starving bool // the same for handled deliveries, while the device answers all others "retry later"
}

// ghost is the memory of the checks; no actor reads it.
type ghost struct {
	given    [maxMessages + 1]uint8 // verdicts of the device's handler, a bit each
	handled  bits                   // by the ledger that the device has now
	received bits                   // as a payload, likewise
	silent   [maxMessages + 1]uint8 // transmissions in this process that were not answered "retry later"
	told     [maxMessages + 1]state
}

type world struct {
	store store
	gate  gate
	dev   device
	wires [2]wire
	clock uint8
	conns uint8
	spent [faults]uint8
	ghost ghost
}

func newWorld(c *config) world {
	w := world{}
	w.dev.mem.log, w.dev.disk.log = noLog, noLog
	if c.forged != 0 {
		w.dev.mem = ledger{log: 0, ask: c.forged}
		w.dev.disk = w.dev.mem
	}
	w.store.given = c.at
	for m := uint8(1); m <= c.at; m++ {
		w.store.message[m] = queued
	}
	return w
}

type moveKind uint8

const (
	mvAccept moveKind = iota
	mvSync
	mvSweep
	mvCancel
	mvCrash
	mvReplace
	mvDamage
	mvClock
	mvFull
	mvGateRead
	mvRefuse
	mvGateClose
	mvPump
	mvTimeout
	mvRetry
	mvConnect
	mvDeviceRead
	mvIgnore
	mvDeviceClose
	mvDecide
	mvRestart
	mvWipe
	mvMake
	mvSendUplink
	mvUplinkTimeout
)

var moveNames = [...]string{"accept", "sync", "sweep", "cancel", "gateway crashes", "store replaced", "store damaged",
	"clock", "disk full", "gateway reads", "gateway refuses", "gateway closes", "pump", "ack timeout", "retry timer", "connect",
	"device reads", "device ignores", "device closes", "decide", "device restarts", "device wiped", "make uplink", "send uplink", "uplink timeout"}

// move is one step. a is a sequence, a connection or a new value; b a code.
type move struct {
	kind moveKind
	a, b uint8
}

func (m move) String() string { return fmt.Sprintf("%s %d %d", moveNames[m.kind], m.a, m.b) }

func (w *world) may(x *run, f fault) bool { return w.spent[f] < x.cfg.limit[f] }

func (w *world) spend(x *run, f fault) {
	w.spent[f]++
	x.cover(faultNames[f])
}

// moves appends all that can happen next.
func (w *world) moves(x *run, l []move) []move {
	add := func(k moveKind, a, b uint8) { l = append(l, move{k, a, b}) }
	st, d := &w.store, &w.dev
	if st.through() < x.cfg.messages && st.room() {
		add(mvAccept, st.through()+1, 0)
	}
	if st.n > 0 {
		if r := st.unsynced[0]; r.kind != stored || r.b == noConn || w.wires[r.b].down.room() {
			add(mvSync, 0, 0)
		}
	}
	for m := uint8(1); m <= x.cfg.messages; m++ {
		if st.applied(m) == queued && st.room() {
			if w.expiredNow(x, m) {
				add(mvSweep, m, 0)
			}
			if w.may(x, cancel) {
				add(mvCancel, m, 0)
			}
		}
	}
	if w.may(x, crash) && (w.wires[0].gateway || w.wires[1].gateway || st.n > 0) {
		add(mvCrash, 0, 0)
	}
	if w.may(x, replaced) {
		add(mvReplace, 0, 0)
	}
	if w.may(x, damage) && st.given > 0 && st.n == 0 {
		add(mvDamage, 0, 0)
	}
	if w.clock == 0 && w.may(x, clockAhead) {
		add(mvClock, 1, 0)
	}
	if w.clock == 1 && w.may(x, clockBack) {
		add(mvClock, 0, 0)
	}
	if st.full || w.may(x, diskFull) {
		add(mvFull, 0, 0)
	}
	for c := range uint8(2) {
		wi, s := &w.wires[c], &w.gate.session[c]
		if !wi.gateway {
			continue
		}
		if wi.up.n > 0 && (wi.up.f[0].kind != ack || st.room()) && (wi.up.f[0].kind == ack || wi.down.room()) &&
			(wi.up.f[0].kind != uplink || st.room()) {
			add(mvGateRead, c, 0)
			if wi.up.f[0].kind == register && w.may(x, refusal) {
				add(mvRefuse, c, 0)
			}
		}
		if !wi.device || s.open && !s.live || w.may(x, cut) {
			add(mvGateClose, c, 0)
		}
	}
	if c, s := w.gate.live(); s != nil {
		for m := uint8(1); m <= x.cfg.messages; m++ {
			if w.mayPump(x, c, s, m) {
				add(mvPump, m, 0)
			}
			switch s.flight[m] {
			case asking:
				if x.rules.holds(askTimesOut) && (x.cfg.timeouts || x.cfg.limit[deaf] > 0) {
					add(mvTimeout, m, 0)
				}
			case sent, working:
				if x.cfg.timeouts && st.room() {
					add(mvTimeout, m, 0)
				}
			case waiting:
				add(mvRetry, m, 0)
			}
		}
	}
	if d.on {
		wi := &w.wires[d.conn]
		if wi.down.n > 0 && wi.up.room() {
			add(mvDeviceRead, 0, 0)
			if wi.down.f[0].kind == ask && w.may(x, deaf) {
				add(mvIgnore, 0, 0)
			}
		}
		if !wi.gateway || w.may(x, cut) {
			add(mvDeviceClose, 0, 0)
		}
	} else {
		for c := range uint8(2) {
			if w.wires[c].free() {
				add(mvConnect, c, 0)
				break
			}
		}
	}
	for m := uint8(1); m <= x.cfg.messages; m++ {
		if d.working.has(m) && (!d.reply.has(m) || w.wires[d.conn].up.room()) {
			add(mvDecide, m, ackOK)
			for _, c := range x.cfg.codes {
				add(mvDecide, m, c)
			}
			if w.may(x, odd) {
				add(mvDecide, m, ackUnknown)
			}
		}
	}
	if w.may(x, restart) {
		add(mvRestart, 0, 0)
	}
	if w.may(x, wipe) {
		add(mvWipe, 0, 0)
	}
	if d.made < x.cfg.uplinks {
		add(mvMake, 0, 0)
	}
	if d.registered && w.wires[d.conn].up.room() {
		for i := range d.up {
			if u := &d.up[i]; u.payload != 0 && !u.sent {
				add(mvSendUplink, uint8(i), 0)
			} else if u.payload != 0 && w.may(x, again) {
				add(mvUplinkTimeout, uint8(i), 0)
			}
		}
	}
	return l
}

// do makes one move.
func (w *world) do(x *run, mv move) {
	st, d := &w.store, &w.dev
	switch mv.kind {
	case mvAccept:
		st.append(record{kind: accept, a: mv.a})
		if x.cfg.limit[damage] > 0 { // the number may be given again: another message
			w.ghost.given[mv.a], w.ghost.told[mv.a] = 0, absent
			w.ghost.handled.del(mv.a)
		}
	case mvSync:
		w.synced(x)
	case mvSweep:
		st.append(record{kind: expire, a: mv.a, b: w.clock})
	case mvCancel:
		w.spend(x, cancel)
		st.append(record{kind: settle, a: mv.a, s: canceled})
	case mvCrash:
		w.spend(x, crash)
		w.crashed()
	case mvReplace:
		w.spend(x, replaced)
		w.crashed()
		for m := range st.message {
			if st.message[m] != absent {
				st.message[m] = queued
			}
		}
		st.log++
		w.ghost = ghost{}
	case mvDamage:
		w.spend(x, damage)
		w.crashed()
		m := st.given
		st.message[m] = absent
		w.ghost.told[m] = absent
		if !x.rules.holds(numbersOnce) {
			st.given--
		}
	case mvClock:
		if mv.a == 1 {
			w.spend(x, clockAhead)
		} else {
			w.spend(x, clockBack)
		}
		w.clock = mv.a
	case mvFull:
		if !st.full {
			w.spend(x, diskFull)
		}
		st.full = !st.full
	case mvGateRead:
		w.gateRead(x, mv.a, w.wires[mv.a].up.pop())
	case mvRefuse:
		w.spend(x, refusal)
		before := *st
		w.refuse(x, mv.a, w.wires[mv.a].up.pop())
		if *st != before {
			x.fail("a refused REGISTER changed the store")
		}
	case mvGateClose:
		if wi, s := &w.wires[mv.a], &w.gate.session[mv.a]; wi.device && (s.live || !s.open) {
			w.spend(x, cut)
		}
		w.wires[mv.a].closeGateway()
		w.gate.session[mv.a] = session{}
		for i := range st.n {
			if r := &st.unsynced[i]; r.kind == stored && r.b == mv.a {
				r.b = noConn
			}
		}
	case mvPump:
		c, s := w.gate.live()
		w.pump(x, c, s, mv.a)
	case mvTimeout:
		_, s := w.gate.live()
		w.timeout(x, s, mv.a)
	case mvRetry:
		_, s := w.gate.live()
		s.flight[mv.a] = due
	case mvConnect:
		w.wires[mv.a] = wire{device: true, gateway: true}
		w.wires[mv.a].up.push(frame{register, d.mem.log, d.mem.ask})
		d.on, d.conn = true, mv.a
		w.conns = min(w.conns+1, uint8(len(x.cfg.window)))
	case mvDeviceRead:
		w.deviceRead(x, w.wires[d.conn].down.pop())
	case mvIgnore:
		w.spend(x, deaf)
		d.seen.add(w.wires[d.conn].down.pop().a)
	case mvDeviceClose:
		if w.wires[d.conn].gateway {
			w.spend(x, cut)
		}
		w.wires[d.conn].closeDevice()
		d.disconnect(x.rules)
	case mvDecide:
		if mv.b == ackUnknown {
			w.spend(x, odd)
		}
		w.decide(x, mv.a, mv.b)
	case mvRestart, mvWipe:
		if d.on {
			w.wires[d.conn].closeDevice()
		}
		if mv.kind == mvRestart {
			w.spend(x, restart)
			d.restart(x.rules)
		} else {
			w.spend(x, wipe)
			d.wipe()
			w.ghost.handled, w.ghost.received = 0, 0
		}
	case mvMake:
		d.made++
		d.number++
		for i := range d.up {
			if d.up[i].payload == 0 {
				d.up[i] = pendingUplink{payload: d.made, number: d.number}
				break
			}
		}
	case mvSendUplink:
		u := &d.up[mv.a]
		u.sent = true
		w.wires[d.conn].up.push(frame{uplink, u.number, u.payload})
	case mvUplinkTimeout:
		w.spend(x, again)
		d.up[mv.a].sent = false
	}
	if !x.rules.holds(toldWhenDurable) {
		for m := uint8(1); m <= x.cfg.messages; m++ {
			if s := st.applied(m); s.final() {
				w.told(x, m, s)
			}
		}
	}
}

// crashed ends the gateway's process and starts another.
func (w *world) crashed() {
	w.store.lose()
	w.gate = gate{}
	w.ghost.silent = [maxMessages + 1]uint8{}
	for c := range w.wires {
		w.wires[c].closeGateway()
	}
}

// The promises.

// told checks a final state of m at the moment when a caller may see it.
func (w *world) told(x *run, m uint8, s state) {
	x.coverState(s)
	g := w.ghost.given[m]
	old := w.ghost.told[m]
	w.ghost.told[m] = s
	switch {
	case old != absent && old != s:
		x.fail("%d was told as %s and is %s", m, old, s)
	case s == acked && g&(1<<ackOK) == 0, s == ackedResult && g&(1<<ackResult) == 0,
		s == rejected && g&(1<<ackReject) == 0, s == ackedUnkept && g == 0:
		x.fail("%d is %s, a verdict that the device did not give (%b)", m, s, g)
	case s == ackedUnkept && (x.cfg.sure || x.cfg.longResults && g == 1<<ackReject):
		x.fail("%d is %s, and the ledger was large enough", m, s)
	}
}

func (s state) String() string {
	return [...]string{"absent", "queued", "acked", "acked with result", "acked, verdict not kept", "rejected", "expired",
		"canceled", "failed", "too large"}[s]
}

// arrived checks the payload of m when the device reads it.
func (w *world) arrived(x *run, m uint8) {
	g := &w.ghost
	if !g.received.has(m) && g.received&^upTo(m) != 0 {
		x.fail("%d came for the first time after a later one", m)
	}
	g.received.add(m)
}

// handled checks a decision of the device's handler on m.
func (w *world) handled(x *run, m uint8, c code) {
	g := &w.ghost
	if g.handled.has(m) {
		x.fail("%d was handled twice", m)
	}
	strict := true
	for _, n := range x.cfg.window {
		strict = strict && n == 1
	}
	if strict && !w.store.message[m].final() && g.handled&^upTo(m) != 0 {
		x.fail("%d was handled after a later one, with a window of one", m)
	}
	g.handled.add(m)
	g.given[m] |= 1 << c
}

// epoch makes the device forget its ledger.
func (w *world) epoch(x *run, log uint8) {
	if log == w.dev.mem.log && x.cfg.forged == 0 {
		x.fail("a good ledger was voided")
	}
	w.dev.void(log)
	w.ghost.handled, w.ghost.received = 0, 0
}

// settled reports whether there is nothing left to do.
func (w *world) settled(x *run) bool {
	for m := uint8(1); m <= x.cfg.messages; m++ {
		if w.store.message[m] == queued && (!x.cfg.starving || w.ghost.handled.has(m)) {
			return false
		}
	}
	for i := range w.dev.up {
		if w.dev.up[i].payload != 0 {
			return false
		}
	}
	return true
}

// helps reports whether a move is one that a healthy gateway and device make.
func (m move) helps(w *world, x *run) bool {
	switch m.kind {
	case mvSync, mvSweep, mvGateRead, mvPump, mvRetry, mvConnect, mvDeviceRead, mvSendUplink:
		return true
	case mvTimeout:
		_, s := w.gate.live()
		return s.flight[m.a] == asking
	case mvGateClose:
		s := &w.gate.session[m.a]
		return !w.wires[m.a].device || s.open && !s.live
	case mvDeviceClose:
		return !w.wires[w.dev.conn].gateway
	case mvDecide:
		return m.b == ackOK && !x.cfg.starving || m.b == ackRetry && x.cfg.starving
	case mvFull:
		return w.store.full
	}
	return false
}
