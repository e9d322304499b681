package journaltest

import (
	"errors"
	"fmt"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// history is the journal, applied by one more node from its beginning.
type history struct {
	*node
	results  [][]state.Result // by position - 1; nil if the record was not applied
	applied  map[event]int    // how often
	messages map[gateway.MessageID]bool
	keys     map[string]bool // that were forgotten, as in record.ForgetKey
	clients  map[gateway.ClientID]bool
	uplinks  uint64 // forgotten up to here
}

// event is an event's identity: the boot that it was handed to, and its bytes.
type event struct {
	boot  uint64
	bytes string
}

func eventOf(boot uint64, e record.Event) event {
	c := record.Commit{Events: []record.Event{e}}
	return event{boot, string(c.Encode()[40:])}
}

// check compares all that nodes have with all that they have answered.
func (w *world) check() {
	h := w.replayed()
	w.checkBoots()
	for _, n := range w.nodes {
		w.checkNode(n, h)
	}
	w.checkAnswers(h)
	w.checkRows(h)
	w.checkCaches(h)
}

// replayed applies the journal alone.
func (w *world) replayed() *history {
	h := &history{node: &node{w: w, name: "a replay of the journal", disk: newDisk(), caches: state.CachesEmpty},
		applied: map[event]int{}, messages: map[gateway.MessageID]bool{}, keys: map[string]bool{}, clients: map[gateway.ClientID]bool{}}
	h.open()
	for h.pos < w.log.End() {
		h.pos++
		c, err := record.Decode(w.log.At(h.pos))
		w.must(err, "record at position %d", h.pos)
		v := w.rules.judge(h.machine, c)
		w.judged(h.node, v)
		if v != state.Next {
			h.results = append(h.results, nil)
			continue
		}
		h.results = append(h.results, h.apply(c))
		for _, e := range c.Events {
			h.note(c.Boot, e)
		}
	}
	return h
}

// note counts an applied event, and keeps the name of the row that it removes.
func (h *history) note(boot uint64, e record.Event) {
	h.applied[eventOf(boot, e)]++
	switch e := e.(type) {
	case *record.ForgetMessage:
		h.messages[e.ID] = true
	case *record.ForgetKey:
		h.keys[string(e.Scoped)] = true
	case *record.ForgetClient:
		h.clients[e.Client] = true
	case *record.RemoveClient:
		h.clients[e.Client] = true
	case *record.ForgetUplinks:
		h.uplinks = max(h.uplinks, e.Through)
	}
}

// checkBoots checks that a writer's applied records are unbroken runs of one boot after
// another.
func (w *world) checkBoots() {
	type run struct{ boot, n uint64 }
	last, over := map[uint64]run{}, map[uint64]bool{}
	for i, r := range w.reads {
		if r.verdict != state.Next {
			continue
		}
		c, err := record.Decode(w.log.At(uint64(i + 1)))
		w.must(err, "record at position %d", i+1)
		before := last[c.Writer]
		if c.Boot != before.boot {
			over[before.boot] = true
			before.n = 0
		}
		if over[c.Boot] || c.N != before.n+1 {
			w.fail("record %d of a boot is applied at position %d behind %d, the boot is over: %v", c.N, i+1, before.n, over[c.Boot])
		}
		last[c.Writer] = run{c.Boot, c.N}
	}
}

// checkNode compares a node with the replay, and its memory with its rows. A node that
// has a successor must have left.
func (w *world) checkNode(n *node, h *history) {
	w.must(n.disk.Equal(h.disk.Rows), "%s against a replay of the journal", n.name)
	if boot, _ := n.machine.Boot(n.writer); boot != n.boot {
		w.fail("%s works although another process has its identity", n.name)
	}
	stored, err := state.ReadStanding(n.disk)
	w.must(err, "%s: state", n.name)
	if stored != n.machine.State {
		w.fail("%s: the state is %+v and its row says %+v", n.name, n.machine.State, stored)
	}
}

// checkAnswers checks that each answered event is applied once, with the result that it
// was answered with.
func (w *world) checkAnswers(h *history) {
	for _, a := range w.answers {
		for i, e := range a.events {
			switch n := h.applied[eventOf(a.node.boot, e)]; {
			case n == 0:
				w.fail("%s has answered for an event of kind %d that is not applied: %+v", a.node.name, e.Kind(), e)
			case n > 1 && once(e):
				w.fail("%s has answered for an event of kind %d that is applied %d times: %+v", a.node.name, e.Kind(), n, e)
			}
			if a.results == nil {
				continue
			}
			if got, want := outcome(&a.results[i]), outcome(&h.results[a.pos-1][i]); got != want {
				w.fail("%s has answered %s for an event of kind %d, a replay has %s", a.node.name, got, e.Kind(), want)
			}
		}
	}
}

// once reports whether no other event of the schedule has the event's bytes.
func once(e record.Event) bool {
	switch e.(type) {
	case *record.Accept, *record.Settle, *record.Cancel, *record.Purge, *record.Register, *record.Disconnected,
		*record.Update, *record.Uplink, *record.RemoveClient:
		return true
	}
	return false
}

// outcome describes a result.
func outcome(r *state.Result) string {
	return fmt.Sprintf("message %s %d (replayed %v), %+v, client %s %d, up to %d, %d, uplink %d, %s", r.Receipt.Message.ID, r.Receipt.Message.Seq,
		r.Receipt.Replayed, r.Message.Counts, r.Record.ID, r.Record.Queued, r.Given, r.N, r.Useq, code(r.Err))
}

func code(err error) gateway.Code {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return e.Code
	}
	return gateway.CodeOf(err)
}

