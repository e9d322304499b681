package hostile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	// A link in Markdown and the names in italics behind it.
	citation = regexp.MustCompile(`\[([^\]]+)\]\(([^)#\s]+)\)((?:,? _[^|_]+_)*)`)
	italic   = regexp.MustCompile(`_([^|_]+)_`)
)

// SECURITY.md says what is defended and by which test: each of them is there,
// and each behaviour that it names.
func TestThreatModelIsShown(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, behaviours := 0, map[string]bool{}
	for _, m := range citation.FindAllStringSubmatch(string(b), -1) {
		name, target, names := m[1], filepath.Join(root, m[2]), m[3]
		if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") {
			if _, err := os.Stat(target); err != nil {
				t.Errorf("SECURITY.md links to %v", err)
			}
			continue
		}
		tests++
		code, err := os.ReadFile(target)
		if err != nil {
			t.Errorf("SECURITY.md links to %v", err)
			continue
		}
		if !strings.Contains(string(code), "func "+name+"(") {
			t.Errorf("SECURITY.md names %s, which is not in %s", name, m[2])
		}
		for _, i := range italic.FindAllStringSubmatch(names, -1) {
			behaviours[i[1]] = true
			if !strings.Contains(string(code), `{"`+i[1]+`",`) {
				t.Errorf("SECURITY.md names %q, which is not in %s", i[1], m[2])
			}
		}
	}
	if tests < 50 || len(behaviours) < 50 {
		t.Errorf("%d tests and %d behaviours found, want the tables of SECURITY.md", tests, len(behaviours))
	}
}

// Each row of the tables of attacks and of promises names its test.
func TestThreatModelHasNoGaps(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, shown := 0, false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			shown = false
		case strings.HasSuffix(line, "| shown by |"):
			shown = true
		case shown && !strings.HasPrefix(line, "|---"):
			rows++
			if cells := strings.Split(line, "|"); !strings.Contains(cells[len(cells)-2], "[Test") && !strings.Contains(cells[len(cells)-2], "[Fuzz") {
				t.Errorf("no test shows this: %s", line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows found, want the tables of SECURITY.md", rows)
	}
}
