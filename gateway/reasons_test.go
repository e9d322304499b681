package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each Reason constant is in one of the lists, and each close reason has a
// side that closes.
func TestReasonsAreListed(t *testing.T) {
	listed := slices.Concat(CloseReasons(), DeliveryReasons(), NoAckReasons())
	var constants []string
	for _, file := range []string{"reasons.go", "errors.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(c.Names[0].Name, "Reason") {
				reason, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				constants = append(constants, reason)
			}
			return true
		})
	}
	slices.Sort(listed)
	slices.Sort(constants)
	if listed = slices.Compact(listed); !slices.Equal(listed, constants) { // connection_lost is in two lists
		t.Errorf("listed are %q, the constants are %q", listed, constants)
	}
	for _, r := range CloseReasons() {
		if by := CloserOf(r); !slices.Contains(Closers(), string(by)) {
			t.Errorf("%s is by %q", r, by)
		}
	}
	for _, r := range DeliveryReasons() {
		if slices.Contains(NoAckReasons(), r) {
			continue
		}
		if by := CloserOf(r); by != "" {
			t.Errorf("%s, of a delivery, is by %q", r, by)
		}
	}
}
