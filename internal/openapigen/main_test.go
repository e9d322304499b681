package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestOutputIsUpToDate fails when swagger.json was generated and openapi.json
// was not, or when the conversion is not a function of its input.
func TestOutputIsUpToDate(t *testing.T) {
	source, err := os.ReadFile("../../docs/swagger.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := convert(source)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("docs/openapi.json is not what docs/swagger.json converts to: run go generate ./api")
		}
	}
}

const minimal = `{"swagger":"2.0","info":{"title":"t","version":"1"},"basePath":"/",
"definitions":{"Problem":{"type":"object"},"BulkAnswer":{"type":"object","properties":{"b":{"$ref":"#/definitions/Problem"},"a":{"$ref":"#/definitions/PushOne"}}},"PushOne":{"type":"object","properties":{"text":{"type":"string"},"json":{"type":"object"}}}},
"paths":{
 "/livez":{"get":{"operationId":"livez","produces":["application/json"],"responses":{"200":{"description":"OK"}}}},
 "/v1/clients/{id}/messages":{"post":{"operationId":"pushOne","consumes":["application/json","text/plain"],"produces":["application/json"],
  "parameters":[{"name":"id","in":"path","required":true,"type":"string"},{"name":"wait","in":"query","type":"string","example":"5s"},{"name":"Range","in":"header","type":"string","example":"bytes=0-9"},{"name":"b","in":"body","schema":{"$ref":"#/definitions/PushOne"}}],
  "responses":{"202":{"description":"Accepted"},"404":{"description":"Not Found","schema":{"$ref":"#/definitions/Problem"}}}}}}}`

func TestConvert(t *testing.T) {
	out, err := convert([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(out)
	if err != nil {
		t.Fatal(err)
	}
	if sec := doc.Paths.Value("/livez").Get.Security; sec == nil || len(*sec) != 0 {
		t.Errorf("livez asks for %v, want no key", sec)
	}
	push := doc.Paths.Value("/v1/clients/{id}/messages").Post
	if c := push.Responses.Value("404").Value.Content; c["application/problem+json"] == nil || c["application/json"] != nil {
		t.Errorf("404 has %v, want problem+json alone", c)
	}
	if push.Responses.Default() == nil {
		t.Error("no default response")
	}
	for in, want := range map[string]string{"wait": "5s", "Range": "bytes=0-9"} {
		for _, p := range push.Parameters {
			if p.Value.Name == in && p.Value.Example != want {
				t.Errorf("the example of %s is %v, want %s", in, p.Value.Example, want)
			}
		}
	}
	body := push.RequestBody.Value.Content
	if body["application/json"].Example == nil || body["text/plain"].Schema.Ref != "" {
		t.Errorf("bodies %v, want an example for JSON and plain text beside it", body)
	}
	if s := doc.Components.Schemas["BulkAnswer"].Value; len(s.OneOf) != 2 || s.OneOf[0].Ref != "#/components/schemas/PushOne" || s.Type != nil || s.Properties != nil {
		t.Errorf("a choice is %+v, want one of its members", s)
	}
	if s := doc.Components.Schemas["PushOne"].Value.Properties["json"].Value; s.Type != nil || s.Nullable {
		t.Errorf("json is %v, want any value", s.Type)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	if err := run(filepath.Join(dir, "none.json"), filepath.Join(dir, "out.json")); err == nil {
		t.Error("a missing file is no error")
	}
	in := filepath.Join(dir, "in.json")
	if err := os.WriteFile(in, []byte(`{"swagger":"2.0","paths":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(in, filepath.Join(dir, "out.json")); err == nil {
		t.Error("a description without a title is no error")
	}
}

// TestEveryTagIsDescribed: a page of the API shows its parts in the order of the tags, and
// those without one behind them, without a word.
func TestEveryTagIsDescribed(t *testing.T) {
	doc := readDescription(t)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, tag := range op.Tags {
				if doc.Tags.Get(tag) == nil {
					t.Errorf("%s %s has the tag %s, which is not described", method, path, tag)
				}
			}
		}
	}
}

// The page fills in the examples of a call, and its first push has to show an ack: the
// client is the simulated device, and the call waits.
func TestThePageFillsInItsFirstPush(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	push := doc.Paths.Value("/v1/clients/{id}/messages").Post
	for name, want := range map[string]string{"id": "demo", "wait": "5s"} {
		for _, p := range push.Parameters {
			if p.Value.Name == name && p.Value.Example != want {
				t.Errorf("%s has the example %v, want %s", name, p.Value.Example, want)
			}
		}
	}
}
