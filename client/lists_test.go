package client

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

// schema is one of the API's description.
type schema struct {
	Enum       []string
	Properties map[string]any
}

// schemas are those of the API's description, by name.
func schemas(t *testing.T) map[string]schema {
	t.Helper()
	b, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Components.Schemas
}

// EventData has the members of the data of every type of event.
func TestEventDataHasEveryMember(t *testing.T) {
	described := map[string]bool{}
	for name, s := range schemas(t) {
		for member := range s.Properties {
			if strings.HasSuffix(name, "EventData") {
				described[member] = true
			}
		}
	}
	for f := range reflect.TypeFor[EventData]().Fields() {
		if member, _, ok := strings.Cut(f.Tag.Get("json"), ","); ok && !described[member] {
			t.Errorf("no event has %s", member)
		} else {
			delete(described, member)
		}
	}
	if len(described) > 0 {
		t.Errorf("EventData lacks %v", described)
	}
}

// A member that this version does not know is not lost.
func TestEventDataIsKeptAsItCame(t *testing.T) {
	const sent = `{"message_id":"msg_1","status":"acked","result":"opened","color":"red"}`
	var d EventData
	if err := json.Unmarshal([]byte(sent), &d); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(d); err != nil || string(got) != sent {
		t.Errorf("marshalled %s, %v, want %s", got, err, sent)
	}
	if d.Status != Acked || string(d.Answer()) != "opened" {
		t.Errorf("data %+v", d)
	}
}

// The constants of this package are the lists of the API's description.
func TestConstantsAreTheDescriptions(t *testing.T) {
	described := schemas(t)
	for _, l := range []struct{ schema, file, kind string }{
		{"ProblemType", "problem.go", "Code"},
		{"DeliveryReason", "reasons.go", "DeliveryReason"},
		{"CloseReason", "reasons.go", "CloseReason"},
		{"NoAckReason", "reasons.go", "NoAckReason"},
		{"ClosedBy", "reasons.go", "ClosedBy"},
		{"MessageWhyCode", "whycodes.go", "MessageWhyCode"},
		{"ClientWhyCode", "whycodes.go", "ClientWhyCode"},
	} {
		want := described[l.schema].Enum
		for i := range want {
			want[i] = path.Base(want[i])
		}
		slices.Sort(want)
		if got := constants(t, l.file, l.kind); len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s in %s: %q, want %q", l.kind, l.file, got, want)
		}
	}
}
