package hostile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The pages that say what is defended, and the directories of their links.
var threatPages = map[string]string{"../../SECURITY.md": "../..", "../../docs/guide/defences.md": "../../docs/guide"}

var (
	// A link in Markdown and the names in italics behind it.
	citation = regexp.MustCompile(`\[([^\]]+)\]\(([^)#\s]+)\)((?:,? _[^|_]+_)*)`)
	italic   = regexp.MustCompile(`_([^|_]+)_`)
)

// SECURITY.md and its page of defences say what is defended and by which test: each of
// them is there, and each behaviour that they name.
func TestThreatModelIsShown(t *testing.T) {
	tests, behaviours := 0, map[string]bool{}
	for page, dir := range threatPages {
		tests += shown(t, page, dir, behaviours)
	}
	if tests < 50 || len(behaviours) < 50 {
		t.Errorf("%d tests and %d behaviours found, want the tables of defences.md", tests, len(behaviours))
	}
}

// shown checks the links of a page. It returns how many tests they name, and adds the
// behaviours.
func shown(t *testing.T, page, root string, behaviours map[string]bool) (tests int) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range citation.FindAllStringSubmatch(string(b), -1) {
		name, target, names := m[1], filepath.Join(root, m[2]), m[3]
		if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") {
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %v", page, err)
			}
			continue
		}
		tests++
		code, err := os.ReadFile(target)
		if err != nil {
			t.Errorf("%s links to %v", page, err)
			continue
		}
		if !strings.Contains(string(code), "func "+name+"(") {
			t.Errorf("%s names %s, which is not in %s", page, name, m[2])
		}
		for _, i := range italic.FindAllStringSubmatch(names, -1) {
			behaviours[i[1]] = true
			if !strings.Contains(string(code), `{"`+i[1]+`",`) {
				t.Errorf("%s names %q, which is not in %s", page, i[1], m[2])
			}
		}
	}
	return tests
}

// Each row of the tables of attacks and of promises names its test.
func TestThreatModelHasNoGaps(t *testing.T) {
	b, err := os.ReadFile("../../docs/guide/defences.md")
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
		t.Errorf("%d rows found, want the tables of defences.md", rows)
	}
}
