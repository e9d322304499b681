package main

import (
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// ids and names are the characters of ids of clients and of names of groups, and those of
// names of labels and consumers. A generator of clients may check them.
var (
	ids   = regexp.MustCompile(`^[A-Za-z0-9._:@-]+$`)
	names = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// bound adds the bounds of a value.
type bound func(*openapi3.Schema)

// text bounds a text to characters and a pattern, or to characters alone. The handlers
// count bytes.
func text(most int64, of *regexp.Regexp) bound {
	return func(s *openapi3.Schema) {
		s.MaxLength = new(uint64(most))
		if of != nil && !s.Nullable { // a merge patch takes some members away by ""
			s.Pattern = of.String()
		}
	}
}

// entries bounds a map of texts.
func entries(most, value int) bound {
	return func(s *openapi3.Schema) {
		s.MaxProps = new(uint64(most))
		if value > 0 {
			s.AdditionalProperties.Schema.Value.MaxLength = new(uint64(value))
		}
	}
}

// each bounds the elements of a list.
func each(b bound) bound { return func(s *openapi3.Schema) { b(s.Items.Value) } }

// scopes names the scopes of API keys.
func scopes(s *openapi3.Schema) {
	for _, name := range apikey.ScopeNames() {
		s.Enum = append(s.Enum, name)
	}
}

// boundsOf has the bounds of members of bodies, which Swagger 2.0 or swag cannot express:
// by the name of the member, or by its schema and its name. A test of the package api
// compares them with the handlers.
var boundsOf = map[string]bound{
	"id":            text(128, ids),
	"client":        text(128, ids),
	"prefix":        text(128, ids),
	"clients":       each(text(128, ids)),
	"group":         text(gateway.MaxGroupName, ids),
	"groups":        each(text(gateway.MaxGroupName, ids)),
	"labels":        entries(gateway.MaxLabels, gateway.MaxLabelValue),
	"metadata":      entries(gateway.MaxMetadata, gateway.MaxMetadataVal),
	"headers":       entries(32, 0),
	"url":           text(2048, nil),
	"scopes":        each(scopes),
	"webhook name":  text(128, nil),
	"consumer name": text(64, names),
	"concurrency":   func(s *openapi3.Schema) { s.Min, s.Max, s.Format = new(1.0), new(64.0), "" },
}

// addBounds bounds the members of the bodies of requests, and the parameters.
func addBounds(doc *openapi3.T) {
	bounded := map[string]bool{}
	var visit func(s *openapi3.SchemaRef)
	visit = func(s *openapi3.SchemaRef) {
		name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
		if s.Ref == "" || bounded[name] {
			return
		}
		bounded[name] = true
		for member, p := range doc.Components.Schemas[name].Value.Properties {
			if member == "name" && strings.HasPrefix(name, "Webhook") {
				member = "webhook name"
			}
			if b := boundsOf[member]; b != nil && p.Ref == "" {
				b(p.Value)
			}
			visit(p)
		}
	}
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, p := range op.Parameters {
				name := p.Value.Name
				switch {
				case name == "id" && (p.Value.In != "path" || !strings.HasPrefix(path, "/v1/clients/")):
					continue // of another kind, or a list
				case name == "name":
					name = "consumer name"
				}
				if b := boundsOf[name]; b != nil {
					b(p.Value.Schema.Value)
				}
			}
			if op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Value.Content {
				if media.Schema != nil {
					visit(media.Schema)
				}
			}
		}
	}
}
