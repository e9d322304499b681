package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// style is how a v2 or text device goes on after a new connection.
type style string

const (
	asks     style = "ask_through" // it is asked for its verdicts
	takesAll style = "all again"   // everything unacked comes again
	claims   style = "last_seq"    // it claims a position, as before ask_through
)

// device is a program that lives again and again. Its ledger and its journal
// outlive it, though the ledger is lost now and then; what it is working on does
// not. It belongs to the goroutine of run.
type device struct {
	id     string
	addr   string
	seed   uint64
	style  style
	codec  codec
	window int
	calm   *atomic.Bool
	rnd    *rand.Rand
	j      *journal
	ledger ledger
	outbox outbox

	life    life
	times   map[uint64]times // of deliveries that are not handled
	handled map[uint64]bool  // since the ledger was new, without its bounds
}

// life is what a restart of the device's program loses.
type life struct {
	jobs map[job]*work
}

// job names a delivery that is under way.
type job struct {
	seq       uint64
	ephemeral bool
}

// work is a verdict that comes later.
type work struct {
	due     time.Time
	said    time.Time // when the device said working last
	plan    plan
	payload digest
}

// times are how often a delivery was not answered, and put off.
type times struct{ silent, later int }

func newDevice(id, addr string, s style, c codec, seed uint64, calm *atomic.Bool, j *journal) *device {
	d := &device{id: id, addr: addr, seed: seed, style: s, codec: c, calm: calm, j: j, rnd: random(seed, id)}
	d.window = 4 + d.rnd.IntN(16)
	d.outbox = outbox{j: j, rnd: d.rnd, client: id}
	d.ledger = ledger{bounded: s == asks}
	d.forget("")
	return d
}

// restart begins a new life of the program.
func (d *device) restart() { d.life = life{jobs: map[job]*work{}} }

// forget begins a new ledger.
func (d *device) forget(log string) {
	d.ledger.forget(log)
	d.handled, d.times = map[uint64]bool{}, map[uint64]times{}
	d.restart()
}

// run connects again and again until stop is closed.
func (d *device) run(stop <-chan struct{}) {
	for n := 1; ; n++ {
		if d.rnd.IntN(4) == 0 && !d.calm.Load() {
			d.restart()
			if d.style == asks && d.rnd.IntN(10) == 0 {
				d.forget("")
				d.j.write(entry{what: forgot, conn: n})
			}
		}
		d.connect(n, stop)
		pause := time.Millisecond + upTo(d.rnd, 40*time.Millisecond)
		if d.rnd.IntN(12) == 0 && !d.calm.Load() {
			pause = upTo(d.rnd, 3500*time.Millisecond) // longer than a short TTL
		}
		select {
		case <-stop:
			return
		case <-time.After(pause):
		}
	}
}

// conn is one connection of a device.
type conn struct {
	*device
	net      net.Conn
	number   int
	in       chan message
	agreed   bool
	stranger bool            // its REGISTER was not to be believed
	through  uint64          // what REGISTER said
	heard    map[uint64]bool // what came or was asked for
	excited  bool            // it began before the calm, and ends with it
	asked    []int           // for each HEARTBEAT under way: the journal's length when it was sent
}

// connect registers and serves until the connection ends.
func (d *device) connect(number int, stop <-chan struct{}) {
	socket, err := net.DialTimeout("tcp", d.addr, time.Second)
	if err != nil {
		return
	}
	c := &conn{device: d, net: socket, number: number, in: make(chan message, 64), excited: !d.calm.Load(), heard: map[uint64]bool{}}
	gone := make(chan struct{})
	reader := make(chan struct{})
	go func() { // ends with the socket; the device waits for it
		defer close(reader)
		c.read(gone)
	}()
	defer func() {
		close(gone)
		socket.Close()
		<-reader
	}()
	h := d.hello()
	c.stranger = d.style == asks && d.rnd.IntN(40) == 0 && !d.calm.Load()
	if c.stranger {
		d.disguise(&h)
	}
	if h.AskThrough != nil {
		c.through = *h.AskThrough
	}
	if h.LastSeq != nil {
		c.through = *h.LastSeq
	}
	c.write(d.codec.hello(h))
	if c.join() {
		c.serve(stop)
	}
}

func (d *device) hello() hello {
	h := hello{ID: d.id, Window: d.window, Log: d.ledger.log}
	switch d.style {
	case asks:
		through := d.ledger.through
		h.AskThrough = &through
	case claims:
		last := d.ledger.lastSeq()
		h.LastSeq = &last
	}
	return h
}

