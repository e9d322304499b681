package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommentsArePlain keeps the comments of each package in plain English. Tests
// and generated files do not count. Set LONGWIRE_WORDS to a package's path to see its
// marked lines.
func TestCommentsArePlain(t *testing.T) {
	packages := readWords(t)
	if len(packages) < 20 {
		t.Fatalf("%d packages read: the module is not where the test looks", len(packages))
	}
	var all wording
	for path, w := range packages {
		if !w.fits() {
			t.Errorf("%s: %d of %d comment lines are marked, at most %.0f %% or %d lines may be; to see them: LONGWIRE_WORDS=%s go test ./internal/archtest -run Plain -v",
				path, w.marked, w.lines, 100*packageShare, packageLines, path)
		}
		all.lines, all.marked = all.lines+w.lines, all.marked+w.marked
	}
	if share := float64(all.marked) / float64(all.lines); share > totalShare {
		t.Errorf("%.1f %% of %d comment lines are marked, at most %.0f %% may be", 100*share, all.lines, 100*totalShare)
	}
}

// readWords reads the comments of every package of the module.
func readWords(t *testing.T) map[string]*wording {
	t.Helper()
	packages := map[string]*wording{}
	show := os.Getenv("LONGWIRE_WORDS")
	fset := token.NewFileSet()
	eachFile(t, func(name string) error {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if ast.IsGenerated(f) {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		path := filepath.ToSlash(dir)
		if packages[path] == nil {
			packages[path] = &wording{}
		}
		packages[path].count(f, func(c *ast.Comment, line string, m *mark) {
			if path == show {
				t.Logf("%s: %s (%s)", fset.Position(c.Pos()), line, m.cure)
			}
		})
		return nil
	})
	return packages
}

func TestMarks(t *testing.T) {
	for i := range marks {
		if m := findMark(marks[i].example); m != &marks[i] {
			t.Errorf("%q is not found by its own mark", marks[i].example)
		}
	}
	for _, plain := range []string{
		"Sent reports that the frame of seq was flushed to the socket.",
		"It is sent again because the ack may be lost.",
		"the address where devices connect",
		"wait for the next event, for example an ack",
	} {
		if m := findMark(plain); m != nil {
			t.Errorf("%q is marked: %s", plain, m.cure)
		}
	}
}

func TestWording(t *testing.T) {
	const source = `package x

//go:noinline what is queued
// @Summary what is queued

// Next returns what is queued.
// It does not wait.
func Next() {} // nobody waits
`
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var w wording
	var found []string
	w.count(f, func(_ *ast.Comment, line string, _ *mark) { found = append(found, line) })
	if got, want := strings.Join(found, "|"), "Next returns what is queued.|nobody waits"; got != want {
		t.Errorf("marked %q, want %q", got, want)
	}
	if want := (wording{lines: 3, marked: 2}); w != want {
		t.Errorf("got %+v, want %+v", w, want)
	}
	for _, c := range []struct {
		w    wording
		fits bool
	}{
		{wording{lines: 10, marked: 2}, true},
		{wording{lines: 10, marked: 3}, false},
		{wording{lines: 100, marked: 3}, true},
		{wording{lines: 100, marked: 4}, false},
	} {
		if got := c.w.fits(); got != c.fits {
			t.Errorf("%+v: fits %v, want %v", c.w, got, c.fits)
		}
	}
}
