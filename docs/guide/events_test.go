package guide

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// schema is one of the API's description.
type schema struct {
	Enum          []string
	Discriminator struct{ Mapping map[string]string }
}

// schemas are those of the API's description, by name.
func schemas(t *testing.T) map[string]schema {
	t.Helper()
	b, err := os.ReadFile("../openapi.json")
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

// Each type of event of the API's description, and each reason of an event, is on the page
// about events, in both languages.
func TestEveryEventIsOnThePage(t *testing.T) {
	described := schemas(t)
	var want []string
	for kind := range described["Event"].Discriminator.Mapping {
		want = append(want, kind)
	}
	want = append(append(want, described["WebhookReason"].Enum...), described["DamageReason"].Enum...)
	if len(want) < 20 {
		t.Fatalf("the description has only %q", want)
	}
	all := read(t, "events.md")
	all["zh-CN/events.md"] = read(t, "zh-CN/events.md")["zh-CN/events.md"]
	for page, text := range all {
		for _, name := range want {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
}