// checkRows reads all rows, and looks for the answered events in them.
func (w *world) checkRows(h *history) {
	v := h.view()
	var f state.Findings
	v.Check(&f)
	if !f.OK() {
		w.fail("the rows disagree: %v", f.Problems)
	}
	w.checkKeys(h)
	uplinks := map[string]int{}
	page, err := v.Uplinks("", 0, 1<<20)
	w.must(err, "uplinks")
	for _, u := range page.Items {
		uplinks[string(u.Payload)]++
	}
	keys := map[string]gateway.MessageID{}
	for _, a := range w.answers {
		for i, e := range a.events {
			if a.results == nil || a.results[i].Err != nil {
				continue
			}
			switch r := &a.results[i]; e := e.(type) {
			case *record.Accept:
				w.checkMessage(h, v, e, r, keys)
			case *record.Uplink:
				if n := uplinks[string(e.Payload)]; n > 1 || n == 0 && r.Useq > h.uplinks {
					w.fail("uplink %d, %s, is stored %d times", r.Useq, e.Payload, n)
				}
			case *record.Register:
				if _, err := v.Client(e.Client); err != nil && !h.clients[e.Client] {
					w.fail("client %s has registered and is unknown: %v", e.Client, err)
				}
			case *record.Cancel:
				if msg, err := v.Message(e.ID); err == nil && msg.Counts.Queued > 0 && !h.messages[e.ID] {
					w.fail("message %s is canceled and queued: %+v", e.ID, msg.Counts)
				}
			}
		}
	}
}

// checkKeys checks that the sweeper will find each idempotency key.
func (w *world) checkKeys(h *history) {
	ages := map[string]bool{}
	for _, r := range h.disk.between([]byte("j"), []byte("k")) {
		ages[r.key[9:]] = true
	}
	for _, r := range h.disk.between([]byte("k"), []byte("l")) {
		if !ages[r.key[1:]] {
			w.fail("no sweep will find the key %q", r.key)
		}
	}
}

// checkMessage checks that an accepted message is stored, and is the only one of its key.
func (w *world) checkMessage(h *history, v *state.View, e *record.Accept, r *state.Result, keys map[string]gateway.MessageID) {
	id := r.Receipt.Message.ID
	if h.messages[id] {
		return
	}
	if _, err := v.Message(id); err != nil {
		w.fail("message %s is accepted and unknown: %v", id, err)
	}
	if !r.Receipt.Replayed && id != e.ID {
		w.fail("message %s is accepted under the id %s", e.ID, id)
	}
	if w.shortKeys || e.IdempotencyKey == "" || r.Receipt.Replayed && id == e.ID {
		return
	}
	scoped := string(record.PutString(nil, e.Scope)) + e.IdempotencyKey
	if known, ok := keys[scoped]; ok && known != id && !h.keys[scoped] {
		w.fail("key %s has the messages %s and %s", e.IdempotencyKey, known, id)
	}
	keys[scoped] = id
}

// checkCaches replays the journal with caches of all sizes, in one go and with a restart
// after each record.
func (w *world) checkCaches(h *history) {
	for _, restarts := range []bool{false, true} {
		size := pick(w, []state.Caches{state.CachesEmpty, 1, state.CachesFull})
		if restarts && size == state.CachesFull && w.rng.IntN(8) > 0 { // it takes half a megabyte at each start
			size = 1
		}
		n := &node{w: w, name: fmt.Sprintf("a replay with caches of %d, restarts: %v", size, restarts), disk: newDisk(), caches: size}
		n.open()
		for n.pos < w.log.End() {
			n.pos++
			if w.reads[n.pos-1].verdict != state.Next {
				continue
			}
			c, err := record.Decode(w.log.At(n.pos))
			w.must(err, "record at position %d", n.pos)
			n.apply(c)
			if pos := n.pos; restarts {
				n.open()
				n.pos = pos
			}
		}
		w.must(n.disk.Equal(h.disk.Rows), "%s", n.name)
	}
}
