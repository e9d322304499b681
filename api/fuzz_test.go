package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// FuzzAPI holds the API to its own description: whatever the request, the
// answer is never a 5xx, has a status that the operation documents, is
// problem+json of a documented type when it is a refusal, and validates against
// the description when it is not.
//
// The operation comes from the description. Body is what the operation's
// example was mutated into, and twist changes one more value of it to one that
// is hard to swallow, so that half of the inputs stay JSON.
func FuzzAPI(f *testing.F) {
	ops := operations(f)
	for _, op := range ops {
		body := ""
		if op.example != nil {
			b, err := json.Marshal(op.example)
			if err != nil {
				f.Fatal(err)
			}
			body = string(b)
		}
		header := "Content-Type: " + op.content
		f.Add(op.spec.OperationID, "truck-17", "", header, []byte(body), uint16(0))
		for n := range len(op.queries) {
			f.Add(op.spec.OperationID, "away-1", op.queries[n], header, []byte(body), uint16(1+37*n))
		}
	}
	f.Fuzz(func(t *testing.T, op, id, query, headers string, body []byte, twisted uint16) {
		a := newAttempt(named(ops, op), id, query, headers, twist(body, twisted))
		h := fuzzHarness(t)
		a.try(h)
		a.try(h) // the second meets what the first has left
	})
}

// named returns the operation of that id; any other string stands for one, too.
func named(ops []operation, id string) operation {
	sum := 0
	for _, op := range ops {
		if op.spec.OperationID == id {
			return op
		}
	}
	for _, b := range []byte(id) {
		sum += int(b)
	}
	return ops[sum%len(ops)]
}

// operation is one method of one path of the description.
type operation struct {
	method, path string
	spec         *openapi3.Operation
	content      string   // the first media type of the body
	example      any      // of the body, nil for none
	queries      []string // each parameter with its example, or something like it
}

func operations(t testing.TB) []operation {
	t.Helper()
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	var all []operation
	paths := doc.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			all = append(all, newOperation(method, path, methods[method]))
		}
	}
	return all
}

func newOperation(method, path string, spec *openapi3.Operation) operation {
	op := operation{method: method, path: path, spec: spec}
	for _, p := range spec.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			op.queries = append(op.queries, url.Values{p.Value.Name: {parameterExample(p.Value)}}.Encode())
		}
	}
	if spec.RequestBody != nil {
		content := spec.RequestBody.Value.Content
		op.content = slices.Sorted(maps.Keys(content))[0]
		if op.content != "application/octet-stream" {
			op.example = exampleOf(content[op.content].Schema.Value)
		}
	}
	return op
}

func parameterExample(p *openapi3.Parameter) string {
	for _, v := range []any{p.Example, p.Schema.Value.Example, p.Schema.Value.Default} {
		if v != nil {
			if s, ok := v.(string); ok {
				return s
			}
			b, _ := json.Marshal(v) // it came from JSON
			return string(b)
		}
	}
	if len(p.Schema.Value.Enum) > 0 {
		return p.Schema.Value.Enum[0].(string)
	}
	return "1"
}

// exampleOf makes a value of the examples of a schema and of what it is made of.
func exampleOf(s *openapi3.Schema) any {
	switch {
	case s.Example != nil:
		return s.Example
	case len(s.AllOf) > 0:
		return exampleOf(s.AllOf[0].Value)
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is("object"):
		o := map[string]any{}
		for name, p := range s.Properties {
			o[name] = exampleOf(p.Value)
		}
		return o
	case s.Type.Is("array"):
		return []any{exampleOf(s.Items.Value)}
	case s.Type.Is("string"):
		return "x"
	case s.Type.Is("boolean"):
		return true
	}
	return 1
}

// awkward are values that decoders, validators and stores trip over.
var awkward = []any{nil, true, -1, 0, json.Number("1e999"), json.Number("18446744073709551616"), json.Number("0.1"), "", "\x00", "a\nb", "\u202e",
	"\ufffd", "%00", "../..", "truck-17", "away-1", "30d", "1s", "-1s", "9999999h", "5", []any{}, []any{nil}, []any{"truck-17", "truck-17"}, map[string]any{},
	map[string]any{"": ""}, map[string]any{"a/b~c": map[string]any{}}, strings.Repeat("x", 300), strings.Repeat("y", 257<<10)}

