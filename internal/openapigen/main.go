// Command openapigen turns the Swagger 2.0 description that swag writes into the
// OpenAPI 3.0.3 that the server shows. It adds the parts that 2.0 cannot express:
// bearer authentication, problem+json on errors, several kinds of body, which
// routes are public, working examples, and the lists of problem types and
// reasons.
//
//	openapigen -in swagger.json -out openapi.json
//
// The output depends only on the input and on those lists, so that CI can compare
// it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	in := flag.String("in", "", "Swagger 2.0 file (JSON)")
	out := flag.String("out", "", "OpenAPI 3.0.3 file to write")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "openapigen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	source, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	converted, err := convert(source)
	if err != nil {
		return fmt.Errorf("convert %s: %w", in, err)
	}
	return os.WriteFile(out, converted, 0o644)
}

func convert(source []byte) ([]byte, error) {
	var v2 openapi2.T
	if err := json.Unmarshal(source, &v2); err != nil {
		return nil, err
	}
	examples := examplesOf(&v2)
	doc, err := openapi2conv.ToV3(&v2)
	if err != nil {
		return nil, err
	}
	amend(doc)
	for p, example := range examples {
		doc.Paths.Value(p.path).GetOperation(p.method).Parameters.GetByInAndName(p.in, p.name).Example = example
	}
	compact, err := doc.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if err := check(compact); err != nil {
		return nil, err
	}
	if compact, err = inOrder(compact, pathOrder(doc.Paths)); err != nil {
		return nil, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, compact, "", "  "); err != nil {
		return nil, err
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// parameter names a parameter of an operation.
type parameter struct{ path, method, in, name string }

// examplesOf returns the examples of parameters. The conversion drops them, because
// Swagger 2.0 has none.
func examplesOf(doc *openapi2.T) map[parameter]any {
	found := make(map[parameter]any)
	for path, item := range doc.Paths {
		for method, op := range item.Operations() {
			for _, p := range op.Parameters {
				if example := p.Extensions["example"]; example != nil {
					found[parameter{path, method, p.In, p.Name}] = example
				}
			}
		}
	}
	return found
}

// inOrder writes the paths, and the methods of each, in reading order. The
// interactive page keeps it.
func inOrder(data []byte, paths []string) ([]byte, error) {
	var doc, byPath map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(doc["paths"], &byPath); err != nil {
		return nil, err
	}
	for path, item := range byPath {
		var byMethod map[string]json.RawMessage
		if err := json.Unmarshal(item, &byMethod); err != nil {
			return nil, err
		}
		byPath[path] = object(byMethod, methodOrder)
	}
	doc["paths"] = object(byPath, paths)
	return object(doc, []string{"openapi", "info", "servers", "tags", "security", "paths", "components"}), nil
}

// object writes the members named by order, then the others by name.
func object(members map[string]json.RawMessage, order []string) []byte {
	rest := slices.Sorted(maps.Keys(members))
	rest = slices.DeleteFunc(rest, func(name string) bool { return slices.Contains(order, name) })
	b := []byte{'{'}
	for _, name := range slices.Concat(order, rest) {
		if value, ok := members[name]; ok {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = strconv.AppendQuote(b, name)
			b = append(append(b, ':'), value...)
		}
	}
	return append(b, '}')
}

// check reads the result back and validates it, examples included.
func check(data []byte) error {
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return err
	}
	return doc.Validate(context.Background())
}
