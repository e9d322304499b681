package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoDialectBranches keeps code from asking which dialect it has before it:
// it asks for a trait. Only the table of traits names each dialect.
func TestNoDialectBranches(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		table := filepath.Join(root, "protocol", "traits.go")
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == table {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, branch := range dialectBranches(f) {
			t.Errorf("%s: a branch on the dialect: ask for a trait", fset.Position(branch.Pos()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("%d files read: the module is not where the test looks", files)
	}
}

func TestDialectBranches(t *testing.T) {
	const source = `package app
import "github.com/longwire/longwire/protocol"
func f(d protocol.Dialect, names map[protocol.Dialect]string) {
	if d == protocol.V1 || protocol.Text != d {}
	switch d {
	case protocol.V1, protocol.V2:
	}
	_ = map[protocol.Dialect]int{protocol.V1: 1}
	d = protocol.V2
	if d.Rejects() {}
}`
	f, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(dialectBranches(f)), 5; got != want {
		t.Errorf("%d branches, want %d", got, want)
	}
}

// dialectBranches returns the places where f chooses by a Dialect constant: a
// comparison, a case, a key.
func dialectBranches(f *ast.File) (found []ast.Expr) {
	isDialect := func(e ast.Expr) bool {
		name := ""
		switch e := e.(type) {
		case *ast.Ident:
			if f.Name.Name == "protocol" {
				name = e.Name
			}
		case *ast.SelectorExpr:
			if pkg, ok := e.X.(*ast.Ident); ok && pkg.Name == "protocol" {
				name = e.Sel.Name
			}
		}
		switch name {
		case "Unknown", "V1", "V2", "Text":
			return true
		}
		return false
	}
	judge := func(exprs ...ast.Expr) {
		for _, e := range exprs {
			if isDialect(e) {
				found = append(found, e)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.EQL || n.Op == token.NEQ {
				judge(n.X, n.Y)
			}
		case *ast.CaseClause:
			judge(n.List...)
		case *ast.CompositeLit:
			switch n.Type.(type) {
			case *ast.MapType, *ast.ArrayType:
			default:
				return true // the keys of a struct are fields
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					judge(kv.Key)
				}
			}
		}
		return true
	})
	return found
}