// twist replaces one member of a JSON object, at any depth, or takes it away. 0,
// and a body that is no object, stay as they are.
func twist(body []byte, pick uint16) []byte {
	var o map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if pick == 0 || dec.Decode(&o) != nil || len(o) == 0 {
		return body
	}
	at, what := o, int(pick)/8
	for n := int(pick) % 8; ; n++ {
		names := slices.Sorted(maps.Keys(at))
		name := names[n%len(names)]
		if below, ok := at[name].(map[string]any); ok && len(below) > 0 && what%2 == 0 {
			at, what = below, what/2
			continue
		}
		if what %= len(awkward) + 1; what == len(awkward) {
			delete(at, name)
		} else {
			at[name] = awkward[what]
		}
		break
	}
	twisted, err := json.Marshal(o)
	if err != nil {
		return body // a number that is none
	}
	return twisted
}

// fuzzHarness is an API with a device that answers and one that is away with
// something queued; waits are short.
func fuzzHarness(t *testing.T) *harness {
	h := newHarnessOn(t, gateway.Config{OnlineWait: 20 * time.Millisecond}, func(c *Config) {
		c.MaxWait, c.MaxBulkLines = 20*time.Millisecond, 64
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			w.WriteHeader(http.StatusOK)
		})
	})
	h.device("truck-17", gatewaytest.Options{Hello: gateway.Hello{Labels: map[string]string{"model": "x2"}, Groups: []string{"fleet"}}})
	h.known("away-1")
	_, err := h.gateway.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{Client: "away-1"}, Payload: []byte("queued")})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// attempt is one request.
type attempt struct {
	op     operation
	url    *url.URL
	header http.Header
	body   []byte
}

func newAttempt(op operation, id, query, headers string, body []byte) *attempt {
	a := &attempt{op: op, header: http.Header{}, body: body}
	path := strings.ReplaceAll(op.path, "{id}", id)
	a.url = &url.URL{Path: path, RawPath: strings.ReplaceAll(op.path, "{id}", url.PathEscape(id)), RawQuery: query}
	for line := range strings.SplitSeq(headers, "\n") {
		name, value, _ := strings.Cut(line, ":")
		name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		// net/http lets no other names and values through.
		if plainToken(name, 64) && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			a.header.Add(name, value)
		}
	}
	return a
}

func (a *attempt) request(ctx context.Context) *http.Request {
	r := httptest.NewRequestWithContext(ctx, a.op.method, "http://localhost/", nil)
	r.URL, r.Header, r.RequestURI = a.url, a.header.Clone(), a.url.RequestURI()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(a.body)), int64(len(a.body))
	return r
}

// try sends the request and judges the answer. An event stream is left after a
// moment.
func (a *attempt) try(h *harness) {
	h.t.Helper()
	patience := time.Minute
	if a.op.path == "/v1/events" {
		patience = 5 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	w := newRecorder()
	h.handler.ServeHTTP(w, a.request(ctx))
	if w.Code == statusCallerGone {
		return
	}
	got := answer{t: h.t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	if a.op.method == http.MethodHead {
		got.body = nil // net/http does not send it
	}
	for _, complaint := range a.judge(got) {
		h.t.Errorf("%s: %d %s\n%s", a, got.status, complaint, clip(got.body))
	}
}

// judge returns what is wrong with an answer.
func (a *attempt) judge(got answer) (complaints []string) {
	if got.status >= 500 {
		complaints = append(complaints, "is a failure of the server")
	}
	if got.status >= 400 {
		return append(complaints, a.judgeRefusal(got)...)
	}
	return append(complaints, a.judgeAnswer(got)...)
}

// general are the refusals that the description has under "default": what
// stands in front of every operation.
var general = []problem.Kind{problem.CrossOrigin, problem.HostNotAllowed, problem.RouteNotFound, problem.MethodNotAllowed, problem.RateLimited}

func (a *attempt) judgeRefusal(got answer) []string {
	documented := a.op.spec.Responses.Status(got.status) != nil
	if a.op.method == http.MethodHead {
		if documented || got.status == problem.CrossOrigin.Status() {
			return nil
		}
		return []string{"is not documented"}
	}
	if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
		return []string{fmt.Sprintf("comes as %q", ct)}
	}
	var p problem.Problem
	if err := json.Unmarshal(got.body, &p); err != nil {
		return []string{err.Error()}
	}
	name := problem.Kind(strings.TrimPrefix(p.Type, problem.Path))
	if name.Status() != got.status || p.Status != got.status || p.Detail == "" {
		return []string{"is not in the table of problems"}
	}
	if !documented && !slices.Contains(general, name) {
		return []string{"is not documented"}
	}
	return nil
}

func (a *attempt) judgeAnswer(got answer) []string {
	response := a.op.spec.Responses.Status(got.status)
	if response == nil {
		return []string{"is not documented"}
	}
	mediaType, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	content := response.Value.Content.Get(mediaType)
	switch {
	case len(got.body) == 0:
		return nil
	case content == nil:
		return []string{fmt.Sprintf("is not documented as %q", mediaType)}
	case mediaType == "application/json":
		return judgeJSON(content.Schema.Value, got.body)
	case mediaType == "application/x-ndjson" && a.op.path == "/v1/messages/bulk":
		return judgeLines(content.Schema.Value, got.body)
	}
	return nil
}

func judgeJSON(schema *openapi3.Schema, data []byte) []string {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return []string{err.Error()}
	}
	if err := schema.VisitJSON(v, openapi3.VisitAsResponse(), openapi3.MultiErrors()); err != nil {
		return []string{"is not as described: " + err.Error()}
	}
	return nil
}

