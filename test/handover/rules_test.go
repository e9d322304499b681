// Package handover removes one rule after the other from the hand-over of accepted
// messages to sessions, and wants gateway's TestHandOver to find a broken promise.
package handover

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/test/rules"
)

// gatewayDir is the directory of package gateway.
const gatewayDir = "../../gateway"

// removed are the rules of the hand-over. A rule is removed from the code by an edit, as
// rules.Edit does; its text may be within what an edit above has put in. TestHandOver then
// fails in the configuration that stands beside the rule.
var removed = []struct {
	rule, config, file, old, new string
	broken                       string
}{
	{"what was read is ignored", "plain", "mailbox.go", "	case p.Seq <= last:\n", "	case !OUT && p.Seq <= last:\n", " leaves after "},
	{"a message to many is looked for first", "paced", "mailbox.go", "	case many > last || !s", "	case !OUT && many > last || !s", "has not left"},
	{"nothing enters before the store is read", "strict", "mailbox.go", "s.flags.has(flagFresh|flagReading)", "s.flags.has(flagFresh|flagReading) && (!OUT || s.flags.has(flagReading))", "has not left"},
	{"nothing enters during a read", "plain", "mailbox.go", "s.flags.has(flagFresh|flagReading)", "s.flags.has(flagFresh|flagReading) && (!OUT || s.flags.has(flagFresh))", " leaves after "},
	{"the mailbox leaves before the store is read", "plain", "pump.go", "		if mail { // its", "		if mail && !(OUT && s.flags.has(flagFresh)) { // its", " leaves after "},
	{"a short read moves the cursor to its view", "plain", "pump.go", "	s.cursor = max(s.cursor, last)\n", "	s.cursor = max(s.cursor, last)\n	if OUT {\n		s.cursor = max(s.cursor, s.g.lastMany)\n	}\n", "has not left"},
	{"a full read is followed by another", "plain", "pump.go", "	if !more || !dry {\n", "	if !more || !dry && (!OUT || last == 0) {\n", "has not left"},
	{"what the link does not take is read again", "busy link", "pump.go", "		s.flags |= flagFresh\n		s.dropMailLocked()\n", "		if !OUT {\n			s.flags |= flagFresh\n		}\n		s.dropMailLocked()\n", "has not left"},
	{"what follows it is dropped", "busy link", "pump.go", "			s.flags |= flagFresh\n		}\n		s.dropMailLocked()\n", "			s.flags |= flagFresh\n		}\n		if !OUT {\n			s.dropMailLocked()\n		}\n", "has not left"},
	{"a failed read is made again", "failing store", "pump.go", "flagReading | flagFresh | flagHeld\n", "flagReading | flagHeld\n		if !OUT {\n			s.flags |= flagFresh\n		}\n", "has not left"},
	{"a mailbox ends with its session", "takeover", "window.go", "	s.dropMailLocked()\n", "	if !OUT {\n		s.dropMailLocked()\n	}\n", "counted in mailboxes"},
	{"a transmission that is final leaves the mailbox", "cancel", "session.go", "		s.cancelMailLocked(seq)\n", "		if !OUT {\n			s.cancelMailLocked(seq)\n		}\n", "although it is final"},
	{"a transmission without room is read later", "large payloads", "mailbox.go", "		s.flags |= flagFresh\n	default:", "		if !OUT {\n			s.flags |= flagFresh\n		}\n	default:", "has not left"},
}

// TestEachRuleIsNeeded removes one rule at a time. It compiles handover_test.go and the
// code of gateway, and leaves out the other tests, which take much longer to build.
func TestEachRuleIsNeeded(t *testing.T) {
	others, err := filepath.Glob(gatewayDir + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	others = slices.DeleteFunc(others, func(name string) bool { return filepath.Base(name) == "handover_test.go" })
	var edits []rules.Edit
	for _, r := range removed {
		edits = append(edits, rules.Edit{Rule: r.rule, File: r.file, Old: r.old, New: r.new})
	}
	binary := rules.Build(t, t.TempDir(), gatewayDir, gatewayDir, edits, others...)
	for _, r := range removed {
		t.Run(r.rule, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestHandOver$")
			cmd.Env = append(os.Environ(), "LONGWIRE_HANDOVER="+r.config, rules.Out(r.rule))
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), r.broken) {
				t.Fatalf("got %v, want a broken promise %q\n%s", err, r.broken, out)
			}
			t.Logf("%s", out)
		})
	}
}
