// Package api is the HTTP edge: each handler decodes a request, makes one call
// to the gateway and encodes the answer. It decides nothing about messages or
// clients. It owns the shape of requests and answers, their bounds, and the table
// that turns domain codes into problems (RFC 9457).
//
// Where to look: routes.go lists every route, internal/problem every problem type,
// pushbody.go the bodies of a push, bulk.go and events.go the two streams.
//
// # Bounds
//
// Every body, header, wait, list page, stream and line has a limit in Config or
// in a constant beside its use. A request beyond a limit gets a problem with a code.
package api

//go:generate go tool swag init --quiet --generalInfo spec.go --dir . --outputTypes json,yaml --output ../docs
//go:generate go run ../internal/openapigen -in ../docs/swagger.json -out ../docs/openapi.json
