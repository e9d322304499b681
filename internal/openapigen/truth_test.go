package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// A generator of clients reads the description alone.
func TestEveryMemberIsDescribed(t *testing.T) {
	for name, s := range readDescription(t).Components.Schemas {
		for member, p := range s.Value.Properties {
			if p.Value.Description == "" {
				t.Errorf("%s.%s has no description", name, member)
			}
		}
	}
}

func TestWhatAlwaysComesIsRequired(t *testing.T) {
	schemas := readDescription(t).Components.Schemas
	for name, want := range map[string]string{
		"Problem": "type title status", "FieldError": "detail",
		"ClientInfo": "id online groups labels queued queued_bytes in_flight", "Message": "id status mode created_at expires_at",
	} {
		for _, member := range strings.Fields(want) {
			if !slices.Contains(schemas[name].Value.Required, member) {
				t.Errorf("%s.%s is not required", name, member)
			}
		}
	}
}

// A generator makes int32 of an integer without a format. Numbers of uplinks, bytes of
// disks and counters are larger.
func TestIntegersHaveRoom(t *testing.T) {
	doc := readDescription(t)
	var walk func(where string, s *openapi3.SchemaRef)
	walk = func(where string, s *openapi3.SchemaRef) {
		if s == nil || s.Ref != "" {
			return
		}
		v := s.Value
		if v.Type.Is("integer") && v.Format != "int64" && v.Max == nil {
			t.Errorf("%s is an integer of the format %q", where, v.Format)
		}
		for name, p := range v.Properties {
			walk(where+"."+name, p)
		}
		walk(where+"[]", v.Items)
		walk(where+"{}", v.AdditionalProperties.Schema)
	}
	for name, s := range doc.Components.Schemas {
		walk(name, s)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, p := range op.Parameters {
				walk(method+" "+path+" "+p.Value.Name, p.Value.Schema)
			}
		}
	}
}

// The page shows the parts, paths and methods as they come.
func TestOrderOfTheDescription(t *testing.T) {
	var names []string
	for _, tag := range readDescription(t).Tags {
		names = append(names, tag.Name)
		if tag.Description == "" {
			t.Errorf("the tag %s has no description", tag.Name)
		}
	}
	if got, want := strings.Join(names, " "), "clients messages events webhooks consumers uplinks keys simulator system"; got != want {
		t.Errorf("tags %s, want %s", got, want)
	}
	data, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Paths json.RawMessage }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	place := func(what string) int { return bytes.Index(doc.Paths, []byte(what)) }
	for _, pair := range [][2]string{{`"/v1/clients"`, `"/v1/messages"`}, {`"/v1/messages"`, `"/v1/events"`}, {`"/v1/events"`, `"/v1/uplinks"`},
		{`"/v1/uplinks"`, `"/v1/keys"`}, {`"/v1/keys"`, `"/livez"`}, {`"getClient"`, `"patchClient"`}, {`"patchClient"`, `"disconnectClient"`}, {`"listKeys"`, `"createKey"`}} {
		if a, b := place(pair[0]), place(pair[1]); a < 0 || b < a {
			t.Errorf("%s is at %d, want it before %s at %d", pair[0], a, pair[1], b)
		}
	}
}
