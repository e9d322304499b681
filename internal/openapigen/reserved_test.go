package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// reserved are the names that generators declare beside the schemas: those of
// oapi-codegen (client, server, its options) and of openapi-typescript.
var reserved = []string{
	"Client", "ClientInterface", "ClientOption", "ClientWithResponses", "ClientWithResponsesInterface",
	"HttpRequestDoer", "RequestEditorFn", "NewClient", "NewClientWithResponses", "WithHTTPClient", "WithBaseURL", "WithRequestEditorFn",
	"ServerInterface", "ServerInterfaceWrapper", "ServerOptions", "MiddlewareFunc", "Handler", "HandlerFromMux", "HandlerFromMuxWithBaseURL", "HandlerWithOptions",
	"ChiServerOptions", "GorillaServerOptions", "StdHTTPServerOptions", "GinServerOptions", "FiberServerOptions", "EchoRouter", "ServeMux", "Unimplemented",
	"UnescapedCookieParamError", "UnmarshalingParamError", "RequiredParamError", "RequiredHeaderError", "InvalidParamFormatError", "TooManyValuesForParamError",
	"StrictServerInterface", "StrictHandlerFunc", "StrictMiddlewareFunc", "StrictHTTPServerOptions", "NewStrictHandler", "NewStrictHandlerWithOptions",
	"GetSpec", "GetSwagger", "GetSpecJSON", "PathToRawSpec", "BearerAuthScopes",
	"paths", "components", "operations", "webhooks", "$defs", "external", "WithRequired", "OneOf", "XOR",
}

// derived are the endings of the names that oapi-codegen makes of an operation.
var derived = []string{"Params", "Response", "ResponseObject", "RequestObject", "RequestBody", "JSONBody", "JSONRequestBody",
	"TextBody", "TextRequestBody", "FormdataBody", "FormdataRequestBody", "MultipartBody", "MultipartRequestBody",
	"ApplicationMergePatchPlusJSONBody", "ApplicationMergePatchPlusJSONRequestBody", "ApplicationMergePatchJSONRequestBody"}

// generated returns the names that generators declare for doc, each with its
// source.
func generated(doc *openapi3.T) map[string]string {
	names := map[string]string{}
	for _, name := range reserved {
		names[name] = "a generator's own type"
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			id := exported(op.OperationID)
			for _, ending := range derived {
				names[id+ending] = "operation " + op.OperationID
			}
			for _, p := range op.Parameters {
				names[id+"Params"+exported(p.Value.Name)] = "parameter " + p.Value.Name + " of " + op.OperationID
			}
			names["New"+id+"Request"], names["Parse"+id+"Response"] = "operation "+op.OperationID, "operation "+op.OperationID
		}
	}
	for schema, s := range doc.Components.Schemas {
		for member, p := range s.Value.Properties {
			if p.Ref == "" { // an inline enum or object becomes a type
				names[schema+exported(member)] = "member " + member + " of " + schema
			}
		}
	}
	return names
}

// exported is name as oapi-codegen writes it in Go.
func exported(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == ' ' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func readDescription(t *testing.T) *openapi3.T {
	t.Helper()
	data, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// A schema that has the name of a generator's own type makes code that does not
// compile: oapi-codegen declares a Client.
func TestNoSchemaHasAGeneratedName(t *testing.T) {
	doc := readDescription(t)
	names := generated(doc)
	for _, want := range []string{"ListClientsParams", "PushOneJSONRequestBody", "GetClientResponse", "ListClientsParamsQueuedGt", "ClientConnectedEventType"} {
		if names[want] == "" {
			t.Fatalf("%s is not among the generated names", want)
		}
	}
	var schemas []string
	for name := range doc.Components.Schemas {
		if made := names[name]; made != "" {
			t.Errorf("schema %s has the name that generators give to %s", name, made)
		}
		schemas = append(schemas, name)
	}
	slices.Sort(schemas)
	for i, name := range schemas[1:] {
		if strings.EqualFold(name, schemas[i]) {
			t.Errorf("schemas %s and %s differ in case alone", schemas[i], name)
		}
	}
}
