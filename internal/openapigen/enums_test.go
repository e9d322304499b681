package main

import (
	"slices"
	"testing"
)

// Each list is in the description as the program has it, at every member that
// it is for.
func TestListsAreDescribed(t *testing.T) {
	doc := readDescription(t)
	for _, e := range enums() {
		s := doc.Components.Schemas[e.schema]
		if s == nil {
			t.Errorf("there is no schema %s", e.schema)
			continue
		}
		var described []string
		for _, v := range s.Value.Enum {
			described = append(described, v.(string))
		}
		if !slices.Equal(described, e.values) {
			t.Errorf("%s is %q, the program has %q", e.schema, described, e.values)
		}
		sorted := slices.Sorted(slices.Values(e.values))
		if len(sorted) < 2 || len(slices.Compact(sorted)) != len(e.values) {
			t.Errorf("%s: %q, want some values, each once", e.schema, e.values)
		}
		for _, m := range e.members {
			owner := doc.Components.Schemas[m[0]]
			if owner == nil || owner.Value.Properties[m[1]] == nil {
				t.Errorf("%s: there is no member %s of %s", e.schema, m[1], m[0])
			} else if got := owner.Value.Properties[m[1]].Ref; got != "#/components/schemas/"+e.schema {
				t.Errorf("%s.%s is %q, want %s", m[0], m[1], got, e.schema)
			}
		}
	}
}

// A member called reason, by or a problem's type is of one of the lists: none
// has been forgotten.
func TestEveryReasonHasItsList(t *testing.T) {
	for name, s := range readDescription(t).Components.Schemas {
		for _, member := range []string{"reason", "by"} {
			if p := s.Value.Properties[member]; p != nil && p.Ref == "" {
				t.Errorf("%s.%s is a free string", name, member)
			}
		}
	}
}
