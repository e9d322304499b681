package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// headers are the headers of answers, each described once.
var headers = map[string]struct {
	text   string
	schema *openapi3.Schema
}{
	"X-Request-Id":         {"the id that the server gave the request, as in its log and in instance of a problem; the log has the caller's own X-Request-Id beside it", openapi3.NewStringSchema()},
	"Retry-After":          {"seconds to wait before trying again", openapi3.NewIntegerSchema()},
	"RateLimit":            {"of a key with a rate: r requests are left, and the full quota in t seconds", openapi3.NewStringSchema()},
	"RateLimit-Policy":     {"of a key with a rate: it may send q requests in w seconds", openapi3.NewStringSchema()},
	"Idempotency-Replayed": {"true: an earlier request with the key made this message; this is its current state", openapi3.NewStringSchema()},
	"Preference-Applied":   {"the wait of Prefer that the server applies", openapi3.NewStringSchema()},
	"Link":                 {"rel=next: the next page, if there is one; rel=prev: the page before", openapi3.NewStringSchema()},
	"WWW-Authenticate":     {"how to authenticate, and the missing scope", openapi3.NewStringSchema()},
	"Content-Disposition":  {"attachment, with a name for the file", openapi3.NewStringSchema()},
	"Accept-Ranges":        {"bytes: the call takes Range", openapi3.NewStringSchema()},
	"ETag":                 {"of the payload, for If-Range, If-Match and If-None-Match", openapi3.NewStringSchema()},
	"Content-Range":        {"the part that the answer has, and the length of the whole", openapi3.NewStringSchema()},
	"Set-Cookie":           {"removes the cookie of a session that has ended", openapi3.NewStringSchema()},
	"Accept-Encoding":      {"the content codings that requests may have", openapi3.NewStringSchema()},
	"Allow":                {"the methods of the path", openapi3.NewStringSchema()},
}

func addHeaders(doc *openapi3.T) {
	doc.Components.Headers = openapi3.Headers{}
	for name, h := range headers {
		header := &openapi3.Header{}
		header.Description, header.Schema = h.text, openapi3.NewSchemaRef("", h.schema)
		doc.Components.Headers[name] = &openapi3.HeaderRef{Value: header}
	}
}

// amendHeaders declares the headers of every answer of an operation.
func amendHeaders(op *openapi3.Operation) {
	_, guarded := op.Extensions["x-scope"]
	for code, response := range op.Responses.Map() {
		names := []string{"X-Request-Id"}
		if guarded {
			names = append(names, "RateLimit", "RateLimit-Policy")
		}
		switch status, _ := strconv.Atoi(code); {
		case status == 0: // every other problem
			names = append(names, "Retry-After", "WWW-Authenticate", "Accept-Encoding", "Allow")
		case status == 401:
			names = append(names, "WWW-Authenticate", "Set-Cookie")
		case status == 403:
			names = append(names, "WWW-Authenticate")
		case status == 304:
			names = append(names, "ETag")
		case status == 416:
			names = append(names, "Content-Range")
		case status == 415:
			names = append(names, "Accept-Encoding")
		case status == 409, status == 429, status == 503:
			names = append(names, "Retry-After")
		case status < 300:
			names = append(names, successHeaders(op)...)
			if response.Value.Content["application/octet-stream"] != nil {
				names = append(names, "Content-Disposition", "Accept-Ranges", "ETag")
			}
			if status == 206 {
				names = append(names, "Content-Range")
			}
		}
		r := response.Value
		if r.Headers == nil {
			r.Headers = openapi3.Headers{}
		}
		for _, name := range names {
			r.Headers[name] = &openapi3.HeaderRef{Ref: "#/components/headers/" + name}
		}
	}
}

// successHeaders returns the headers of a success; they follow from the
// parameters and the answer of the operation.
func successHeaders(op *openapi3.Operation) (names []string) {
	for _, p := range op.Parameters {
		switch p.Value.Name {
		case "Prefer":
			names = append(names, "Preference-Applied")
		case "Idempotency-Key":
			names = append(names, "Idempotency-Replayed")
		case "cursor":
			names = append(names, "Link")
		}
	}
	return names
}

// tags are the parts of the API in reading order.
var tags = openapi3.Tags{
	{Name: "clients", Description: "Devices and programs with a connection"},
	{Name: "messages", Description: "Push messages and read their state"},
	{Name: "events", Description: "Events as they happen"},
	{Name: "webhooks", Description: "Events that are posted to a backend"},
	{Name: "consumers", Description: "Events that a backend pulls and acks"},
	{Name: "uplinks", Description: "Payloads from devices"},
	{Name: "keys", Description: "Keys of the API: scopes, limits, rotation"},
	{Name: "simulator", Description: "Simulated devices, to try the gateway without real ones"},
	{Name: "system", Description: "Probes, totals, version"},
}

// pathOrder returns the paths by tag.
func pathOrder(paths *openapi3.Paths) []string {
	rank := func(path string) int {
		for _, op := range paths.Value(path).Operations() {
			if i := slices.IndexFunc(tags, func(t *openapi3.Tag) bool { return slices.Contains(op.Tags, t.Name) }); i >= 0 {
				return i
			}
		}
		return len(tags)
	}
	all := slices.Sorted(maps.Keys(paths.Map()))
	slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	return all
}

// methodOrder is the usual order of the methods of a path.
var methodOrder = strings.Fields("get head post put patch delete")
