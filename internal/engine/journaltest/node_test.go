package journaltest

import (
	"context"

	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// node is one process: rows, the state machine over them, and a journal.Writer.
type node struct {
	w      *world
	name   string
	writer uint64
	boot   uint64
	skew   int64 // of its clock, ns
	caches state.Caches

	disk    *disk
	machine *state.Machine
	journal journal.Writer
	pos     uint64            // of the last record that was read
	queue   []record.Event    // handed in, in no record yet
	owed    map[uint64]*entry // by number, records that are not answered

	born, died int // steps; died is 0 while it lives
	paused     bool
	left       bool // fenced for good
}

// entry is a record that a node has made.
type entry struct {
	bytes  []byte
	events []record.Event
	sent   bool
}

// open makes the state machine of the rows.
func (n *node) open() {
	m, err := state.NewMachine(n.disk, n.caches)
	n.w.must(err, "%s: open the rows", n.name)
	n.machine, n.pos = m, m.State.Pos
}

// start begins a boot.
func (n *node) start() {
	n.boot = n.w.rng.Uint64() | 1
	n.owed = map[uint64]*entry{}
	n.open()
	n.journal = *journal.NewWriter(n.writer, n.boot, n.pos)
	n.make([]record.Event{n.opening()})
	n.send()
}

func (n *node) opening() record.Event {
	after, _ := n.machine.Boot(n.writer)
	return &record.Opened{After: after}
}

// encode returns the record with a number.
func (n *node) encode(number uint64, events []record.Event) []byte {
	c := record.Commit{Writer: n.writer, Boot: n.boot, N: number, At: n.now(), Events: events}
	return c.Encode()
}

// now returns the node's next time. No two are equal.
func (n *node) now() int64 {
	n.w.tick++
	return epoch + n.w.tick*int64(step) + n.skew + n.w.tick
}

// make makes a record of events.
func (n *node) make(events []record.Event) {
	number := n.journal.Next()
	r := &entry{bytes: n.encode(number, events), events: events}
	n.owed[number] = r
	n.journal.Add(r.bytes)
	if n.w.rules.ApplyFirst {
		n.applyFirst(number, r)
	}
}

// commit makes a record of the events that wait, as soon as it can be appended.
func (n *node) commit() {
	if len(n.queue) == 0 || !n.journal.Room() && !n.w.rules.ApplyFirst {
		return
	}
	k := min(len(n.queue), 1+n.w.rng.IntN(8))
	n.make(n.queue[:k:k])
	n.queue = n.queue[k:]
	n.send()
}

// send appends the records that are to be appended now.
func (n *node) send() {
	for _, b := range n.journal.Send() {
		c, err := record.Decode(b)
		n.w.must(err, "%s: decode its own record", n.name)
		r := n.owed[c.N]
		if r != nil && r.sent {
			if n.w.rules.NeverAgain {
				continue
			}
			if n.w.rules.FreshBytes && c.N > 1 {
				r.events, n.queue = append(r.events, n.queue...), nil
				b = n.encode(c.N, r.events)
			}
		}
		n.w.must(n.w.log.Append(context.Background(), b), "append")
		if r != nil {
			r.sent = true
			if n.w.rules.AnswerAppended {
				n.answer(c.N, 0, nil)
			}
		}
	}
}

// again is called when the time is over, or the connection was made anew.
func (n *node) again() {
	if !n.w.rules.HolesOnly {
		n.journal.Again()
		n.send()
	}
}

// read takes the next record of the journal, and reports whether there was one.
func (n *node) read() bool {
	raw := n.w.log.At(n.pos + 1)
	if raw == nil {
		return false
	}
	n.pos++
	c, err := record.Decode(raw)
	n.w.must(err, "%s: record at position %d", n.name, n.pos)
	v := n.w.rules.judge(n.machine, c)
	n.w.judged(n, v)
	var results []state.Result
	if v == state.Next {
		results = n.apply(c)
	}
	n.readBack(c, raw, v, results)
	return true
}

func (n *node) apply(c *record.Commit) []state.Result {
	results := make([]state.Result, len(c.Events))
	a, err := n.machine.ApplyAll(c, n.pos, results)
	n.w.must(err, "%s: apply the record at position %d", n.name, n.pos)
	n.w.must(n.disk.store(&a.Changes), "%s: rows at position %d", n.name, n.pos)
	n.w.reached(n, &a)
	return results
}

// readBack passes the record to the writer, and takes the step that it returns.
func (n *node) readBack(c *record.Commit, raw []byte, v state.Verdict, results []state.Result) {
	r := n.owed[c.N]
	own := c.Writer == n.writer && c.Boot == n.boot
	if (n.w.rules.AnyBytes || n.w.rules.FreshBytes) && own && r != nil {
		raw = r.bytes
	}
	todo := n.journal.ReadBack(journal.Record{Pos: n.pos, Writer: c.Writer, Boot: c.Boot, N: c.N, Bytes: raw}, journal.Verdict(v))
	if n.w.rules.AnswerStored && own {
		n.answer(c.N, n.pos, results)
	}
	switch todo {
	case journal.Answer:
		n.answer(c.N, n.pos, results)
	case journal.Reopen:
		n.reopen()
	case journal.Leave:
		n.w.leave(n)
	}
	n.send()
}

// reopen makes the opening again, after the boot that the state names now.
func (n *node) reopen() {
	n.w.totals.Reopens++
	events := []record.Event{n.opening()}
	r := &entry{bytes: n.encode(1, events), events: events}
	n.owed[1] = r
	n.journal.Reopen(r.bytes)
}

// answer answers for the events of a record.
func (n *node) answer(number, pos uint64, results []state.Result) {
	if r := n.owed[number]; r != nil {
		delete(n.owed, number)
		n.w.answered(n, r, pos, results)
	}
}

// applyFirst is the way of an engine that decides before the journal does.
func (n *node) applyFirst(number uint64, r *entry) {
	n.pos = n.w.log.End() + 1
	c, err := record.Decode(r.bytes)
	n.w.must(err, "decode")
	results := n.apply(c)
	n.w.must(n.w.log.Append(context.Background(), r.bytes), "append")
	n.w.log.Deliver(n.w.log.InAir() - 1)
	n.journal.Send()
	n.answer(number, n.pos, results)
	n.journal.ReadBack(journal.Record{Pos: n.pos, Writer: n.writer, Boot: n.boot, N: number, Bytes: r.bytes}, journal.Applied)
}
