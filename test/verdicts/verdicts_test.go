package verdicts

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

func with(name string, change func(c *config)) *config {
	c := config{name: name, messages: 2, at: 2, window: []uint8{2}, attempts: 3, bound: 2, verdicts: 3, holes: 3, progress: true}
	change(&c)
	return &c
}

func limits(l map[fault]uint8) (a [faults]uint8) {
	for f, n := range l {
		a[f] = n
	}
	return a
}

// configs are the worlds. Each has the faults that bear on each other; all of
// them together are too many.
var configs = []*config{
	with("crash", func(c *config) {
		c.codes, c.sure, c.progress = []code{ackReject}, true, false
		c.limit = limits(map[fault]uint8{cut: 1, crash: 1, restart: 1})
	}),
	with("cuts", func(c *config) {
		c.codes, c.sure = []code{ackRetry, ackResult}, true
		c.limit = limits(map[fault]uint8{cut: 2, refusal: 1})
	}),
	with("clock", func(c *config) {
		c.ttl[1], c.sure, c.codes = 1, true, []code{ackRetry}
		c.limit = limits(map[fault]uint8{crash: 1, clockAhead: 1, clockBack: 1, cut: 1})
	}),
	with("strict", func(c *config) {
		c.ttl[1], c.window, c.attempts, c.timeouts = 1, []uint8{1}, 2, true
		c.codes = []code{ackReject, ackRetry}
		c.limit = limits(map[fault]uint8{crash: 1, clockAhead: 1, clockBack: 1})
	}),
	with("large", func(c *config) {
		c.large, c.codes = 1, []code{ackReject}
		c.limit = limits(map[fault]uint8{crash: 1, cut: 1, restart: 1})
	}),
	with("cancel", func(c *config) {
		c.codes = []code{ackReject, ackRetry}
		c.limit = limits(map[fault]uint8{cancel: 1, crash: 1, cut: 1})
	}),
	with("wipe", func(c *config) {
		c.codes = []code{ackReject}
		c.progress = false
		c.limit = limits(map[fault]uint8{wipe: 1, crash: 1})
	}),
	with("attempts", func(c *config) {
		c.attempts, c.timeouts, c.codes = 2, true, []code{ackRetry}
		c.limit = limits(map[fault]uint8{cut: 1})
	}),
	with("failed", func(c *config) {
		c.attempts, c.progress = 1, false
		c.limit = limits(map[fault]uint8{cut: 2, crash: 1})
	}),
	with("odd", func(c *config) {
		c.messages, c.at, c.attempts, c.timeouts, c.codes = 1, 1, 2, true, []code{ackReject, ackRetry}
		c.limit = limits(map[fault]uint8{cut: 1, crash: 1, odd: 1, deaf: 1, wipe: 1})
	}),
	with("deaf", func(c *config) {
		c.codes = []code{ackReject}
		c.limit = limits(map[fault]uint8{cut: 1, deaf: 1})
	}),
	with("narrower", func(c *config) {
		c.window, c.codes, c.starving, c.progress = []uint8{2, 1}, []code{ackReject, ackRetry}, true, false
		c.limit = limits(map[fault]uint8{restart: 1})
	}),
	with("bound", func(c *config) {
		c.messages, c.at, c.window, c.bound, c.verdicts, c.sure = 3, 3, []uint8{1}, 1, 1, true
		c.codes, c.attempts = []code{ackReject}, 0
		c.limit = limits(map[fault]uint8{crash: 1, cut: 1, restart: 1})
	}),
	with("evict", func(c *config) {
		c.messages, c.at, c.bound, c.verdicts, c.sure = 4, 4, 2, 3, true
		c.codes, c.progress = []code{ackReject}, false
		c.limit = limits(map[fault]uint8{cut: 1})
	}),
	with("late ok", func(c *config) {
		c.messages, c.at, c.window, c.bound, c.verdicts, c.sure = 4, 4, []uint8{2}, 2, 2, true
		c.codes, c.progress = []code{ackReject}, false
		c.limit = limits(map[fault]uint8{cut: 1})
	}),
	with("small ledger", func(c *config) {
		c.messages, c.at, c.window, c.verdicts = 3, 3, []uint8{3}, 1
		c.codes, c.progress = []code{ackReject}, false
		c.limit = limits(map[fault]uint8{cut: 1})
	}),
	with("long results", func(c *config) {
		c.codes, c.longResults = []code{ackReject, ackResult}, true
		c.limit = limits(map[fault]uint8{cut: 1, restart: 1})
	}),
	with("hole", func(c *config) {
		c.attempts = 0
		c.window, c.holes, c.codes = []uint8{1}, 1, []code{ackRetry}
		c.limit = limits(map[fault]uint8{cut: 1, cancel: 1, restart: 1})
	}),
	with("holes", func(c *config) {
		c.messages, c.at, c.holes, c.progress = 3, 3, 2, false
		c.codes = []code{ackRetry}
		c.limit = limits(map[fault]uint8{cut: 1, cancel: 1})
	}),
	with("replaced", func(c *config) {
		c.codes = []code{ackReject}
		c.limit = limits(map[fault]uint8{replaced: 1, cut: 1})
	}),
	with("damage", func(c *config) {
		c.messages, c.at = 3, 1
		c.limit = limits(map[fault]uint8{damage: 1, cut: 1})
	}),
	with("accept", func(c *config) {
		c.at, c.codes = 0, []code{ackReject}
		c.limit = limits(map[fault]uint8{crash: 1, cut: 1})
	}),
	with("forged", func(c *config) {
		c.at, c.forged = 0, 5
		c.limit = limits(map[fault]uint8{cut: 1, crash: 1})
	}),
	with("uplinks", func(c *config) {
		c.messages, c.at, c.uplinks = 0, 0, 2
		c.limit = limits(map[fault]uint8{diskFull: 1, crash: 1, cut: 1, wipe: 1, again: 1})
	}),
	with("both", func(c *config) {
		c.messages, c.at, c.uplinks, c.progress = 2, 2, 2, false
		c.limit = limits(map[fault]uint8{cut: 1})
	}),
}

