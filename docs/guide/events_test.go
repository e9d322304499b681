package guide

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Each type of event of the API's description, and each reason of an event, is on the page
// about events, in both languages.
func TestEveryEventIsOnThePage(t *testing.T) {
	data, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Enum          []string `json:"enum"`
				Discriminator struct {
					Mapping map[string]string `json:"mapping"`
				} `json:"discriminator"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	schemas := doc.Components.Schemas
	var want []string
	for kind := range schemas["Event"].Discriminator.Mapping {
		want = append(want, kind)
	}
	want = append(append(want, schemas["WebhookReason"].Enum...), schemas["DamageReason"].Enum...)
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
