package main

import (
	"maps"
	"math"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/api"
)

const (
	bearer      = "BearerAuth"
	problemRef  = "#/components/schemas/Problem"
	problemType = "application/problem+json"
	jsonType    = "application/json"
)

// examples are working request bodies by schema. A body that a tool derives from
// the schema alone would set members that exclude each other.
var examples = map[string]any{
	"PushOne":           map[string]any{"text": "hello"},
	"PushMany":          map[string]any{"to": map[string]any{"client": "demo"}, "text": "hello"},
	"BulkLine":          map[string]any{"to": map[string]any{"client": "demo"}, "text": "hello", "key": "row-1"},
	"KeyCreate":         map[string]any{"name": "backend", "scopes": []any{"messages:write"}, "prefix": "demo", "expires_in": "90d"},
	"ClientCreate":      map[string]any{"id": "truck-17", "labels": map[string]any{"site": "north"}, "groups": []any{"fleet-a"}},
	"DeviceTokenCreate": map[string]any{"expires_in": "90d", "note": "rack 3"},
	"TraceStart":        map[string]any{"for": "10m"},
	"ClientPatch":       map[string]any{"labels": map[string]any{"site": "north"}, "groups": []any{"fleet-a"}},
	"WebhookCreate":     map[string]any{"url": "http://127.0.0.1:9000/hook", "types": []any{"message.received"}},
	"WebhookPatch":      map[string]any{"state": "paused"},
	"WebhookReplay":     map[string]any{"since": "1h"},
	"ConsumerPut":       map[string]any{"types": []any{"message.received"}, "start": "earliest"},
	"ConsumerAck":       map[string]any{"through": "1763800000000017", "lease": "XYY6QKUODB3FPSFWHE3KK4FDLB"},
	"SimulatorPut":      map[string]any{"count": 3, "profile": "mixed"},
}

// descriptions describe schemas that members refer to. OpenAPI 3.0 ignores a
// description beside a reference.
var descriptions = map[string]string{
	"StoreStats":    "The contents of the store.",
	"Audience":      "The recipients of a message: exactly one member is set.",
	"LastClose":     "How the last connection ended; absent while the client is online.",
	"SessionLimits": "Bounds of this server.",
	"Counts":        "The number of deliveries of a message in each state.",
	"Uplink":        "A payload that a device has sent, stored before it was acked.",
	"Rates":         "Numbers a second, over the last minute.",
	"Problem":       "The reason why a request was refused or failed (RFC 9457).",
	"Disk":          "The file system of the store; absent if its size is not known.",
	"SessionKey":    "The caller's key; absent while the API is open.",
	"AckLatency":    "The time from the last transmission of a delivery to its ack, over the last minute; absent without an ack.",
	"ClientFacts":   "The facts about a client's presence. Those that do not apply are absent.",
	"MessageFacts":  "The facts about a delivery. Those that do not apply are absent.",
	"WhyRefused":    "The refused registrations of a client.",
	"WhyUplinks":    "The uplinks of a client that were answered retry later because a share of the store is used up.",
	"WhySample":     "The reasons of some deliveries of a message to many.",
}

// lines are the schemas of the lines of answers that are one object otherwise.
var lines = map[string]string{"Timeline": "TimelineEntry"}

// alternatives are schemas with exactly one member set. Swagger 2.0 cannot
// express that.
var alternatives = []string{"BulkAnswer", "PushAnswer"}

// amend adds the parts that Swagger 2.0 cannot express.
func amend(doc *openapi3.T) {
	doc.OpenAPI = "3.0.3"
	doc.Servers = openapi3.Servers{{URL: "/"}}
	doc.Components.SecuritySchemes = openapi3.SecuritySchemes{bearer: {Value: &openapi3.SecurityScheme{
		Type: "http", Scheme: "bearer", Description: "An API key (`lwk_…`), if the server has keys. Each call names the scope that the key must have.",
	}}}
	doc.Tags = tags
	addHeaders(doc)
	doc.Security = openapi3.SecurityRequirements{{bearer: {}}, {}}
	for name, schema := range doc.Components.Schemas {
		amendSchema(schema.Value)
		if text, ok := descriptions[name]; ok {
			schema.Value.Description = text
		}
	}
	unionOfEvents(doc.Components.Schemas)
	addEnums(doc.Components.Schemas)
	for _, name := range []string{"ClientPatch", "WebhookPatch"} {
		if patch := doc.Components.Schemas[name]; patch != nil {
			amendPatch(patch.Value)
		}
	}
	for _, name := range alternatives {
		if s := doc.Components.Schemas[name]; s != nil {
			s.Value = oneOf(s.Value)
		}
	}
	for _, s := range doc.Components.Schemas {
		widen(s)
	}
	addBounds(doc)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			amendOperation(op, method, path)
		}
	}
}

// amendSchema lets members called json have any JSON value. A member that refers
// to a schema becomes a plain reference, because generators would invent a name
// for a separate schema.
func amendSchema(s *openapi3.Schema) {
	for name, p := range s.Properties {
		if p.Value != nil && len(p.Value.AllOf) == 1 {
			s.Properties[name] = p.Value.AllOf[0]
		}
	}
	if any := s.Properties["json"]; any != nil {
		any.Value = &openapi3.Schema{Description: "Any JSON value."}
	}
}