func named(t *testing.T, name string) *config {
	t.Helper()
	i := slices.IndexFunc(configs, func(c *config) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no config %q", name)
	}
	return configs[i]
}

// TestPromisesHold explores every config, and sees every code, rule and fault.
func TestPromisesHold(t *testing.T) {
	var mu sync.Mutex
	covered, states := map[string]int{}, 0
	t.Run("config", func(t *testing.T) {
		for _, c := range configs {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r, seen := explore(c, 0)
				if r.broken != "" {
					t.Fatalf("%s, after %d states: %s\n%s", c.name, r.states, r.broken, r.trace)
				}
				mu.Lock()
				defer mu.Unlock()
				t.Logf("%s: %d states", c.name, r.states)
				states += r.states
				for k, n := range seen {
					covered[k] += n
				}
			})
		}
	})
	t.Logf("%d states in all", states)
	for _, k := range slices.Sorted(maps.Keys(covered)) {
		t.Logf("%10d %s", covered[k], k)
	}
	for _, k := range wantCovered() {
		if covered[k] == 0 {
			t.Errorf("never seen: %s", k)
		}
	}
}

// wantCovered lists each fault, each final state, each code to a payload and to
// an ASK, and the events that the rules are about.
func wantCovered() []string {
	want := slices.Concat(faultNames[:], coverStates[acked:], coverCodes[sent][:], coverCodes[gone][:], []string{
		"ASK timed out", "ack timed out", "asked", "attempts used up", "hole forgotten", "late ack", "ledger void",
		"reconnect: too many holes", "repeat answered from the ledger", "skipped: expired", "stale ack", "takeover",
		"too large", "uplink repeated", "uplink repeated under way"})
	for c, name := range coverCodes[asking] {
		if code(c) != ackRetry { // a device says "not handled" to an ASK
			want = append(want, name)
		}
	}
	return want
}

// Promises, as their failures read.
const (
	truth    = "a verdict that the device did not give"
	kept     = "the ledger was large enough"
	stays    = "was told as"
	once     = "was handled twice"
	rises    = "came for the first time after a later one"
	inOrder  = "with a window of one"
	progress = "a delivery can never become final"
	patience = "unanswered transmissions"
	resumes  = "a good ledger was voided"
	upStored = "is acked and not stored"
	refused  = "a refused REGISTER changed the store"
)

// mutations take out a rule each. The config is one in which the rule is
// needed, and broken is the promise that does not hold without it.
var mutations = []mutation{
	{claimSettlesNothing, "clock", truth},
	{refusalChangesNothing, "cuts", refused},
	{asksGoFirst, "holes", truth},
	{asksPassRepeats, "narrower", progress},
	{askCostsNoAttempt, "attempts", patience},
	{retryCostsNoAttempt, "attempts", patience},
	{askTimesOut, "deaf", progress},
	{passDurable, "large", truth},
	{passDurable, "failed", rises},
	{passDurable, "clock", rises},
	{passDurable, "strict", inOrder},
	{skipProposes, "clock", rises},
	{expireJudgedTime, "clock", progress},
	{readDurable, "wipe", rises},
	{firstFinalWins, "cancel", stays},
	{toldWhenDurable, "cancel", stays},
	{numbersOnce, "damage", resumes},
	{foreignClaimVoid, "forged", truth},
	{verdictBound, "bound", kept},
	{dedup, "cuts", once},
	{listHoles, "cuts", truth},
	{pendingSurvives, "cuts", truth},
	{holesReconnect, "holes", truth},
	{holesForgotten, "hole", progress},
	{savedBeforeAck, "crash", once},
	{verdictListed, "crash", truth},
	{rejectKept, "long results", kept},
	{evictByAge, "evict", kept},
	{lateOKListed, "late ok", kept},
	{otherLogVoids, "replaced", rises},
	{uplinkIdentity, "uplinks", upStored},
	{uplinkDurable, "uplinks", upStored},
	{uplinkRetryForgotten, "uplinks", upStored},
	{uplinkPerConnection, "uplinks", upStored},
}

type mutation struct {
	rule   rule
	config string
	broken string
}

// TestEachRuleIsNeeded takes out one rule at a time and wants a promise broken.
func TestEachRuleIsNeeded(t *testing.T) {
	for r := range rules {
		if !slices.ContainsFunc(mutations, func(m mutation) bool { return m.rule == r }) {
			t.Errorf("no mutation takes out %s", r)
		}
	}
	for _, m := range mutations {
		t.Run(m.rule.String()+"/"+m.config, func(t *testing.T) {
			t.Parallel()
			r, _ := explore(named(t, m.config), without(m.rule))
			if !strings.Contains(r.broken, m.broken) {
				t.Fatalf("after %d states: got %q, want a broken promise %q\n%s", r.states, r.broken, m.broken, r.trace)
			}
			t.Logf("after %d states: %s\n%s", r.states, r.broken, r.trace)
		})
	}
}