// judgeLines holds each line of a bulk answer but the last one, the summary, to
// its description.
func judgeLines(schema *openapi3.Schema, data []byte) (complaints []string) {
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	for _, line := range lines[:len(lines)-1] {
		complaints = append(complaints, judgeJSON(schema, line)...)
		if bytes.Contains(line, []byte(`"status":5`)) {
			complaints = append(complaints, "has a line that is a failure of the server")
		}
	}
	if !bytes.Contains(lines[len(lines)-1], []byte(`"done":`)) {
		complaints = append(complaints, "has no summary")
	}
	return complaints
}

func (a *attempt) String() string {
	return fmt.Sprintf("%s %s %v %s", a.op.method, a.url.RequestURI(), a.header, clip(a.body))
}

func clip(b []byte) string {
	if len(b) > 500 {
		return string(b[:500]) + "…"
	}
	return string(b)
}

// The judge sees what it is there for: each of these answers is wrong in one
// way.
func TestFuzzJudge(t *testing.T) {
	ops := operations(t)
	of := func(method, path string) *attempt {
		i := slices.IndexFunc(ops, func(o operation) bool { return o.method == method && o.path == path })
		return newAttempt(ops[i], "truck-17", "", "", nil)
	}
	list, bulk := of("GET", "/v1/clients"), of("POST", "/v1/messages/bulk")
	refusal, success := "application/problem+json", "application/json"
	for _, tt := range []struct {
		name    string
		attempt *attempt
		status  int
		content string
		body    string
	}{
		{"a 500", list, 500, refusal, `{"type":"/docs/problems/internal","title":"x","status":500,"detail":"x"}`},
		{"a refusal as text", list, 400, "text/plain", "no"},
		{"a type that nobody knows", list, 400, refusal, `{"type":"/docs/problems/none","title":"x","status":400,"detail":"x"}`},
		{"a status that is not its type's", list, 400, refusal, `{"type":"/docs/problems/internal","title":"x","status":400,"detail":"x"}`},
		{"a refusal that is not listed", list, 409, refusal, `{"type":"/docs/problems/already-final","title":"x","status":409,"detail":"x"}`},
		{"a success that is not listed", list, 201, success, `{"items":[]}`},
		{"a media type that is not listed", list, 200, "text/html", `<html>`},
		{"a member of another type", list, 200, success, `{"items":7}`},
		{"no JSON", list, 200, success, `{`},
		{"a bulk line of another type", bulk, 200, "application/x-ndjson", `{"line":"x","status":202}` + "\n" + `{"done":true}`},
		{"a bulk line that is a 5xx", bulk, 200, "application/x-ndjson", `{"line":1,"status":500}` + "\n" + `{"done":true}`},
		{"a bulk answer without its end", bulk, 200, "application/x-ndjson", `{"line":1,"status":202}`},
	} {
		got := answer{t: t, status: tt.status, header: http.Header{"Content-Type": {tt.content}}, body: []byte(tt.body)}
		if len(tt.attempt.judge(got)) == 0 {
			t.Errorf("%s was not seen", tt.name)
		}
	}
}
