package client

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"testing"
)

// constants reads the values of the constants of a type off a source file.
func constants(t *testing.T, file, kind string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		c, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := c.Type.(*ast.Ident); ok && id.Name == kind {
			v, err := strconv.Unquote(c.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		return true
	})
	slices.Sort(values)
	return values
}

// The constants of this package are the lists of the API's description.
func TestConstantsAreTheDescriptions(t *testing.T) {
	data, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Enum []string `json:"enum"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, l := range []struct{ schema, file, kind string }{
		{"ProblemType", "problem.go", "Code"},
		{"DeliveryReason", "reasons.go", "DeliveryReason"},
		{"CloseReason", "reasons.go", "CloseReason"},
		{"NoAckReason", "reasons.go", "NoAckReason"},
		{"ClosedBy", "reasons.go", "ClosedBy"},
	} {
		want := doc.Components.Schemas[l.schema].Enum
		for i := range want {
			want[i] = path.Base(want[i])
		}
		slices.Sort(want)
		if got := constants(t, l.file, l.kind); len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s in %s: %q, want %q", l.kind, l.file, got, want)
		}
	}
}
