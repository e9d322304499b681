package real

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/test/rules"
)

// configVar names, in the environment, the config of TestOneConfig.
const configVar = "LONGWIRE_VERDICTS_CONFIG"

const resultMark = "OUTCOME "

func with(name string, change func(c *config)) *config {
	c := config{name: name, messages: 2, at: 2, window: []int{2}, attempts: 3, slow: true}
	change(&c)
	return &c
}

func limits(l map[fault]int) (a [faults]int) {
	for f, n := range l {
		a[f] = n
	}
	return a
}

// configs are the worlds. Each has the faults that bear on each other; all of
// them together are too many.
var configs = []*config{
	with("crash", func(c *config) {
		c.verdicts, c.sure = []verdict{reject}, true
		c.limit = limits(map[fault]int{crash: 1})
		c.more = limits(map[fault]int{cut: 1, restart: 1})
	}),
	with("cuts", func(c *config) {
		c.verdicts, c.sure, c.slow, c.progress = []verdict{result}, true, false, true
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{cut: 1, refusal: 1})
	}),
	with("refusal", func(c *config) {
		c.messages, c.at, c.verdicts, c.slow = 1, 1, []verdict{reject}, false
		c.limit = limits(map[fault]int{cut: 1, refusal: 1})
		c.more = limits(map[fault]int{crash: 1})
	}),
	with("restart", func(c *config) {
		c.verdicts, c.sure, c.slow = []verdict{reject}, true, false
		c.limit = limits(map[fault]int{restart: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("later", func(c *config) {
		c.verdicts, c.slow, c.progress = []verdict{later}, false, true
		c.limit = limits(map[fault]int{restart: 1, postponed: 1, fires: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("clock", func(c *config) {
		c.ttl, c.window = []int{1}, []int{1}
		c.limit = limits(map[fault]int{crash: 1, clockAhead: 1, clockBack: 1})
		c.more = limits(map[fault]int{fires: 1})
	}),
	with("strict", func(c *config) {
		c.ttl, c.window, c.slow = []int{1}, []int{1}, false
		c.limit = limits(map[fault]int{clockAhead: 1, clockBack: 1, postponed: 1, fires: 1})
		c.verdicts = []verdict{later}
		c.more = limits(map[fault]int{crash: 1})
	}),
	with("expiry", func(c *config) {
		c.ttl, c.slow, c.progress = []int{1}, false, true
		c.verdicts = []verdict{later}
		c.limit = limits(map[fault]int{clockAhead: 1, postponed: 1, fires: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("large", func(c *config) {
		c.large = 1
		c.limit = limits(map[fault]int{crash: 1, restart: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("cancel", func(c *config) {
		c.messages, c.at, c.verdicts = 1, 1, []verdict{reject}
		c.limit = limits(map[fault]int{cancel: 1, crash: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("wipe", func(c *config) {
		c.messages, c.at = 1, 1
		c.verdicts, c.slow = []verdict{reject}, false
		c.limit = limits(map[fault]int{wipe: 1})
		c.more = limits(map[fault]int{cut: 1, crash: 1})
	}),
	with("attempts", func(c *config) {
		c.messages, c.at = 1, 1
		c.attempts, c.slow = 2, false
		c.verdicts = []verdict{later}
		c.limit = limits(map[fault]int{cut: 1, slowAck: 2, postponed: 1, fires: 1})
		c.more = limits(map[fault]int{postponed: 1, fires: 1, crash: 1})
	}),
	with("failed", func(c *config) {
		c.attempts, c.window = 1, []int{1}
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{crash: 1, fires: 1})
	}),
	with("odd", func(c *config) {
		c.messages, c.at, c.attempts, c.slow = 1, 1, 2, false
		c.verdicts = []verdict{oddly}
		c.limit = limits(map[fault]int{cut: 1, odd: 1, deaf: 1, slowAck: 1, fires: 1})
		c.more = limits(map[fault]int{crash: 1, wipe: 1})
	}),
	with("deaf", func(c *config) {
		c.messages, c.at = 1, 1
		c.verdicts, c.slow, c.progress = []verdict{reject}, false, true
		c.limit = limits(map[fault]int{cut: 1, deaf: 1, slowAck: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("working", func(c *config) {
		c.messages, c.at = 1, 1
		c.verdicts, c.slow, c.progress = []verdict{result}, false, true
		c.limit = limits(map[fault]int{cut: 1, busy: 2, slowAck: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("narrower", func(c *config) {
		c.window, c.slow, c.progress = []int{2, 1}, false, true
		c.verdicts = []verdict{reject, later}
		c.limit = limits(map[fault]int{restart: 1, postponed: 1, fires: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("hole", func(c *config) {
		c.window, c.slow, c.progress = []int{1}, false, true
		c.verdicts = []verdict{later}
		c.limit = limits(map[fault]int{cancel: 1, postponed: 1, fires: 1, restart: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("replaced", func(c *config) {
		c.verdicts = []verdict{reject}
		c.messages, c.at, c.slow = 1, 1, false
		c.limit = limits(map[fault]int{replaced: 1, restart: 1})
		c.more = limits(map[fault]int{crash: 1, cut: 1})
	}),
	with("shrunk", func(c *config) {
		c.shrinks, c.slow = true, false
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{cut: 1, restart: 1})
	}),
	with("accept", func(c *config) {
		c.at, c.verdicts = 0, []verdict{reject}
		c.limit = limits(map[fault]int{crash: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("forged", func(c *config) {
		c.at, c.forged, c.slow = 0, 5, false
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{crash: 1})
	}),
	with("full", func(c *config) {
		c.messages, c.at, c.uplinks = 1, 1, 1
		c.verdicts = []verdict{reject}
		c.limit = limits(map[fault]int{diskFull: 1, fires: 2})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("uplinks", func(c *config) {
		c.messages, c.at, c.uplinks = 0, 0, 2
		c.limit = limits(map[fault]int{diskFull: 1})
		c.more = limits(map[fault]int{cut: 1, again: 1})
	}),
	with("uplinks lost", func(c *config) {
		c.messages, c.at, c.uplinks = 0, 0, 2
		c.limit = limits(map[fault]int{crash: 1})
		c.more = limits(map[fault]int{cut: 1, again: 1})
	}),
	with("uplinks counted anew", func(c *config) {
		c.messages, c.at, c.uplinks, c.slow = 0, 0, 2, false
		c.limit = limits(map[fault]int{wipe: 1, again: 1})
		c.more = limits(map[fault]int{cut: 1, crash: 1})
	}),
	with("bound", func(c *config) {
		c.messages, c.at, c.attempts, c.window = 5, 5, 10, []int{1}
		c.verdicts, c.only, c.small, c.sure = []verdict{reject}, true, true, true
		c.limit = limits(map[fault]int{crash: 1, fires: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("evict", func(c *config) {
		c.messages, c.at, c.attempts, c.slow = 4, 4, 10, false
		c.verdicts, c.only, c.small, c.sure = []verdict{reject}, true, true, true
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{restart: 1})
	}),
	with("holes", func(c *config) {
		c.messages, c.at, c.slow = 3, 3, false
		c.verdicts, c.only, c.small = []verdict{later}, true, true
		c.limit = limits(map[fault]int{cancel: 1, postponed: 1})
		c.more = limits(map[fault]int{cut: 1})
	}),
	with("both", func(c *config) {
		c.uplinks, c.messages, c.at, c.slow = 1, 1, 1, false
		c.limit = limits(map[fault]int{cut: 1})
		c.more = limits(map[fault]int{cut: 1, crash: 1})
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

// TestOneConfig explores one config in this process.
func TestOneConfig(t *testing.T) {
	name := os.Getenv(configVar)
	if name == "" {
		name = "uplinks"
	}
	c := named(t, name)
	var o *outcome
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		o = explore(c, os.Getenv("LONGWIRE_TORTURE") != "")
	})
	o.Seconds = time.Since(begun).Seconds()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\n%s%s\n", resultMark, b)
	if o.Broken != "" {
		t.Errorf("%s\n%s", o.Broken, o.Trace)
	}
}

// explored runs a config in a process of its own, with this binary or one that has the
// config's bounds and can take a rule out.
func explored(t *testing.T, binary string, c *config, rule string, env ...string) *outcome {
	t.Helper()
	out := []string{rule}
	if c.small {
		out = append(out, largeBounds)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestOneConfig$", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), append(env, configVar+"="+c.name, rules.Out(out...), "GOMAXPROCS=1", "GOGC=400")...)
	said, err := cmd.CombinedOutput()
	s := bufio.NewScanner(bytes.NewReader(said))
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		if rest, ok := strings.CutPrefix(s.Text(), resultMark); ok {
			o := new(outcome)
			if err := json.Unmarshal([]byte(rest), o); err != nil {
				t.Fatal(err)
			}
			return o
		}
	}
	t.Fatalf("%s: %v\n%s", c.name, err, said)
	return nil
}

// TestPromisesHold explores every config, and sees every code, rule and fault.
func TestPromisesHold(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	small := mutated(t)
	var mu sync.Mutex
	covered, all := map[string]int{}, outcome{}
	t.Run("config", func(t *testing.T) {
		for _, c := range configs {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				binary := self
				if c.small {
					binary = small
				}
				o := explored(t, binary, c, "")
				t.Logf("%s: %d executions, %d states, %d steps, %.1f s, %d cut off, %d tried again", c.name, o.Executions, o.States,
					o.Steps, o.Seconds, o.Cut, o.Strayed)
				if o.Broken != "" {
					t.Errorf("%s\n%s", o.Broken, o.Trace)
				}
				mu.Lock()
				defer mu.Unlock()
				all.Executions, all.States = all.Executions+o.Executions, all.States+o.States
				all.Steps, all.Seconds = all.Steps+o.Steps, all.Seconds+o.Seconds
				for k, n := range o.Covered {
					covered[k] += n
				}
			})
		}
	})
	t.Logf("%d executions, %d states, %d steps in all, %.0f executions per second and process", all.Executions, all.States,
		all.Steps, float64(all.Executions)/all.Seconds)
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
	want := slices.Clone(faultNames[:])
	for _, code := range []string{"ok", "reject", "retry", "send", "working"} {
		want = append(want, "ACK "+code+" to payload")
	}
	for _, code := range []string{"ok", "reject", "send", "not_kept", "working"} { // a device says "send" to an ASK for what it wants later
		want = append(want, "ACK "+code+" to ASK")
	}
	return append(want, "final: acked ", "final: acked verdict_not_kept", "final: rejected device_rejected",
		"final: rejected too_large_for_protocol", "final: expired ", "final: canceled ", "final: failed attempts_used_up",
		"final: failed too_large_for_protocol", "asked", "ASK timed out", "ack timed out", "not resumed", "ledger void", "late ack", "stale ack", "takeover",
		"repeat answered from the ledger", "reconnect: too many holes", "uplink retried later")
}
