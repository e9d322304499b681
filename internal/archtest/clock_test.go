package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// clockless are packages to which times come with their input.
var clockless = []string{"internal/engine/record", "internal/engine/state"}

// TestNoClock keeps those packages from reading a clock, or waiting for one.
func TestNoClock(t *testing.T) {
	for _, dir := range clockless {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) < 5 {
			t.Fatalf("%s has %d files, %v: it is not where the test looks", dir, len(files), err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range clockUses(f) {
				t.Errorf("%s: the clock is read: take the time from the record", fset.Position(use.Pos()))
			}
		}
	}
}

func TestClockUses(t *testing.T) {
	const source = `package state
import "time"
func f(at time.Time) {
	_, _ = time.Now(), time.Since(at)
	now := time.Now
	time.Sleep(time.Second)
	_ = time.Unix(1, 0).Add(time.Hour)
}`
	f, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(clockUses(f)); got != 4 {
		t.Errorf("%d uses, want 4", got)
	}
}

// clockUses returns the places where f names a function of package time that needs a
// clock.
func clockUses(f *ast.File) (found []ast.Node) {
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
			switch sel.Sel.Name {
			case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker":
				found = append(found, sel)
			}
		}
		return true
	})
	return found
}
