// Package rules compiles a package's tests so that each of some rules can be taken out
// of the code when the binary runs. One build serves all of them.
package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// variable names, in the environment, the rules that are taken out, one in a line.
const variable = "LONGWIRE_RULES_OUT"

// Edit replaces Old, which Text has once, by New. In New the word OUT is the condition
// that Rule is taken out; without it New does what Old does.
type Edit struct{ Rule, File, Old, New string }

// Out is the environment for a binary of Build that takes rules out.
func Out(rules ...string) string {
	return variable + "=\n" + strings.Join(rules, "\n") + "\n"
}

// Build compiles the tests of the package in dir, in scratch, with edits to files below
// root. It leaves out the files of the list without.
func Build(t *testing.T, scratch, root, dir string, edits []Edit, without ...string) (binary string) {
	t.Helper()
	texts, known := map[string]string{}, map[string][]string{}
	for _, e := range edits {
		name := absolute(t, filepath.Join(root, e.File))
		if _, ok := texts[name]; !ok {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(b)
		}
		if n := strings.Count(texts[name], e.Old); n != 1 {
			t.Fatalf("%s has %d times, not once:\n%s", e.File, n, e.Old)
		}
		pkg := filepath.Dir(name)
		i := slices.Index(known[pkg], e.Rule)
		if i < 0 {
			i, known[pkg] = len(known[pkg]), append(known[pkg], e.Rule)
		}
		texts[name] = strings.Replace(texts[name], e.Old, strings.ReplaceAll(e.New, "OUT", fmt.Sprint("ruleOut", i)), 1)
	}
	for pkg, rules := range known {
		var b strings.Builder
		fmt.Fprintf(&b, "package %s\n\nimport (\n\t\"os\"\n\t\"strings\"\n)\n\n", filepath.Base(pkg))
		for i, rule := range rules {
			fmt.Fprintf(&b, "var ruleOut%d = strings.Contains(os.Getenv(%q), %q)\n", i, variable, "\n"+rule+"\n")
		}
		texts[filepath.Join(pkg, "rules_out.go")] = b.String()
	}
	replace := map[string]string{}
	for name, text := range texts {
		to := filepath.Join(scratch, fmt.Sprint(len(replace), ".go"))
		write(t, to, []byte(text))
		replace[name] = to
	}
	for _, name := range without {
		replace[absolute(t, name)] = "" // as if there were none
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(scratch, "overlay.json")
	write(t, overlay, list)
	binary = filepath.Join(scratch, "rules.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
