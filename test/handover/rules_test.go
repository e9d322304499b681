// Package handover removes one rule after the other from the hand-over of accepted
// messages to sessions, and wants gateway's TestHandOver to find a broken promise.
package handover

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gatewayDir is the directory of package gateway.
const gatewayDir = "../../gateway"

// rules are the rules of the hand-over. Each is removed from the code by replacing a
// text, and TestHandOver then fails in a configuration.
var rules = []struct {
	rule, config, file, old, new string
	broken                       string
}{
	{"what was read is ignored", "plain", "mailbox.go", "	case p.Seq <= last:\n", "	case p.Seq == 0:\n", " leaves after "},
	{"a message to many is looked for first", "paced", "mailbox.go", "	case many > last || !s", "	case !s", "has not left"},
	{"nothing enters before the store is read", "strict", "mailbox.go", "s.flags.has(flagFresh|flagReading)", "s.flags.has(flagReading)", "has not left"},
	{"nothing enters during a read", "plain", "mailbox.go", "s.flags.has(flagFresh|flagReading)", "s.flags.has(flagFresh)", " leaves after "},
	{"the mailbox leaves before the store is read", "plain", "pump.go", "		if mail { // its", "		if mail && !s.flags.has(flagFresh) { // its", " leaves after "},
	{"a short read moves the cursor to its view", "plain", "pump.go", "	s.cursor = max(s.cursor, last)\n", "	s.cursor = max(s.cursor, last, s.g.lastMany)\n", "has not left"},
	{"a full read is followed by another", "plain", "pump.go", "	if !more || !dry {\n", "	if !more || !dry && last == 0 {\n", "has not left"},
	{"what the link does not take is read again", "busy link", "pump.go", "		s.flags |= flagFresh\n		s.dropMailLocked()\n", "		s.dropMailLocked()\n", "has not left"},
	{"what follows it is dropped", "busy link", "pump.go", "		s.flags |= flagFresh\n		s.dropMailLocked()\n", "		s.flags |= flagFresh\n", "has not left"},
	{"a failed read is made again", "failing store", "pump.go", "flagReading | flagFresh | flagHeld", "flagReading | flagHeld", "has not left"},
	{"a mailbox ends with its session", "takeover", "window.go", "	s.dropMailLocked()\n", "", "counted in mailboxes"},
	{"a transmission that is final leaves the mailbox", "cancel", "session.go", "		s.cancelMailLocked(seq)\n", "", "although it is final"},
	{"a transmission without room is read later", "large payloads", "mailbox.go", "		s.flags |= flagFresh\n	default:", "	default:", "has not left"},
}

// TestEachRuleIsNeeded removes one rule at a time.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, r := range rules {
		t.Run(r.rule, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), without(t, r.file, r.old, r.new), "-test.run", "^TestHandOver$")
			cmd.Env = append(os.Environ(), "LONGWIRE_HANDOVER="+r.config)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), r.broken) {
				t.Fatalf("got %v, want a broken promise %q\n%s", err, r.broken, out)
			}
			t.Logf("%s", out)
		})
	}
}

// without compiles handover_test.go and the code of gateway with a text of a file
// replaced. It leaves out the other tests, which take much longer to build.
func without(t *testing.T, file, old, new string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	name, err := filepath.Abs(filepath.Join(gatewayDir, file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s has %d times, not once:\n%s", file, n, old)
	}
	changed, list := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{name: changed}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range others {
		if filepath.Base(other) != "handover_test.go" {
			replace[other] = "" // as if there were none
		}
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "mutated.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, ".")
	cmd.Dir = gatewayDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
