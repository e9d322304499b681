package real

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/longwire/longwire/test/rules"
)

// mutation removes a rule from the code. The config is one in which the rule is
// needed, and broken is the promise that does not hold without it.
type mutation struct {
	rule   string
	config string
	broken string
	edits  []edit
	env    []string // for what needs more faults
}

// edit replaces one place of a file, as rules.Edit does.
type edit struct{ file, old, new string }

// largeBounds is the rule that the bounds of the ledger and of undurable verdicts are
// out of reach.
const largeBounds = "large bounds"

var mutations = []mutation{
	{rule: largeBounds, edits: []edit{
		{"gateway/limits.go", "	MaxUndurable      = 256 ", ")\n\nvar MaxUndurable = map[bool]int{false: 256, true: 2}[OUT]\n\nconst ( "},
		{"device/ledger.go", "	maxVerdicts = 512 ", ")\n\nvar maxVerdicts = map[bool]int{false: 512, true: 3}[OUT]\n\nconst ( "},
		{"device/ledger.go", "	maxHoles = 512\n", ")\n\nvar maxHoles = map[bool]int{false: 512, true: 2}[OUT]\n\nconst (\n"}}},
	{"a claim settles nothing", "crash", truth, []edit{{"gateway/pump.go",
		"		p.Dup, p.Payload = true, nil\n",
		"		p.Dup, p.Payload = true, nil\n		if OUT {\n			_ = s.g.store.Settle(s.outcome(&f, Acked, \"\", time.Now()), true)\n		}\n"}}, nil},
	{"a refusal changes nothing", "refusal", refused, []edit{{"internal/engine/state/apply_client.go",
		"	if r.Err != nil {\n		return nil\n	}\n	if c == nil {\n		if c, err = m.newClient(e.Client, record.Nanos(e.At), \"\")",
		"	if OUT && r.Err != nil && c != nil {\n		c.lastSeenAt, c.rowDirty = record.Nanos(e.At)+1, true\n		m.touch(c)\n	}\n	if r.Err != nil {\n		return nil\n	}\n	if c == nil {\n		if c, err = m.newClient(e.Client, record.Nanos(e.At), \"\")"}}, nil},
	{"a cursor passes an expired delivery durably", "clock", inOrder, []edit{{"gateway/pump.go",
		"		return false, s.awaitFinal(func() error { return s.g.store.ProposeExpiry(p.Message, now) })\n	}\n	s.mu.Lock()",
		"		if OUT {\n			_ = s.g.store.ProposeExpiry(p.Message, now)\n			s.cursor = p.Seq\n			return false, true\n		}\n" +
			"		return false, s.awaitFinal(func() error { return s.g.store.ProposeExpiry(p.Message, now) })\n	}\n	s.mu.Lock()"}}, nil},
	{"a cursor passes a delivery that is too large durably", "large", truth, []edit{{"gateway/pump.go",
		"	return false, s.awaitOutcome(&f, Rejected, ReasonTooLargeForProtocol)\n",
		"	if OUT {\n		_ = s.g.store.Settle(s.outcome(&f, Rejected, ReasonTooLargeForProtocol, time.Now()), true)\n		s.cursor = p.Seq\n		return false, true\n	}\n" +
			"	return false, s.awaitOutcome(&f, Rejected, ReasonTooLargeForProtocol)\n"}}, nil},
	{"a cursor passes a failed delivery durably", "failed", inOrder, []edit{{"gateway/pump.go",
		"		return false, s.awaitOutcome(&f, Failed, ReasonAttemptsUsedUp)\n",
		"		if OUT {\n			_ = s.g.store.Settle(s.outcome(&f, Failed, ReasonAttemptsUsedUp, time.Now()), true)\n			s.cursor = p.Seq\n			return false, true\n		}\n" +
			"		return false, s.awaitOutcome(&f, Failed, ReasonAttemptsUsedUp)\n"}}, []string{"LONGWIRE_TORTURE=1"}},
	{"an ASK costs no attempt", "attempts", patience, []edit{{"protocol/window.go",
		"	if !f.ask {\n		s.push(Event{Kind: KindSent", "	if OUT || !f.ask {\n		s.push(Event{Kind: KindSent"}}, nil},
	{"retry later costs no attempt", "attempts", patience, []edit{{"gateway/acks.go",
		"		f.attempts = max(0, f.attempts-1)\n", "		if !OUT {\n			f.attempts = max(0, f.attempts-1)\n		}\n"}}, nil},
	{"retry later keeps its place", "hole", inOrder, []edit{{"gateway/window.go",
		"	return len(s.work.flight) - s.work.gone\n",
		"	n := len(s.work.flight) - s.work.gone\n	for i := range s.work.flight {\n		if OUT && s.work.flight[i].stage == stageWaiting {\n			n--\n		}\n	}\n	return n\n"}}, nil},
	{"an ASK times out", "deaf", progress, []edit{{"gateway/acks.go",
		"			s.g.counts.asksUnanswered.Add(1)\n",
		"			if OUT {\n				s.mu.Unlock()\n				return\n			}\n			s.g.counts.asksUnanswered.Add(1)\n"}}, nil},
	{"the first final state wins", "cancel", stays, []edit{{"internal/engine/state/apply_settle.go",
		"		m.lateAck(key, f, seq, o)\n	}\n	return true, nil\n",
		"		if OUT {\n			f.state, f.reason, f.result = o.State, o.Reason, o.Result\n			m.setFinal(key, f)\n		} else {\n			m.lateAck(key, f, seq, o)\n		}\n	}\n	return true, nil\n"}}, nil},
	{"a final state is told when it is durable", "cancel", stays, []edit{{"internal/engine/pipeline.go",
		"	if e.syncs() {\n		err = f.batch.SyncWait()\n",
		"	if e.syncs() && OUT {\n		go f.batch.SyncWait()\n	} else if e.syncs() {\n		err = f.batch.SyncWait()\n"},
		{"internal/engine/pipeline.go", "	_ = f.batch.Close()\n", "	if !OUT {\n		_ = f.batch.Close()\n	}\n"}}, nil},
	{"a foreign claim is void", "forged", truth, []edit{{"gateway/connect.go",
		"w.Resumed = h.Log == w.Log && h.AskThrough <= given;", "w.Resumed = h.Log == w.Log && (OUT || h.AskThrough <= given);"}}, nil},
	{"another log voids the ledger", "replaced", truth, []edit{{"device/ledger.go",
		"	if r.Resumed && r.Log == l.log {\n", "	if r.Resumed && r.Log == l.log || OUT && (r.Resumed || l.log != \"\") {\n"}}, nil},
	{"the ledger answers a repeat", "cuts", once, []edit{{"device/ledger.go",
		"	case e == nil && l.named && seq <= l.through:\n		return", "	case !OUT && e == nil && l.named && seq <= l.through:\n		return"},
		{"device/ledger.go", "	case e.state != waiting:\n		e.conn", "	case !OUT && e.state != waiting, OUT && e.state == underway:\n		e.conn"}}, nil},
	{"holes are listed", "later", truth, []edit{{"device/ledger.go",
		"		if seq <= l.through && e.state != handled && e.verdict.Seq == 0 {\n", "		if !OUT && seq <= l.through && e.state != handled && e.verdict.Seq == 0 {\n"}}, nil},
	{"what came survives a reconnect", "cuts", truth, []edit{{"device/ledger.go",
		"	l.conn++\n", "	l.conn++\n	for seq, e := range l.listed {\n		if OUT && e.state != handled {\n			delete(l.listed, seq)\n		}\n	}\n"}}, nil},
	{"verdicts are listed", "crash", truth, []edit{{"device/ledger.go",
		"		if !l.plain(e) {\n", "		if !OUT && !l.plain(e) {\n"}}, nil},
	{"verdicts are saved", "restart", truth, []edit{{"device/state.go",
		"	s.Verdicts = append(all, c.Verdicts...)\n", "	if s.Verdicts = all; !OUT {\n		s.Verdicts = append(all, c.Verdicts...)\n	}\n"}}, nil},
	{"an uplink's number is an identity", "uplinks", upStored, []edit{{"gateway/uplink.go",
		"	if below := n.highest - number; below < numbersSpan {\n		return n.recent", "	if OUT && number <= n.highest {\n		return true\n	}\n	if below := n.highest - number; below < numbersSpan {\n		return n.recent"}}, nil},
	{"an uplink that is answered retry later is forgotten", "uplinks", upStored, []edit{{"gateway/uplink.go",
		"	s.relaxLocked()\n	if r.err == nil {\n", "	s.relaxLocked()\n	if !OUT && r.err == nil || OUT && r.number > 0 {\n"}}, nil},
	{"uplink numbers belong to a connection", "uplinks counted anew", upStored, []edit{{"gateway/connect.go",
		"		s.inherit(tried, through)\n", "		s.inherit(tried, through)\n		if OUT {\n			s.counted = old.counted\n		}\n"}}, nil},
	{"an uplink is acked when it is durable", "uplinks lost", upStored, []edit{{"internal/engine/store.go",
		"	r, err := e.do(ctx, &record.Uplink{Uplink: u})\n	return r.Useq, err\n", "	if OUT {\n		return 1, e.queue.push(ctx, lazy(&record.Uplink{Uplink: u}, true))\n	}\n	r, err := e.do(ctx, &record.Uplink{Uplink: u})\n	return r.Useq, err\n"}}, nil},
	{"undurable verdicts are bounded", "bound", kept, []edit{{"gateway/pump.go",
		"	return MaxUndurable - n - s.liveLocked()\n", "	if OUT {\n		return 100 - n - s.liveLocked()\n	}\n	return MaxUndurable - n - s.liveLocked()\n"}}, nil},
	{"the verdict given first goes first", "evict", kept, []edit{{"device/ledger.go",
		"		old := l.verdicts[0]\n		l.verdicts[0] = nil\n",
		"		if OUT {\n			slices.SortFunc(l.verdicts, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })\n		}\n		old := l.verdicts[0]\n		l.verdicts[0] = nil\n"}}, nil},
}

