package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/api/internal/problem"
)

// formed are members with a form of their own, such as a duration, of any length.
var formed = []string{"ttl", "for", "start", "retry_for", "settle", "timeout", "expires_in"}

// TestTheDescriptionHasTheBoundsOfBodies sends each member of each body at its bounds and
// beyond them: the description and the handlers must agree about both.
func TestTheDescriptionHasTheBoundsOfBodies(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{
		"POST /v1/clients", "PATCH /v1/clients/{id}", "POST /v1/clients/{id}/messages", "POST /v1/clients/{id}/trace", "POST /v1/messages",
		"POST /v1/webhooks", "PATCH /v1/webhooks/{id}", "PUT /v1/consumers/{name}", "POST /v1/keys", "PUT /v1/simulator",
	} {
		method, path, _ := strings.Cut(route, " ")
		for kind, media := range doc.Paths.Value(path).GetOperation(method).RequestBody.Value.Content {
			if !strings.HasSuffix(kind, "json") {
				continue
			}
			example := media.Example.(map[string]any)
			for pointer, s := range textsAndNumbers("", media.Schema.Value) {
				if s.Type.Is("array") && s.MaxItems == nil || s.AdditionalProperties.Schema != nil && s.MaxProps == nil {
					t.Errorf("%s: %s may have any number of entries", route, pointer)
				}
				for what, probe := range probesOf(pointer, s) {
					h := newHarness(t)
					h.known("a")
					id := "a"
					if strings.Contains(path, "webhooks") && method == "PATCH" {
						id = decode[Webhook](h.call("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`).want(201)).ID
					}
					body, err := json.Marshal(bodyWith(example, pointer, probe.value))
					if err != nil {
						t.Fatal(err)
					}
					a := h.call(method, strings.NewReplacer("{id}", id, "{name}", "c").Replace(path), string(body), "Content-Type", kind)
					if blamed(a, pointer) != probe.refused {
						t.Errorf("%s: %s %s: want it refused: %v, got %.300s", route, pointer, what, probe.refused, a.body)
					}
				}
			}
		}
	}
}

// TestTheDescriptionHasTheBoundsOfNames sends parameters that name something at their
// bounds and beyond them.
func TestTheDescriptionHasTheBoundsOfNames(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t)
	h.known("a")
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, p := range op.Parameters {
				s := p.Value.Schema.Value
				if s.MaxLength == nil || method == http.MethodDelete || op.RequestBody != nil {
					continue
				}
				for what, probe := range probesOf("", s) {
					target, query := strings.NewReplacer("{id}", "a", "{name}", "c").Replace(path), url.Values{}
					if op.Parameters.GetByInAndName("query", "follow") != nil {
						query.Set("follow", "false")
					}
					if text := probe.value.(string); p.Value.In == "path" {
						target = strings.Replace(path, "{"+p.Value.Name+"}", url.PathEscape(text), 1)
					} else if p.Value.In == "query" {
						query.Set(p.Value.Name, text)
					}
					a := h.call(method, target+"?"+query.Encode(), "", "Accept", "application/x-ndjson, application/json;q=0.5")
					if refused := a.status == 400; refused != probe.refused && (p.Value.In != "path" || !probe.refused || a.status != 404) {
						t.Errorf("%s %s: %s %s: %d, want it refused: %v: %.200s", method, path, p.Value.Name, what, a.status, probe.refused, a.body)
					}
				}
			}
		}
	}
}

// A filter in a query has as many entries as one in a body.
func TestAFilterOfEventsIsBounded(t *testing.T) {
	h := newHarness(t)
	for n, status := range map[int]int{32: 200, 33: 400} {
		query := url.Values{"follow": {"false"}}
		for name, v := range labeled(n) {
			query.Set("label."+name, v)
		}
		h.call("GET", "/v1/events?"+query.Encode(), "", "Accept", ndjson).want(status)
	}
	for n, status := range map[int]int{maxTypes: 200, maxTypes + 1: 400} {
		h.call("GET", "/v1/events?follow=false&types="+strings.Repeat("client.*,", n-1)+"client.*", "", "Accept", ndjson).want(status)
	}
}

// blamed reports whether an answer refuses the member or a part of it.
func blamed(a answer, pointer string) bool {
	a.t.Helper()
	return a.status >= 400 && slices.ContainsFunc(decode[problem.Problem](a).Errors, func(e problem.FieldError) bool {
		return e.Pointer == pointer || strings.HasPrefix(e.Pointer, pointer+"/")
	})
}

