// Package guard decides which requests the API serves: the keys and scopes of callers
// (keys.go), the origins of web pages (origins.go), and the bounds of requests, rates, wrong
// keys, bodies and connections, one file for each. It knows no route and no gateway; a refusal
// is a problem.
package guard
