package device

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/protocol"
)

// specSaved is the saved state of a specLedger.
type specSaved struct {
	// | saved       log,  ask_through = 0,  complete_from = 0
	log                      string
	askThrough, completeFrom uint64
	// | holes          the sequences of open that are at or below ask_through
	holes []uint64
	// | verdicts       sequence, code and result of each; the one that was given first comes first
	verdicts []Verdict
}

// specLedger is the ledger of SPEC §2.4. Each comment that begins with a bar is a
// line of the pseudo-code there, and TestSpecLedgerIsTheSpecs keeps them equal.
type specLedger struct {
	specSaved // the current state; saved is the state at the last save
	saved     specSaved

	bound int // of verdicts; 512 in the SPEC

	// | in memory   open           sequences that came and are not handled; at a start, the holes
	open map[uint64]bool
	// | working        those of open that a worker has
	working map[uint64]bool
	// | here           those of open that came, or were asked for, on this connection
	here map[uint64]bool
	// | registered     ask_through as this connection's REGISTER had it
	registered uint64
	// | passed         whether a sequence above registered has come on this connection
	passed bool
}

func newSpecLedger(bound int, saved specSaved) *specLedger {
	l := &specLedger{specSaved: saved, saved: saved, bound: bound, open: map[uint64]bool{}, working: map[uint64]bool{}, here: map[uint64]bool{}}
	l.verdicts = slices.Clone(saved.verdicts)
	for _, seq := range saved.holes {
		l.open[seq] = true
	}
	return l
}

func (l *specLedger) save(works bool) {
	if !works {
		return
	}
	l.holes = nil
	for seq := range l.open {
		if seq <= l.askThrough {
			l.holes = append(l.holes, seq)
		}
	}
	slices.Sort(l.holes)
	l.saved = l.specSaved
	l.saved.verdicts = slices.Clone(l.verdicts)
}

// | know(seq):
func (l *specLedger) know(seq uint64) Verdict {
	of := func(v Verdict) bool { return v.Seq == seq }
	switch {
	// | if seq is in working:                     return 5 working
	case l.working[seq]:
		return Verdict{Seq: seq, Code: protocol.AckWorking}
	// | if seq is in open or above ask_through:   return 3 not handled
	case l.open[seq] || seq > l.askThrough:
		return Verdict{Seq: seq, Code: protocol.AckSend}
	// | if seq is in verdicts:                    return its code and result
	case slices.ContainsFunc(l.verdicts, of):
		return l.verdicts[slices.IndexFunc(l.verdicts, of)]
	// | if seq <= complete_from:                  return 4 verdict not kept
	case seq <= l.completeFrom:
		return Verdict{Seq: seq, Code: protocol.AckNotKept}
	}
	// | return 0 ok
	return Verdict{Seq: seq}
}

// | on connection:
func (l *specLedger) connect() (log string, askThrough uint64) {
	// | here = nothing;  registered = ask_through;  passed = no
	clear(l.here)
	l.registered, l.passed = l.askThrough, false
	// | send REGISTER with log and ask_through
	return l.log, l.askThrough
}

// | on REGISTER_ACK:
func (l *specLedger) welcome(r protocol.Registered) {
	// | if resumed is false or its log is not log:
	if !r.Resumed || r.Log != l.log {
		// | forget all of the above;  log = its log;  save
		*l = *newSpecLedger(l.bound, specSaved{log: r.Log})
	}
}

// | on ASK seq:
func (l *specLedger) ask(seq uint64) Verdict {
	// | if seq is in open: add seq to here
	if l.open[seq] {
		l.here[seq] = true
	}
	// | send ACK seq with know(seq)
	return l.know(seq)
}

// | on DATA seq payload:
func (l *specLedger) data(seq uint64) (v Verdict, known bool) {
	// | if seq > registered and not passed:
	if seq > l.registered && !l.passed {
		// | passed = yes
		l.passed = true
		// | remove from open what is at or below registered, not in here and not in working
		for s := range l.open {
			if s <= l.registered && !l.here[s] && !l.working[s] {
				delete(l.open, s)
			}
		}
	}
	// | if seq is in open: add seq to here
	if l.open[seq] {
		l.here[seq] = true
	}
	// | if know(seq) is not 3: send ACK seq with know(seq);  return
	if v = l.know(seq); v.Code != protocol.AckSend {
		return v, true
	}
	// | add seq to open and to here
	l.open[seq], l.here[seq] = true, true
	// | if there is no room to handle the payload: later(seq)
	// | else: add seq to working;  give the payload to a worker
	l.working[seq] = true // where there is no room, the worker has finished at once
	return v, false
}

