package guide

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// operation is a call of the API's description.
type operation struct {
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			} `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// apiCalls are the operations of the API by path and method, and the members of its
// bodies by schema.
type apiCalls struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

// find returns the operations of a path by method, nil for none. A name in braces and any
// id stand for each other.
func (a *apiCalls) find(path string) map[string]operation {
	want := strings.Split(path, "/")
	var wild map[string]operation
	for template, ops := range a.Paths {
		have := strings.Split(template, "/")
		if template == path {
			return ops
		}
		if len(have) == len(want) && slices.EqualFunc(have, want, func(h, w string) bool { return h == w || strings.HasPrefix(h, "{") && w != "" }) {
			wild = ops
		}
	}
	return wild
}

// complaint returns why the API has no such call, "" if it has.
func (a *apiCalls) complaint(method, target, body string) string {
	path, query, _ := strings.Cut(target, "?")
	ops := a.find(path)
	if ops == nil {
		return "there is no path " + path
	}
	op, ok := ops[strings.ToLower(method)]
	if !ok && method != "" {
		return "the path has no method " + method
	}
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if strings.HasPrefix(name, "label.") {
			name = "label.{key}"
		}
		if part != "" && !takes(ops, method, name) {
			return "the path has no parameter " + name
		}
	}
	if ref := op.RequestBody.Content["application/json"].Schema.Ref; ref != "" && strings.HasPrefix(body, "{") {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &members); err != nil {
			return "the body is not JSON: " + err.Error()
		}
		known := a.Components.Schemas[ref[strings.LastIndex(ref, "/")+1:]].Properties
		for m := range members {
			if _, ok := known[m]; !ok {
				return "the body has no member " + m
			}
		}
	}
	return ""
}

// takes reports whether the method, or any if it is empty, has the query parameter.
func takes(ops map[string]operation, method, name string) bool {
	for m, o := range ops {
		for _, p := range o.Parameters {
			if p.Name == name && p.In == "query" && (method == "" || strings.EqualFold(m, method)) {
				return true
			}
		}
	}
	return false
}

var (
	inlineCall = regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE|HEAD) )?(/(?:v1/[^` ]*|metrics|livez|readyz|version))`")
	curlTarget = regexp.MustCompile(`['" ](?:https?://)?(?:localhost|127\.0\.0\.1|[a-z.]*example)(?::\d+)?(/v1/[^'"\s]*)`)
	curlMethod = regexp.MustCompile(`-X ?([A-Z]+)`)
	curlBody   = regexp.MustCompile(`(?:^| )-[a-z]*d (?:'([^']*)'|\S)`)
)

// Each call that a page names or prints is one of the API's description, with its
// parameters and the members of its body.
func TestPrintedCallsExist(t *testing.T) {
	var api apiCalls
	if err := json.Unmarshal([]byte(description(t)), &api); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for page, text := range allPages(t) {
		for line := range strings.Lines(text) {
			for _, m := range inlineCall.FindAllStringSubmatch(line, -1) {
				calls++
				if c := api.complaint(strings.TrimSpace(m[1]), strings.TrimRight(m[2], "."), ""); c != "" {
					t.Errorf("%s: %s: %s", page, m[0], c)
				}
			}
			for part := range strings.SplitSeq(line, "curl ") {
				m := curlTarget.FindStringSubmatch(" " + part)
				if m == nil || !strings.Contains(line, "curl ") {
					continue
				}
				calls++
				method, body := "GET", ""
				if b := curlBody.FindStringSubmatch(part); b != nil {
					method, body = "POST", b[1]
				} else if strings.Contains(part, "--data-binary") {
					method = "POST"
				}
				if x := curlMethod.FindStringSubmatch(part); x != nil {
					method = x[1]
				}
				if c := api.complaint(method, m[1], body); c != "" {
					t.Errorf("%s: curl %s: %s", page, strings.TrimSpace(part), c)
				}
			}
		}
	}
	if calls < 200 {
		t.Errorf("%d calls were found, want those of all pages", calls)
	}
	for _, wrong := range [][3]string{{"GET", "/v1/nothing", ""}, {"PUT", "/v1/clients", ""}, {"GET", "/v1/clients?stat=x", ""}, {"POST", "/v1/messages", `{"two":1}`}} {
		if api.complaint(wrong[0], wrong[1], wrong[2]) == "" {
			t.Errorf("%q passes", wrong)
		}
	}
}
