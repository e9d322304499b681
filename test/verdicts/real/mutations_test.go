package real

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's directory.
const root = "../../.."

// edit replaces one place of a file.
type edit struct{ file, old, new string }

// mutation removes a rule from the code. The config is one in which the rule is
// needed, and broken is the promise that does not hold without it.
type mutation struct {
	rule   string
	config string
	broken string
	edits  []edit
	env    []string // for what needs more faults
}

// smallBounds makes the bounds of ledger and undurable verdicts reachable.
var smallBounds = []edit{
	{"gateway/limits.go", "MaxUndurable      = 256       //", "MaxUndurable      = 2 //"},
	{"device/ledger.go", "maxVerdicts = 512     //", "maxVerdicts = 3     //"},
	{"device/ledger.go", "maxHoles = 512\n", "maxHoles = 2\n"},
}

var mutations = []mutation{
	{"a claim settles nothing", "crash", truth, []edit{{"gateway/pump.go",
		"		p.Dup, p.Payload = true, nil\n",
		"		p.Dup, p.Payload = true, nil\n		_ = s.g.store.Settle(s.outcome(&f, Acked, \"\", time.Now()), true)\n"}}, nil},
	{"a refusal changes nothing", "refusal", refused, []edit{{"internal/engine/state/apply_client.go",
		"	if r.Err != nil {\n		return nil\n	}\n	if c == nil {\n		if c, err = m.newClient(e.Client, record.Nanos(e.At), \"\")",
		"	if r.Err != nil && c != nil {\n		c.lastSeenAt, c.rowDirty = record.Nanos(e.At)+1, true\n		m.touch(c)\n	}\n	if r.Err != nil {\n		return nil\n	}\n	if c == nil {\n		if c, err = m.newClient(e.Client, record.Nanos(e.At), \"\")"}}, nil},
	{"a cursor passes an expired delivery durably", "clock", inOrder, []edit{{"gateway/pump.go",
		"		return false, s.awaitFinal(func() error { return s.g.store.ProposeExpiry(p.Message, now) })\n	}\n	s.mu.Lock()",
		"		_ = s.g.store.ProposeExpiry(p.Message, now)\n		s.cursor = p.Seq\n		return false, true\n	}\n	s.mu.Lock()"}}, nil},
	{"a cursor passes a delivery that is too large durably", "large", truth, []edit{{"gateway/pump.go",
		"	return false, s.awaitOutcome(&f, Rejected, ReasonTooLargeForProtocol)\n",
		"	_ = s.g.store.Settle(s.outcome(&f, Rejected, ReasonTooLargeForProtocol, time.Now()), true)\n	s.cursor = p.Seq\n	return false, true\n"}}, nil},
	{"a cursor passes a failed delivery durably", "failed", inOrder, []edit{{"gateway/pump.go",
		"		return false, s.awaitOutcome(&f, Failed, ReasonAttemptsUsedUp)\n",
		"		_ = s.g.store.Settle(s.outcome(&f, Failed, ReasonAttemptsUsedUp, time.Now()), true)\n		s.cursor = p.Seq\n		return false, true\n"}}, []string{"LONGWIRE_TORTURE=1"}},
	{"an ASK costs no attempt", "attempts", patience, []edit{{"protocol/window.go",
		"	if !f.ask {\n		s.push(Event{Kind: KindSent", "	if true {\n		s.push(Event{Kind: KindSent"}}, nil},
	{"retry later costs no attempt", "attempts", patience, []edit{{"gateway/acks.go",
		"		f.attempts = max(0, f.attempts-1)\n", ""}}, nil},
	{"retry later keeps its place", "hole", inOrder, []edit{{"gateway/window.go",
		"	return len(s.work.flight) - s.work.gone\n",
		"	n := len(s.work.flight) - s.work.gone\n	for i := range s.work.flight {\n		if s.work.flight[i].stage == stageWaiting {\n			n--\n		}\n	}\n	return n\n"}}, nil},
	{"an ASK times out", "deaf", progress, []edit{{"gateway/acks.go",
		"			s.g.counts.asksUnanswered.Add(1)\n",
		"			s.mu.Unlock()\n			return\n"}}, nil},
	{"the first final state wins", "cancel", stays, []edit{{"internal/engine/state/apply_settle.go",
		"	m.lateAck(key, f, id, seq, v)\n	return true, nil\n",
		"	f.state, f.reason, f.result = v.state, v.reason, v.result\n	m.setFinal(key, f)\n	return true, nil\n"}}, nil},
	{"a final state is told when it is durable", "cancel", stays, []edit{{"internal/engine/pipeline.go",
		"	if e.syncs() {\n		err = f.batch.SyncWait()\n",
		"	if e.syncs() {\n		go f.batch.SyncWait()\n"},
		{"internal/engine/pipeline.go", "	_ = f.batch.Close()\n", ""}}, nil},
	{"a foreign claim is void", "forged", truth, []edit{{"gateway/connect.go",
		"w.Resumed = h.Log == w.Log && h.AskThrough <= given;", "w.Resumed = h.Log == w.Log && given >= 0;"}}, nil},
	{"another log voids the ledger", "replaced", truth, []edit{{"device/ledger.go",
		"	if r.Resumed && r.Log == l.log {\n", "	if r.Resumed || l.log != \"\" {\n"}}, nil},
	{"the ledger answers a repeat", "cuts", once, []edit{{"device/ledger.go",
		"	case e == nil && l.named && seq <= l.through:\n		return", "	case e == nil && l.named && seq > l.through+1<<40:\n		return"},
		{"device/ledger.go", "	case e.state != waiting:\n		e.conn", "	case e.state == underway:\n		e.conn"}}, nil},
	{"holes are listed", "later", truth, []edit{{"device/ledger.go",
		"		if seq <= l.through && e.state != handled && e.verdict.Seq == 0 {\n", "		if seq == 0 && e.seq == 1 {\n"}}, nil},
	{"what came survives a reconnect", "cuts", truth, []edit{{"device/ledger.go",
		"	l.conn++\n", "	l.conn++\n	for seq, e := range l.listed {\n		if e.state != handled {\n			delete(l.listed, seq)\n		}\n	}\n"}}, nil},
	{"verdicts are listed", "crash", truth, []edit{{"device/ledger.go",
		"		if !l.plain(e) {\n", "		if e.seq == 0 {\n"}}, nil},
	{"verdicts are saved", "restart", truth, []edit{{"device/state.go",
		"	s.Verdicts = append(all, c.Verdicts...)\n", "	s.Verdicts = all\n"}}, nil},
	{"an uplink's number is an identity", "uplinks", upStored, []edit{{"gateway/uplink.go",
		"	if below := n.highest - number; below < numbersSpan {\n		return n.recent", "	if number <= n.highest {\n		return true\n	}\n	if below := n.highest - number; below < numbersSpan {\n		return n.recent"}}, nil},
	{"an uplink that is answered retry later is forgotten", "uplinks", upStored, []edit{{"gateway/uplink.go",
		"	s.relaxLocked()\n	if r.err == nil {\n", "	s.relaxLocked()\n	if r.number > 0 {\n"}}, nil},
	{"uplink numbers belong to a connection", "uplinks counted anew", upStored, []edit{{"gateway/connect.go",
		"		s.inherit(old.retire(true), through)\n", "		s.inherit(old.retire(true), through)\n		s.counted = old.counted\n"}}, nil},
	{"an uplink is acked when it is durable", "uplinks lost", upStored, []edit{{"internal/engine/store.go",
		"	r, err := e.do(ctx, &record.Uplink{Uplink: u})\n	return r.Useq, err\n", "	err := e.queue.push(ctx, lazy(&record.Uplink{Uplink: u}, true))\n	return 1, err\n"}}, nil},
	{"undurable verdicts are bounded", "bound", kept, []edit{{"gateway/pump.go",
		"	return MaxUndurable - n - s.liveLocked()\n", "	return 100 - n - s.liveLocked()\n"}}, nil},
	{"the verdict given first goes first", "evict", kept, []edit{{"device/ledger.go",
		"		old := l.verdicts[0]\n		l.verdicts[0] = nil\n",
		"		slices.SortFunc(l.verdicts, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })\n		old := l.verdicts[0]\n		l.verdicts[0] = nil\n"}}, nil},
}

// build compiles this package with edits in its place.
func build(t *testing.T, edits []edit) (binary string) {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	texts := map[string]string{}
	for _, e := range edits {
		name, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			t.Fatal(err)
		}
		text, ok := texts[name]
		if !ok {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has %d times, not once:\n%s", e.file, n, e.old)
		}
		texts[name] = strings.Replace(text, e.old, e.new, 1)
	}
	for name, text := range texts {
		to := filepath.Join(dir, strconv.Itoa(len(overlay.Replace))+".go")
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[name] = to
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o644); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "mutated.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestEachRuleIsNeeded removes one rule at a time and wants a promise broken.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			edits := m.edits
			if named(t, m.config).small {
				edits = slices.Concat(smallBounds, edits)
			}
			o := explored(t, build(t, edits), m.config, m.env...)
			if !strings.Contains(o.Broken, m.broken) {
				t.Fatalf("after %d executions: got %q, want a broken promise %q\n%s", o.Executions, o.Broken, m.broken, o.Trace)
			}
			t.Logf("%s, after %d executions, %.1f s: %s\n%s", m.config, o.Executions, o.Seconds, o.Broken, o.Trace)
		})
	}
}
