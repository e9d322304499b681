package verdicts

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// run is one exploration: a config with some rules taken out.
type run struct {
	cfg     *config
	rules   ruleSet
	covered map[string]int
	broken  string // the first promise that was broken
}

func (x *run) cover(what string) { x.covered[what]++ }

var codeNames = [...]string{"ok", "reject", "retry later", "not handled", "not kept", "working", "result"}
var flightNames = [...]string{asking: "ASK", due: "timed out", sent: "payload", waiting: "waiting", working: "working",
	closing: "closing", gone: "gone"}

var coverCodes = func() (t [len(flightNames)][len(codeNames)]string) {
	for f := range t {
		for c := range t[f] {
			t[f][c] = fmt.Sprintf("ACK %s to %s", codeNames[c], flightNames[f])
		}
	}
	return t
}()

func (x *run) coverCode(f flight, c code) { x.cover(coverCodes[f][c]) }

var coverStates = func() (t [tooLarge + 1]string) {
	for s := range t {
		t[s] = "final: " + state(s).String()
	}
	return t
}()

func (x *run) coverState(s state) { x.cover(coverStates[s]) }

func (x *run) fail(format string, args ...any) {
	if x.broken == "" {
		x.broken = fmt.Sprintf(format, args...)
	}
}

// result is the outcome of an exploration.
type result struct {
	states int
	broken string
	trace  string
}

type edge struct{ from, to uint32 }

// explorer visits worlds breadth first. A world is known by a hash of 64 bits.
type explorer struct {
	x      *run
	seed   maphash.Seed
	seen   table
	parent []uint32
	via    []move
	edges  []edge
	done   []uint32 // settled worlds
}

// table has the number of each world that was seen, by its hash. Of a map most of the
// time would go into cache misses: of this a look is one.
type table struct {
	slots []slot // a power of two, at most three of four used
	used  int
}

type slot struct {
	hash uint64
	next uint32 // the number and one more; 0 is a free slot
}

// add returns the number that the hash has, or gives it one.
func (t *table) add(hash uint64, number uint32) (has uint32, known bool) {
	if 4*t.used >= 3*len(t.slots) {
		old := t.slots
		t.slots, t.used = make([]slot, max(1<<10, 2*len(old))), 0
		for _, s := range old {
			if s.next > 0 {
				t.add(s.hash, s.next-1)
			}
		}
	}
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for ; t.slots[i].next > 0; i = (i + 1) & mask {
		if t.slots[i].hash == hash {
			return t.slots[i].next - 1, true
		}
	}
	t.slots[i], t.used = slot{hash, number + 1}, t.used+1
	return number, false
}

// maxStates bounds an exploration; a config that needs more is too large.
const maxStates = 4_000_000

func explore(c *config, r ruleSet) (result, map[string]int) {
	x := &run{cfg: c, rules: r, covered: map[string]int{}}
	e := &explorer{x: x, seed: maphash.MakeSeed()}
	start := newWorld(c)
	e.visit(&start, 0, move{})
	type node struct {
		w  world
		id uint32
	}
	level := []node{{start, 0}}
	var moves []move
	for len(level) > 0 {
		var next []node
		for i := range level {
			from := &level[i]
			moves = from.w.moves(x, moves[:0])
			for _, mv := range moves {
				w := from.w
				w.do(x, mv)
				if x.broken != "" {
					return result{len(e.parent), x.broken, e.trace(from.id, mv)}, x.covered
				}
				id, fresh := e.visit(&w, from.id, mv)
				if (c.progress || c.starving) && id != from.id && mv.helps(&from.w, x) {
					e.edges = append(e.edges, edge{from.id, id})
				}
				if fresh {
					next = append(next, node{w, id})
				}
			}
		}
		level = next
		if len(e.parent) > maxStates {
			return result{len(e.parent), "too many states", ""}, x.covered
		}
	}
	if c.progress || c.starving {
		if stuck, ok := e.stuck(); ok {
			return result{len(e.parent), "a delivery can never become final", e.trace(stuck)}, x.covered
		}
	}
	return result{states: len(e.parent)}, x.covered
}

func (e *explorer) visit(w *world, parent uint32, via move) (id uint32, fresh bool) {
	h := maphash.Comparable(e.seed, *w)
	if id, known := e.seen.add(h, uint32(len(e.parent))); known {
		return id, false
	}
	id = uint32(len(e.parent))
	e.parent = append(e.parent, parent)
	e.via = append(e.via, via)
	if (e.x.cfg.progress || e.x.cfg.starving) && w.settled(e.x) {
		e.done = append(e.done, id)
	}
	return id, true
}

// stuck returns a world from which no settled one can be reached without a fault.
func (e *explorer) stuck() (uint32, bool) {
	n := len(e.parent)
	first := make([]uint32, n+2)
	for _, d := range e.edges {
		first[d.to+2]++
	}
	for i := 2; i < len(first); i++ {
		first[i] += first[i-1]
	}
	from := make([]uint32, len(e.edges))
	for _, d := range e.edges {
		from[first[d.to+1]] = d.from
		first[d.to+1]++
	}
	good := make([]bool, n)
	todo := e.done
	for _, id := range todo {
		good[id] = true
	}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, f := range from[first[id]:first[id+1]] {
			if !good[f] {
				good[f] = true
				todo = append(todo, f)
			}
		}
	}
	for id, ok := range good {
		if !ok {
			return uint32(id), true
		}
	}
	return 0, false
}

// trace is the way to a world, and further by some moves.
func (e *explorer) trace(id uint32, more ...move) string {
	path := slices.Clone(more)
	for ; id != 0; id = e.parent[id] {
		path = append(path, e.via[id])
	}
	x := &run{cfg: e.x.cfg, rules: e.x.rules, covered: map[string]int{}}
	w := newWorld(x.cfg)
	var b strings.Builder
	for i := len(path) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "  %s\n", w.explain(path[i]))
		if x.broken == "" {
			w.do(x, path[i])
		}
	}
	return b.String()
}

var frameNames = [...]string{"", "REGISTER", "REGISTER_ACK", "DATA", "ASK", "ACK", "UPLINK", "UPLINK_ACK"}

func (f frame) String() string {
	switch f.kind {
	case ack, uplinkAcked:
		return fmt.Sprintf("%s %d %s", frameNames[f.kind], f.a, codeNames[f.b])
	case register:
		return fmt.Sprintf("REGISTER log %d ask_through %d", f.a, f.b)
	case registered:
		return fmt.Sprintf("REGISTER_ACK log %d resumed %t", f.a, f.b == 1)
	}
	return fmt.Sprintf("%s %d", frameNames[f.kind], f.a)
}

// explain describes a move in this world.
func (w *world) explain(m move) string {
	switch m.kind {
	case mvGateRead, mvRefuse:
		return fmt.Sprintf("%s on %d: %s", moveNames[m.kind], m.a, w.wires[m.a].up.f[0])
	case mvDeviceRead, mvIgnore:
		return fmt.Sprintf("%s on %d: %s", moveNames[m.kind], w.dev.conn, w.wires[w.dev.conn].down.f[0])
	case mvDecide:
		return fmt.Sprintf("the device decides on %d: %s", m.a, codeNames[m.b])
	case mvSync:
		return fmt.Sprintf("sync %v", w.store.unsynced[0])
	}
	return m.String()
}
