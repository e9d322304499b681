package journaltest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime/debug"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Schedule is one run of the harness. All that it does follows from its fields.
type Schedule struct {
	Seed  uint64
	Nodes int // data directories at the start
	Rules Rules
}

// Totals counts what happened in schedules, so that a test can see that they reach it.
type Totals struct {
	Records, Applied, Answered, Holes, Repeats, Fenced, Reopens, Left, Kills int
}

// Add adds up two tallies.
func (t *Totals) Add(o Totals) {
	t.Records += o.Records
	t.Applied += o.Applied
	t.Answered += o.Answered
	t.Holes += o.Holes
	t.Repeats += o.Repeats
	t.Fenced += o.Fenced
	t.Reopens += o.Reopens
	t.Left += o.Left
	t.Kills += o.Kills
}

// world is a schedule under way. One goroutine runs it.
type world struct {
	rules     Rules
	rng       *rand.Rand
	log       *Log
	nodes     []*node // alive, or killed and to be restarted
	ever      []*node // every process that there was
	steps     int
	tick      int64 // readings of the clocks
	shortKeys bool

	messages []gateway.MessageID // ids that were handed in
	reads    []reading           // by position - 1, of the first node that came there
	answers  []answer
	told     map[*entry]bool
	refs     map[gateway.ClientID][]uint32 // that clients have, or had
	totals   Totals
}

// reading is the outcome of a position, which must be the same for all nodes.
type reading struct {
	verdict state.Verdict
	sum     uint64 // behind the record; 0 = not applied yet
	feed    uint64 // hash of the record's part of the feed
}

// answer is a record that a node has answered for.
type answer struct {
	node *node
	*entry
	pos     uint64 // at which it was read back applied; 0 = it was not
	results []state.Result
}

// broken is a property that does not hold.
type broken struct{ error }

// fail ends the schedule.
func (w *world) fail(format string, args ...any) { panic(broken{fmt.Errorf(format, args...)}) }

// must ends the schedule if err is not nil.
func (w *world) must(err error, format string, args ...any) {
	if err != nil {
		w.fail("%s: %w", fmt.Sprintf(format, args...), err)
	}
}

// Run runs the schedule, and returns the first property that does not hold.
func (s Schedule) Run() (totals Totals, err error) {
	w := &world{rules: s.Rules, rng: rand.New(rand.NewPCG(s.Seed, uint64(s.Nodes))), told: map[*entry]bool{}, refs: map[gateway.ClientID][]uint32{},
		log: NewLog("log", s.Seed, Faults{Step: true})}
	defer func() {
		totals = w.totals
		switch r := recover().(type) {
		case nil:
		case broken:
			err = fmt.Errorf("seed %d, %d nodes, step %d: %w", s.Seed, s.Nodes, w.steps, r.error)
		default:
			err = fmt.Errorf("seed %d, %d nodes, step %d: panic: %v\n%s", s.Seed, s.Nodes, w.steps, r, debug.Stack())
		}
	}()
	w.shortKeys = w.rng.IntN(4) == 0
	for i := range s.Nodes {
		w.launch(&node{name: string(rune('A' + i)), writer: uint64(i + 1), disk: newDisk()})
	}
	w.push(w.nodes[0], &record.Bounded{Bounds: w.drawBounds()})
	weather := w.drawWeather()
	for range 100 + w.rng.IntN(200) {
		w.steps++
		w.step(&weather)
	}
	w.calm()
	w.check()
	return w.totals, nil
}

// weather is how often each step is done in a schedule.
type weather struct {
	push, commit, deliver, repeat, lose, read, again, flush, kill, restart, reopen, pause, wake, clone, twin, sweep int
	disorder                                                                                                        int // how many appends may be overtaken
}

func (w *world) drawWeather() weather {
	rare := func(n int) int { return w.rng.IntN(2) * w.rng.IntN(n+1) }
	return weather{push: 30, commit: 25, deliver: 30, read: 60, flush: 5, sweep: 6, restart: 20, wake: 6, again: 3 + w.rng.IntN(4),
		repeat: rare(8), lose: rare(8), kill: rare(4), reopen: rare(2), pause: rare(4), clone: rare(3), twin: rare(2),
		disorder: 1 + w.rng.IntN(2)*w.rng.IntN(5)}
}