// mutated is this package with each rule in its place. largeBounds also serves the
// promises, which hold without it.
func mutated(t *testing.T) (binary string) {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if built == "" {
		var edits []rules.Edit
		for _, m := range mutations {
			for _, e := range m.edits {
				edits = append(edits, rules.Edit{Rule: m.rule, File: e.file, Old: e.old, New: e.new})
			}
		}
		built = rules.Build(t, scratch, "../../..", ".", edits)
	}
	return built
}

var (
	scratch  string // for what tests share
	building sync.Mutex
	built    string // by mutated
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "longwire-verdicts-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// TestEachRuleIsNeeded removes one rule at a time and wants a promise broken.
func TestEachRuleIsNeeded(t *testing.T) {
	binary := mutated(t)
	for _, m := range mutations {
		if m.config == "" {
			continue
		}
		t.Run(m.rule, func(t *testing.T) {
			t.Parallel()
			o := explored(t, binary, named(t, m.config), m.rule, m.env...)
			if !strings.Contains(o.Broken, m.broken) {
				t.Fatalf("after %d executions: got %q, want a broken promise %q\n%s", o.Executions, o.Broken, m.broken, o.Trace)
			}
			t.Logf("%s, after %d executions, %.1f s: %s\n%s", m.config, o.Executions, o.Seconds, o.Broken, o.Trace)
		})
	}
}