// | if passed and open has more than 512 sequences: close the connection and register again
func (l *specLedger) crowded() bool { return l.passed && len(l.open) > 512 }

// | when a worker has finished seq with a verdict:
func (l *specLedger) finished(v Verdict, saves bool) (tell bool) {
	// | if the log was forgotten since the payload came: return
	if !l.working[v.Seq] { // sequences are not given twice here
		return false
	}
	// | if the verdict is retry later: later(seq);  return
	if v.Code == protocol.AckRetry {
		return l.later(v.Seq)
	}
	// | tell = seq is in here
	tell = l.here[v.Seq]
	// | remove seq from open, working and here
	delete(l.open, v.Seq)
	delete(l.working, v.Seq)
	delete(l.here, v.Seq)
	// | if the verdict is not ok, or has a result, or seq <= complete_from, or seq is below one in verdicts:
	above := func(w Verdict) bool { return v.Seq < w.Seq }
	if v.Code != protocol.AckOK || len(v.Result) > 0 || v.Seq <= l.completeFrom || slices.ContainsFunc(l.verdicts, above) {
		// | add it to verdicts as the last one
		l.verdicts = append(l.verdicts, v)
	}
	// | ask_through = the larger of ask_through and seq
	l.askThrough = max(l.askThrough, v.Seq)
	// | if there are more than 512 verdicts:
	if len(l.verdicts) > l.bound {
		// | complete_from = the larger of complete_from and the sequence of the first;  remove the first
		l.completeFrom = max(l.completeFrom, l.verdicts[0].Seq)
		l.verdicts = l.verdicts[1:]
	}
	// | if its result is longer than 4 KiB: shorten it
	if len(v.Result) > 4<<10 {
		shorten(&l.verdicts[len(l.verdicts)-1])
	}
	// | while the results of verdicts are longer than 256 KiB: shorten the first that has a result
	for l.bytes() > 256<<10 {
		shorten(&l.verdicts[slices.IndexFunc(l.verdicts, func(w Verdict) bool { return len(w.Result) > 0 })])
	}
	// | save
	l.save(saves)
	// | if tell: send ACK seq with the verdict and its whole result
	return tell
}

func (l *specLedger) bytes() (n int) {
	for _, v := range l.verdicts {
		n += len(v.Result)
	}
	return n
}

// | later(seq):
func (l *specLedger) later(seq uint64) (tell bool) {
	// | remove seq from working
	delete(l.working, seq)
	// | ask_through = the larger of ask_through and seq
	l.askThrough = max(l.askThrough, seq)
	// | if seq is in here: send ACK seq 2
	return l.here[seq]
}

// | shorten a verdict:
func shorten(v *Verdict) {
	// | if its code is 0: its code = 4
	if v.Code == protocol.AckOK {
		v.Code = protocol.AckNotKept
	}
	// | remove its result
	v.Result = nil
}

func TestSpecLedgerIsTheSpecs(t *testing.T) {
	text := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, spec, _ := strings.Cut(text("../protocol/SPEC.md"), "### 2.4 ")
	spec, _, _ = strings.Cut(spec, "\n### ")
	var want, got []string
	for line := range strings.Lines(spec) {
		if strings.HasPrefix(line, "    ") {
			want = append(want, strings.Join(strings.Fields(line), " "))
		}
	}
	for line := range strings.Lines(text("ledgerspec_test.go")) {
		if line, ok := strings.CutPrefix(strings.TrimSpace(line), "// | "); ok {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
	}
	if len(want) < 50 {
		t.Fatalf("SPEC §2.4 has %d lines of pseudo-code", len(want))
	}
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			t.Fatalf("the SPEC goes on with %q, the test with %q", line, got[i:])
		}
	}
	if more := got[len(want):]; len(more) > 0 {
		t.Errorf("not in the SPEC: %q", more)
	}
}