// disguise makes a hello that the gateway must not go on with: of another log, or
// above every sequence that it has given out.
func (d *device) disguise(h *hello) {
	if d.rnd.IntN(2) == 0 {
		h.Log = "log_of_another_store"
		return
	}
	far := uint64(1) << 62
	h.AskThrough = &far
}

// read passes on what comes in until the socket or the connection's owner is gone.
func (c *conn) read(gone <-chan struct{}) {
	defer close(c.in)
	r := bufio.NewReader(c.net)
	for {
		m, err := c.codec.read(r)
		if err != nil {
			if strings.HasPrefix(err.Error(), "frame") || strings.HasPrefix(err.Error(), "the gateway") {
				c.j.wrong("protocol", "%v", err)
			}
			return
		}
		select {
		case c.in <- m:
		case <-gone:
			return
		}
	}
}

// write sends b whole or not: a device that cannot write finds out by reading.
func (c *conn) write(b []byte) {
	c.net.SetWriteDeadline(time.Now().Add(10 * time.Second))
	c.net.Write(b)
}

func (c *conn) send(m message) { c.write(c.codec.encode(m)) }

// join waits for REGISTER_ACK.
func (c *conn) join() bool {
	select {
	case m, ok := <-c.in:
		switch {
		case !ok:
			return false
		case m.kind == closing:
			c.j.closes(c.number, m.body)
			return false
		case m.kind != registerAck:
			c.j.wrong("protocol", "message %d came before REGISTER_ACK", m.kind)
			return false
		}
		return c.joined(m.body)
	case <-time.After(8 * time.Second):
		return false
	}
}

// joined takes what REGISTER_ACK says: after resumed false, or in another log,
// the device has no ledger.
func (c *conn) joined(body []byte) bool {
	var w welcome
	if err := json.Unmarshal(body, &w); err != nil {
		c.j.wrong("protocol", "REGISTER_ACK: %v", err)
		return false
	}
	c.agreed = c.style == asks && w.Ask
	c.j.write(entry{what: joined, conn: c.number, seq: c.ledger.through, result: digest(fmt.Sprintf("log %s, resumed %t, ask %t", w.Log, w.Resumed, w.Ask))})
	if _, text := c.codec.(lines); text {
		return true // nothing tells a text device of another log
	}
	if w.Ask && (w.Resumed && c.stranger || time.Since(time.UnixMilli(w.Time)).Abs() > wireSlack) {
		c.j.wrong("protocol", "REGISTER_ACK %s, after a REGISTER that was not to be believed: %t", body, c.stranger)
	}
	if known := c.ledger.log; known != w.Log || !w.Resumed {
		if known == w.Log && w.Ask && !c.stranger {
			c.j.wrong("ledger given up", "REGISTER_ACK says resumed false for log %s and ask_through %d", w.Log, c.ledger.through)
		}
		c.forget(w.Log)
		if known != "" {
			c.j.write(entry{what: forgot, conn: c.number})
		}
	}
	return true
}

// serve handles what comes until the connection ends, or the calm begins, after
// which everything is to come anew.
func (c *conn) serve(stop <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case m, ok := <-c.in:
			if !ok || !c.take(m) {
				return
			}
		case now := <-tick.C:
			if c.excited && c.calm.Load() {
				return
			}
			c.tick(now)
		}
	}
}

// take handles one message; false ends the connection.
func (c *conn) take(m message) bool {
	switch m.kind {
	case heartbeat:
		c.send(message{kind: heartbeatAck})
	case heartbeatAck:
		c.prove()
	case data:
		if m.ask {
			c.ask(m.seq)
		} else {
			c.deliver(m)
		}
	case acknowledge:
		c.outbox.answered(c.number, m)
	case closing:
		c.j.closes(c.number, m.body)
		return false
	default:
		c.j.wrong("protocol", "the gateway sent a message of type %d", m.kind)
		return false
	}
	return true
}

// prove notes that the gateway has read everything before the HEARTBEAT that it
// answers.
func (c *conn) prove() {
	if len(c.asked) == 0 {
		c.j.wrong("protocol", "a HEARTBEAT_ACK that answers nothing")
		return
	}
	c.j.write(entry{what: proved, conn: c.number, seq: uint64(c.asked[0])})
	c.asked = c.asked[1:]
}