// step does one thing. A step that is not possible does nothing.
func (w *world) step(o *weather) {
	n := pick(w, w.nodes)
	kind := w.weighted(o.push, o.commit, o.deliver, o.repeat, o.lose, o.read, o.again, o.flush, o.kill, o.restart,
		o.reopen, o.pause, o.wake, o.clone, o.twin, o.sweep)
	if n.died > 0 && kind != 2 && kind != 3 && kind != 4 {
		if kind == 9 {
			w.restart(n)
		}
		return
	}
	if n.paused && kind != 2 && kind != 3 && kind != 4 {
		n.paused = kind != 12
		return
	}
	switch kind {
	case 0:
		for range 1 + w.rng.IntN(4) {
			w.push(n, n.event())
		}
	case 1:
		n.commit()
	case 2, 3, 4:
		w.air(o, kind)
	case 5:
		for range 1 + w.rng.IntN(4) {
			if n.left || !n.read() {
				break
			}
		}
	case 6:
		n.again()
	case 7:
		n.disk.flush()
	case 8:
		w.kill(n)
	case 10:
		n.disk = w.crashed(n.disk)
		n.open()
	case 11:
		n.paused = true
	case 13:
		w.clone(n)
	case 14:
		w.twin(n)
	case 15:
		w.push(n, n.sweep()...)
	}
}

// air moves one append that is under way.
func (w *world) air(o *weather, kind int) {
	flying := w.log.InAir()
	if flying == 0 {
		return
	}
	i := w.rng.IntN(min(flying, o.disorder))
	switch kind {
	case 2:
		w.log.Deliver(i)
	case 3:
		w.log.Repeat(i)
	case 4:
		w.log.Lose(i)
	}
}

// push hands events in.
func (w *world) push(n *node, events ...record.Event) { n.queue = append(n.queue, events...) }

// launch starts a process.
func (w *world) launch(n *node) {
	w.enter(n)
	n.start()
}

func (w *world) enter(n *node) {
	n.w, n.born = w, w.steps
	n.skew = w.rng.Int64N(7) * int64(step)
	n.caches = pick(w, []state.Caches{state.CachesEmpty, 1, 2, 8})
	w.nodes, w.ever = append(w.nodes, n), append(w.ever, n)
}

// kill ends a process; its directory stays.
func (w *world) kill(n *node) {
	n.died = w.steps
	w.totals.Kills++
}

// restart starts a process over the directory of one that was killed.
func (w *world) restart(n *node) {
	w.nodes = slices.DeleteFunc(w.nodes, func(o *node) bool { return o == n })
	w.launch(&node{name: n.name + "'", writer: n.writer, disk: w.crashed(n.disk)})
}

// crashed returns a disk as a crash may leave it.
func (w *world) crashed(d *disk) *disk {
	c, err := d.crashed(w.rng.IntN(len(d.since) + 1))
	w.must(err, "rows after a crash")
	return c
}

// maxProcesses bounds the processes of one schedule that live together.
const maxProcesses = 5

// clone starts a process over a copy of a directory that is in use. Perhaps its process
// was thought to be dead, and is paused until later.
func (w *world) clone(n *node) {
	if len(w.nodes) < maxProcesses {
		n.paused = w.rng.IntN(2) == 0
		w.launch(&node{name: n.name + "*", writer: n.writer, disk: w.crashed(n.disk)})
	}
}

// twin copies a process with its memory, as a snapshot of a virtual machine does. The
// events that wait stay with the original, because their callers do.
func (w *world) twin(n *node) {
	if len(w.nodes) == maxProcesses {
		return
	}
	disk, err := n.disk.crashed(len(n.disk.since))
	w.must(err, "copy of the rows")
	t := &node{name: n.name + "=", writer: n.writer, boot: n.boot, disk: disk, journal: n.journal, owed: map[uint64]*entry{}}
	for number, r := range n.owed {
		t.owed[number] = r
	}
	w.enter(t)
	t.open()
	t.pos = n.pos
}