// widen gives the integers below s that may need more than 32 bits the format int64:
// generators make int32 of an integer without a format.
func widen(s *openapi3.SchemaRef) {
	if s == nil || s.Ref != "" || s.Value == nil {
		return
	}
	v := s.Value
	if v.Type.Is("integer") && v.Format == "" && (v.Max == nil || *v.Max > math.MaxInt32) {
		v.Format = "int64"
	}
	for _, p := range v.Properties {
		widen(p)
	}
	widen(v.Items)
	widen(v.AdditionalProperties.Schema)
}

// oneOf is a schema for exactly one of the members of s.
func oneOf(s *openapi3.Schema) *openapi3.Schema {
	choice := &openapi3.Schema{Description: s.Description}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		choice.OneOf = append(choice.OneOf, s.Properties[name])
	}
	return choice
}

// amendPatch allows the nulls of a merge patch.
func amendPatch(s *openapi3.Schema) {
	for name, p := range s.Properties {
		p.Value.Nullable = name != "url" && name != "state"
	}
	if labels := s.Properties["labels"]; s.Properties["groups"] != nil && labels.Value.AdditionalProperties.Schema != nil {
		labels.Value.AdditionalProperties.Schema.Value.Nullable = true
	}
}

func amendOperation(op *openapi3.Operation, method, route string) {
	if !strings.HasPrefix(route, "/v1/") && route != "/metrics" {
		op.Security = openapi3.NewSecurityRequirements() // probes and documents
	}
	if scope, ok := op.Extensions["x-scope"].(string); ok {
		amendGuarded(op, scope)
	}
	addProblems(op, api.Problems()[method+" "+route])
	for code, response := range op.Responses.Map() {
		if response.Value == nil {
			continue
		}
		if status, err := strconv.Atoi(code); err == nil {
			amendResponse(response.Value, method, status)
		}
	}
	if method != "HEAD" {
		op.Responses.Set("default", anyProblem())
	}
	amendHeaders(op)
	for _, p := range op.Parameters {
		widen(p.Value.Schema)
		if p.Value.In == "path" && p.Value.Name == "id" && strings.HasPrefix(route, "/v1/clients/") {
			p.Value.Example = "demo" // the page shows how to start this simulated device
		}
	}
	if op.RequestBody != nil {
		amendBody(op.RequestBody.Value)
	}
}

// amendGuarded adds the scope of every call that needs a key.
func amendGuarded(op *openapi3.Operation, scope string) {
	if op.Description != "" {
		op.Description += "\n\n"
	}
	op.Description += "Scope of the API key: `" + scope + "`."
}

// addProblems adds a response for each status of a problem, with the types that
// it may have: in words, and as x-problems.
func addProblems(op *openapi3.Operation, byStatus map[int][]string) {
	for status, types := range byStatus {
		var names []string
		for _, t := range types {
			names = append(names, "`"+path.Base(t)+"`")
		}
		r := anyProblem()
		text := http.StatusText(status) + ": " + strings.Join(names, ", ")
		r.Value.Description = &text
		r.Value.Extensions = map[string]any{"x-problems": types}
		op.Responses.Set(strconv.Itoa(status), r)
	}
}

// anyProblem stands for the refusals that every call may get: a foreign origin or
// host, a limit, a defect of the server.
func anyProblem() *openapi3.ResponseRef {
	media := &openapi3.MediaType{Schema: openapi3.NewSchemaRef(problemRef, nil)}
	return &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription("Any other problem").WithContent(openapi3.Content{problemType: media})}
}

func amendResponse(r *openapi3.Response, method string, status int) {
	if method == "HEAD" {
		r.Content = nil
		return
	}
	for _, media := range r.Content {
		if media.Schema == nil {
			continue
		}
		if status >= 400 && media.Schema.Ref == problemRef {
			r.Content = openapi3.Content{problemType: media}
			return
		}
	}
	if media := r.Content["application/x-ndjson"]; media != nil && media.Schema != nil {
		if line, ok := lines[strings.TrimPrefix(media.Schema.Ref, "#/components/schemas/")]; ok {
			r.Content["application/x-ndjson"] = &openapi3.MediaType{Schema: openapi3.NewSchemaRef("#/components/schemas/"+line, nil)}
		}
	}
	// Of a payload, only its media type is known.
	if r.Content["application/octet-stream"] != nil {
		if media := r.Content[jsonType]; media != nil {
			r.Content[jsonType] = openapi3.NewMediaType().WithSchema(&openapi3.Schema{Description: "Any JSON value; of a range a part of its text."})
		}
		if media := r.Content["text/plain"]; media != nil {
			r.Content["text/plain"] = openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema())
		}
	}
	// Each event is an object; the stream around it is text.
	if media := r.Content["text/event-stream"]; media != nil {
		r.Content["text/event-stream"] = openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema())
	}
}

// amendBody gives a JSON body its example, and every other content type the bytes
// as its schema.
func amendBody(b *openapi3.RequestBody) {
	_, envelope := b.Content[jsonType]
	for name, media := range b.Content {
		switch {
		case strings.HasSuffix(name, "json") && media.Schema != nil:
			example := examples[strings.TrimPrefix(media.Schema.Ref, "#/components/schemas/")]
			b.Content[name] = &openapi3.MediaType{Schema: media.Schema, Example: example}
		case envelope && name == "application/octet-stream":
			b.Content[name] = openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema().WithFormat("binary"))
		case envelope:
			b.Content[name] = openapi3.NewMediaType().WithSchema(openapi3.NewStringSchema())
		}
	}
}