// ask answers an ASK from the ledger.
func (c *conn) ask(seq uint64) {
	c.j.write(entry{what: asked, conn: c.number, seq: seq})
	if !c.agreed {
		c.j.wrong("protocol", "an ASK for %d without an agreement", seq)
		return
	}
	if c.heard[seq] {
		c.j.wrong("protocol", "an ASK for %d, which was asked for or sent on this connection", seq)
	}
	c.heard[seq] = true
	v := c.ledger.answer(seq)
	if v.code == codeSend && c.life.jobs[job{seq: seq}] != nil {
		v.code = codeWorking
	}
	c.answer(job{seq: seq}, v, "")
}

// answer writes an ACK; the journal has it before, for the connection may take it
// and be lost.
func (c *conn) answer(n job, v verdict, payload digest) {
	at := c.j.write(entry{what: answered, conn: c.number, seq: n.seq, ephemeral: n.ephemeral, code: v.code, payload: payload, result: digestOf(v.result)})
	c.send(message{kind: acknowledge, seq: n.seq, ephemeral: n.ephemeral, code: v.code, body: v.result})
	if len(c.asked) < 8 && c.rnd.IntN(3) == 0 {
		c.asked = append(c.asked, at+1)
		c.send(message{kind: heartbeat})
	}
}

// deliver takes a payload.
func (c *conn) deliver(m message) {
	n, payload := job{m.seq, m.ephemeral}, digestOf(m.body)
	c.j.write(entry{what: got, conn: c.number, seq: m.seq, ephemeral: m.ephemeral, payload: payload})
	p := planFor(c.seed, c.id, string(m.body))
	if c.calm.Load() {
		p = plan{verdict: p.verdict}
	}
	if n.ephemeral {
		p.silent, p.later, p.working = 0, 0, false
		c.begin(n, p, payload)
		return
	}
	c.bury(m.seq)
	c.heard[m.seq] = true
	if v := c.ledger.answer(m.seq); v.code != codeSend {
		if v.code == codeNotKept && !c.agreed {
			v.code = codeOK
		}
		c.answer(n, v, payload)
		return
	}
	c.ledger.receive(m.seq)
	if c.life.jobs[n] != nil { // its verdict follows
		if c.agreed {
			c.answer(n, verdict{code: codeWorking}, payload)
		}
		return
	}
	t := c.times[m.seq]
	switch {
	case t.silent < p.silent:
		t.silent++
	case t.later < p.later:
		t.later++
		c.answer(n, verdict{code: codeLater}, payload)
	default:
		c.begin(n, p, payload)
	}
	c.times[m.seq] = t
}

// bury drops what is open and will not come again: the questions are over when a
// delivery above ask_through comes, and those come in order.
func (c *conn) bury(seq uint64) {
	if c.style == takesAll || seq <= c.through {
		return
	}
	for s := range c.ledger.open {
		if s < seq && !c.heard[s] && c.life.jobs[job{seq: s}] == nil {
			delete(c.ledger.open, s)
		}
	}
}

// begin works on a delivery, or is done with it at once.
func (c *conn) begin(n job, p plan, payload digest) {
	w := &work{due: time.Now().Add(p.delay), said: time.Now(), plan: p, payload: payload}
	if p.delay == 0 {
		c.finish(n, w)
		return
	}
	c.life.jobs[n] = w
}

// finish handles a delivery: ledger, journal, ACK.
func (c *conn) finish(n job, w *work) {
	delete(c.life.jobs, n)
	v := w.plan.verdict
	if !n.ephemeral {
		c.ledger.settle(n.seq, v)
		delete(c.times, n.seq)
		if c.handled[n.seq] {
			c.j.wrong("handled twice", "delivery %d, %s", n.seq, w.payload)
		}
		c.handled[n.seq] = true
	}
	c.j.write(entry{what: handled, conn: c.number, seq: n.seq, ephemeral: n.ephemeral, code: v.code, payload: w.payload, result: digestOf(v.result)})
	c.answer(n, v, w.payload)
}

// tick does what is due.
func (c *conn) tick(now time.Time) {
	for _, n := range slices.SortedFunc(maps.Keys(c.life.jobs), func(a, b job) int { return int(a.seq) - int(b.seq) }) {
		switch w := c.life.jobs[n]; {
		case !now.Before(w.due) || c.calm.Load():
			c.finish(n, w)
		case w.plan.working && c.agreed && now.Sub(w.said) > 300*time.Millisecond:
			w.said = now
			c.answer(n, verdict{codeWorking, []byte("half way")}, w.payload)
		}
	}
	c.outbox.work(c, now)
}
