package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's directory.
const root = "../.."

// TestImports checks what every file of the module imports, for every platform
// and build tag, tests left out.
func TestImports(t *testing.T) {
	g := readModule(t)
	for _, want := range []string{"./gateway", "./internal/wheel"} {
		if _, ok := g[want]; !ok {
			t.Fatalf("%s was not found: the module is not where the test looks", want)
		}
	}
	for _, complaint := range check(g, table, owners) {
		t.Error(complaint)
	}
}

// readModule parses the imports of every package.
func readModule(t *testing.T) graph {
	t.Helper()
	g := graph{}
	eachFile(t, func(name string) error { return addFile(g, name) })
	return g
}

// eachFile calls do for every Go file of the module, tests left out.
func eachFile(t *testing.T, do func(name string) error) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
				base == "testdata" || base == "node_modules" || base == "vendor") {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, "_test.go") {
			return do(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func addFile(g graph, name string) error {
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root, filepath.Dir(name))
	if err != nil {
		return err
	}
	pkg := "./" + filepath.ToSlash(rel)
	if _, ok := g[pkg]; !ok {
		g[pkg] = nil // there, even without an import
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		if below, ok := strings.CutPrefix(imported, module+"/"); ok {
			imported = "./" + below
		}
		if !slices.Contains(g[pkg], imported) {
			g[pkg] = append(g[pkg], imported)
		}
	}
	return nil
}

// TestBinary checks the packages linked into longwire, directly or indirectly.
func TestBinary(t *testing.T) {
	deps := goList(t, "./cmd/longwire")
	for _, want := range []string{module + "/cmd/longwire", "net/http"} {
		if !slices.Contains(deps, want) {
			t.Fatalf("%s is not among the %d dependencies: the list is not what the test thinks", want, len(deps))
		}
	}
	for _, bad := range linkedAgainst(deps, unlinked) {
		t.Errorf("longwire is linked against %s", bad)
	}
}

// TestPublishedPackages checks that a program which imports client or device
// gets the standard library and ours, nothing of others.
func TestPublishedPackages(t *testing.T) {
	for _, pkg := range []string{"./client", "./device", "./protocol", "./gateway"} {
		for _, d := range goList(t, pkg) {
			first, _, _ := strings.Cut(d, "/")
			if strings.Contains(first, ".") && !within(d, module) {
				t.Errorf("%s needs %s", pkg, d)
			}
		}
	}
}

// goList returns all that a package of the module needs.
func goList(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", pkg)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	var deps []string
	for _, d := range strings.Fields(string(out)) {
		if !strings.HasPrefix(d, "vendor/") { // the standard library's own copies
			deps = append(deps, d)
		}
	}
	return deps
}

// Every row that a rule names exists, so that a misspelt one does not forbid or
// allow nothing.
func TestTable(t *testing.T) {
	known := func(name string) bool {
		return slices.ContainsFunc(table, func(r row) bool { return r.path == name })
	}
	seen := map[string]bool{}
	for _, r := range table {
		if seen[r.path] || path.Clean(r.path) != r.path {
			t.Errorf("%s is there twice, or not a clean path", r.path)
		}
		seen[r.path] = true
		for _, o := range r.only {
			if !known(o) {
				t.Errorf("%s may import %s, which has no row", r.path, o)
			}
			if forbiddenLocal(&r, o, table) != "" {
				t.Errorf("%s may import %s, which its band forbids", r.path, o)
			}
		}
	}
	for m, rows := range owners {
		for _, o := range rows {
			if !known(o) {
				t.Errorf("%s belongs to %s, which has no row", m, o)
			}
		}
	}
}
