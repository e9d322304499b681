package real

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
)

// run is the exploration of one config.
type run struct {
	cfg       *config
	long      bool
	templates []template

	mu      sync.Mutex
	covered map[string]int
}

// outcome is what an exploration has found.
type outcome struct {
	Config     string
	Executions int
	States     int
	Steps      int
	Cut        int // executions that were ended by their length
	Strayed    int // executions that had to be tried again
	Seconds    float64
	Broken     string
	Trace      string
	Covered    map[string]int
}

// explore visits the worlds of a config.
func explore(c *config, long bool) *outcome {
	x := &run{cfg: c, long: long, covered: map[string]int{}}
	x.templates = append(x.templates, newTemplate(c))
	if c.limit[replaced]+c.more[replaced] > 0 {
		x.templates = append(x.templates, newTemplate(c))
	}
	o := &outcome{Config: c.name, Covered: x.covered}
	seen := map[uint64]bool{}
	var path []choice
	for o.Broken == "" {
		o.Executions++
		if path = x.execute(o, path, seen); o.Broken == strayed && o.Strayed < maxStrayed {
			o.Strayed, o.Broken, o.Trace = o.Strayed+1, "", ""
			continue
		}
		for len(path) > 0 && path[len(path)-1].n+1 == path[len(path)-1].of {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			break
		}
		path[len(path)-1].n++
	}
	o.States = len(seen)
	return o
}

// choice is the move of a world that an execution has made.
type choice struct {
	move  move
	n, of int
}

const maxSteps = 60

// strayed is that the same moves did not lead to the same world: goroutines ran in
// another order, and both are right. The execution is tried again.
const (
	strayed    = "an execution does not repeat itself"
	maxStrayed = 20
)

// execute makes the moves of path, and goes on until it meets a world that was
// seen before, or one without a move.
func (x *run) execute(o *outcome, path []choice, seen map[uint64]bool) []choice {
	w := newWorld(x)
	defer func() {
		w.p.stop()
		synctest.Wait()
	}()
	steps := x.cfg.steps
	if steps == 0 {
		steps = maxSteps
	}
	for i := 0; ; i++ {
		moves := w.moves()
		if i == len(path) {
			h := w.hash()
			if seen[h] {
				break
			}
			seen[h] = true
			if i == steps {
				o.Cut++
				break
			}
			if len(moves) == 0 {
				break
			}
			path = append(path, choice{n: 0, of: len(moves)})
		}
		at := &path[i]
		if at.of != len(moves) || at.n > 0 && at.n >= len(moves) {
			o.Broken = strayed
			o.Trace = x.trace(path[:i])
			return path
		}
		at.move = moves[at.n]
		o.Steps++
		w.do(at.move)
		if w.broken != "" {
			o.Broken = w.broken
			o.Trace = x.trace(path[:i+1])
			return path
		}
	}
	if x.cfg.progress {
		if broken, more := w.finish(); broken != "" {
			o.Broken = broken
			o.Trace = x.trace(path, more...)
		}
	}
	return path
}

// trace tells an execution again.
func (x *run) trace(path []choice, more ...move) string {
	var b strings.Builder
	quiet := &run{cfg: x.cfg, long: x.long, templates: x.templates, covered: map[string]int{}}
	w := newWorld(quiet)
	defer func() {
		w.p.stop()
		synctest.Wait()
	}()
	moves := make([]move, 0, len(path)+len(more))
	for _, c := range path {
		moves = append(moves, c.move)
	}
	for _, m := range append(moves, more...) {
		fmt.Fprintf(&b, "  %s\n", w.explain(m))
		w.do(m)
	}
	for i := range w.seen {
		fmt.Fprintf(&b, "  at the end %d is %s %s\n", w.seen[i].Seq, w.seen[i].State, w.seen[i].Reason)
	}
	return b.String()
}

func (w *world) explain(m move) string {
	s := m.String()
	switch m.kind {
	case mvGateRead, mvRefuse:
		s += ": " + describe(w.conns[m.a].up[0])
	case mvDeviceRead, mvIgnore, mvForget:
		s += ": " + describe(w.dev.c.down[0])
	case mvSync, mvCommit, mvCrash:
		s += fmt.Sprintf(" %q", w.p.store.ops[w.p.store.durable:])
	}
	return s
}

// finish lets healthy ends go on until nothing is left to do, and reports what
// cannot end.
func (w *world) finish() (broken string, made []move) {
	w.spent = [faults]int{}
	for f := range faults {
		w.spent[f] = 1 << 10
	}
	for range 60 {
		if w.settled() {
			return w.broken, made
		}
		if w.broken != "" {
			return w.broken, made
		}
		m, ok := w.helpful()
		if !ok {
			break
		}
		made = append(made, m)
		w.do(m)
	}
	return "a delivery or an uplink can never become final", made
}

// helpful returns a move of healthy ends.
func (w *world) helpful() (move, bool) {
	if w.p.disk.full {
		return move{kind: mvFull}, true
	}
	l := w.moves()
	for _, kind := range []moveKind{mvSync, mvCommit, mvGateRead, mvDeviceRead, mvSendUplink, mvAccept} {
		if i := slices.IndexFunc(l, func(m move) bool { return m.kind == kind && m.b == 0 }); i >= 0 {
			return l[i], true
		}
	}
	for _, m := range l {
		switch {
		case m.kind == mvDecide && verdict(m.b) == plain, m.kind == mvConnect, m.kind == mvDeviceClose, m.kind == mvGateClose, m.kind == mvSweep:
			return m, true
		}
	}
	for kind := uint8(settlePause + 1); kind <= 5; kind++ {
		if w.p.count(kind) > 0 {
			return move{kind: mvTimer, a: kind}, true
		}
	}
	for no, c := range w.conns {
		if c != nil && c.open && c.gw != nil && c.proto.InFlight() > 0 {
			return move{kind: mvTimeout, a: uint8(no)}, true
		}
	}
	return move{}, false
}

// settled reports whether there is nothing left to do.
func (w *world) settled() bool {
	if w.accepted < w.cfg.messages || len(w.seen) < w.cfg.messages || len(w.dev.up) > 0 {
		return false
	}
	for i := range w.seen {
		if !w.seen[i].State.Final() {
			return false
		}
	}
	return true
}