// textsAndNumbers returns the members of a schema by their pointers.
func textsAndNumbers(at string, s *openapi3.Schema) map[string]*openapi3.Schema {
	all := map[string]*openapi3.Schema{}
	for name, p := range s.Properties {
		if len(p.Value.Properties) > 0 {
			maps.Copy(all, textsAndNumbers(at+"/"+name, p.Value))
			continue
		}
		all[at+"/"+name] = p.Value
	}
	return all
}

// bodyWith returns a body with another value of a member, without members that it excludes.
func bodyWith(example map[string]any, pointer string, v any) map[string]any {
	body := maps.Clone(example)
	outer, inner, nested := strings.Cut(pointer[1:], "/")
	if nested {
		body[outer] = map[string]any{inner: v}
		return body
	}
	switch outer {
	case "json", "base64":
		delete(body, "text")
	case "group":
		delete(body, "prefix")
	case "rate":
		body["to"] = map[string]any{"all": true}
	}
	body[outer] = v
	return body
}

// probe is a value and whether it is beyond a bound.
type probe struct {
	value   any
	refused bool
}

// huge is above every bound of a text, a list or a map.
const huge = 5_000

// probesOf returns values at the bounds of a schema and beyond them. A schema without a
// bound takes all that is huge.
func probesOf(pointer string, s *openapi3.Schema) map[string]probe {
	p := map[string]probe{}
	switch {
	case s.Type.Is("string"):
		start := ""
		if pointer == "/url" {
			start = "http://127.0.0.1:9/"
		}
		for what, v := range texts(s, start) {
			p[what] = v
		}
		if s.MaxLength == nil && s.Enum == nil && s.Format == "" && !slices.Contains(formed, pointer[1:]) {
			p["huge"] = probe{strings.Repeat("a", huge), false}
		}
	case s.Type.Is("array"):
		most, name := huge, strings.TrimPrefix(pointer, "/") == "types"
		if s.MaxItems != nil {
			most = int(*s.MaxItems)
		}
		list := itemsOf(most + 1)
		for i := range list {
			if name {
				list[i] = "client.*"
			}
		}
		if s.MaxItems != nil {
			p["one too many"] = probe{list, true}
		}
		if s.Items.Value.Enum == nil {
			p["the most"] = probe{list[:most], false}
		}
		for what, v := range texts(s.Items.Value, "") {
			p["with one "+what] = probe{[]any{v.value}, v.refused}
		}
		if s.Items.Value.Enum != nil {
			p["with an unknown name"] = probe{[]string{"unknown"}, true}
		}
	case s.AdditionalProperties.Schema != nil:
		most := huge
		if s.MaxProps != nil {
			most = int(*s.MaxProps)
			p["one too many"] = probe{labeled(most + 1), true}
		}
		p["the most"] = probe{labeled(most), false}
		for what, v := range texts(s.AdditionalProperties.Schema.Value, "") {
			p["with a value "+what] = probe{map[string]any{"k": v.value}, v.refused}
		}
	case s.Type.Is("integer"):
		most := 1 << 40
		if s.Max != nil {
			most = int(*s.Max)
			p["above the maximum"] = probe{most + 1, true}
		}
		p["at the maximum"] = probe{most, false}
		if s.Min != nil {
			p["below the minimum"], p["at the minimum"] = probe{int(*s.Min) - 1, true}, probe{int(*s.Min), false}
		}
	}
	return p
}

// texts returns texts at the bounds of a schema and beyond them.
func texts(s *openapi3.Schema, start string) map[string]probe {
	p := map[string]probe{}
	if s.MaxLength != nil {
		n := int(*s.MaxLength) - len(start)
		p["too long"], p["as long as may be"] = probe{start + strings.Repeat("a", n+1), true}, probe{start + strings.Repeat("a", n), false}
	}
	if s.Pattern != "" {
		p["outside the pattern"] = probe{"a b", true}
	}
	return p
}

func itemsOf(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("i%d", i)
	}
	return list
}

func labeled(n int) map[string]string {
	m := make(map[string]string, n)
	for _, name := range itemsOf(n) {
		m[name] = "v"
	}
	return m
}