// leave is called when a node finds that another process has its identity.
func (w *world) leave(n *node) {
	n.left, n.died = true, max(1, w.steps)
	w.nodes = slices.DeleteFunc(w.nodes, func(o *node) bool { return o == n })
	w.totals.Left++
	met := func(o *node) bool { return o != n && o.writer == n.writer && (o.died == 0 || o.died >= n.born) }
	if !slices.ContainsFunc(w.ever, met) {
		w.fail("%s leaves although no other process has had its identity", n.name)
	}
	if !slices.ContainsFunc(w.nodes, met) { // of two copies of one memory both may leave
		w.launch(&node{name: n.name + "'", writer: n.writer, disk: w.crashed(n.disk)})
	}
}

// judged compares a verdict with those of the other nodes.
func (w *world) judged(n *node, v state.Verdict) {
	if n.pos > uint64(len(w.reads)) {
		w.reads = append(w.reads, reading{verdict: v})
		w.totals.Records++
		switch v {
		case state.Next:
			w.totals.Applied++
		case state.Hole:
			w.totals.Holes++
		case state.Repeat:
			w.totals.Repeats++
		case state.Fenced:
			w.totals.Fenced++
		}
	}
	if first := w.reads[n.pos-1].verdict; first != v {
		w.fail("%s: verdict %d at position %d, another node had %d", n.name, v, n.pos, first)
	}
}

// reached compares a checksum and the feed with those of the other nodes.
func (w *world) reached(n *node, a *state.Applied) {
	var feed feedHash
	a.Feed.Tell(&feed)
	sum := a.State.Sum
	for n.pos > uint64(len(w.reads)) {
		w.reads = append(w.reads, reading{})
	}
	r := &w.reads[n.pos-1]
	if r.sum == 0 {
		r.sum, r.feed = sum, uint64(feed)
	}
	if r.sum != sum {
		w.fail("%s: checksum %x at position %d, another node has %x", n.name, sum, n.pos, r.sum)
	}
	if r.feed != uint64(feed) {
		w.fail("%s: another feed at position %d", n.name, n.pos)
	}
}

// feedHash is an observer that hashes the changes that it is passed.
type feedHash uint64

func (h *feedHash) Changed(list []gateway.Change) {
	sum := fnv.New64a()
	for _, c := range list {
		if s, ok := c.(*gateway.Settlement); ok && s.Completed != nil {
			fmt.Fprintf(sum, "%+v of %+v", s.Delivery, *s.Completed)
			continue
		}
		fmt.Fprintf(sum, "%T %+v", c, c)
	}
	*h = feedHash(sum.Sum64())
}

// answered takes the answers to the callers of one record.
func (w *world) answered(n *node, r *entry, pos uint64, results []state.Result) {
	if n.left {
		w.fail("%s answers after it was fenced", n.name)
	}
	w.totals.Answered++
	if !w.told[r] { // a twin answers for the same record
		w.told[r] = true
		w.answers = append(w.answers, answer{n, &entry{bytes: r.bytes, events: slices.Clone(r.events)}, pos, results})
	}
}

// calm lets the network and all processes work without faults until nothing is left to
// be done.
func (w *world) calm() {
	for round := 0; ; round++ {
		for _, n := range slices.Clone(w.nodes) {
			if n.paused = false; n.died > 0 {
				w.restart(n)
			}
		}
		w.log.Settle()
		busy := false
		for _, n := range slices.Clone(w.nodes) {
			for !n.left && n.read() {
				busy = true
			}
			if n.left {
				continue
			}
			if n.journal.UnderWay() > 0 {
				n.again()
			}
			n.commit()
			busy = busy || len(n.queue) > 0 || len(n.owed) > 0
		}
		if !busy && w.log.InAir() == 0 {
			return
		}
		if round == 200 {
			w.fail("the nodes do not come to rest: %s", w.standing())
		}
	}
}

// standing describes the nodes.
func (w *world) standing() (s string) {
	for _, n := range w.nodes {
		s += fmt.Sprintf("%s at %d of %d with %d events waiting and %d records not answered; ", n.name, n.pos, w.log.End(), len(n.queue), len(n.owed))
	}
	return s
}
