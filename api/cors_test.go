package api

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
)

const app = "https://app.example"

func listed(c *Config) { c.Origins = []string{app, "http://localhost:3000"} }

func TestOriginsAreOffByDefault(t *testing.T) {
	h := newHarness(t)
	a := h.call("GET", "/v1/clients", "", "Origin", app).want(200)
	for name := range a.header {
		if len(name) > 15 && name[:15] == "Access-Control-" {
			t.Errorf("%s: %s", name, a.header.Get(name))
		}
	}
	h.call("OPTIONS", "/v1/clients", "", "Origin", app, "Access-Control-Request-Method", "GET").wantProblem(405, problem.MethodNotAllowed)
}

func TestListedOriginsMayCall(t *testing.T) {
	w := newWorld(t, listed)
	pre := w.call("OPTIONS", "/v1/clients/a-truck/messages", "", "Origin", app, "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,content-type").want(204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": app, "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
		"Access-Control-Allow-Headers": "Authorization, X-API-Key, Content-Type, Content-Encoding, Idempotency-Key, Prefer, Last-Event-ID, Range, If-Range, If-Match, If-None-Match, X-Request-Id",
		"Access-Control-Max-Age":       "3600", "Vary": "Origin", "Access-Control-Allow-Credentials": "",
	} {
		if got := pre.header.Get(name); got != want {
			t.Errorf("preflight: %s %q, want %q", name, got, want)
		}
	}
	a := w.as("unlimited", "POST", "/v1/clients/a-truck/messages", "x", "Origin", app, "Sec-Fetch-Site", "cross-site").want(202)
	if got := a.header.Get("Access-Control-Allow-Origin"); got != app || a.header.Get("Access-Control-Expose-Headers") == "" {
		t.Errorf("the answer allows %q, want %s, and names what may be read", got, app)
	}
	w.as("none", "GET", "/v1/clients", "", "Origin", app).wantProblem(401, problem.Unauthenticated)
}

// TestListedOriginsMayUseAllHeaders: those of requests that the description has, and those
// of answers, except for the cookie of a browser session.
func TestListedOriginsMayUseAllHeaders(t *testing.T) {
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, listed)
	pre := w.call("OPTIONS", "/v1/clients", "", "Origin", app, "Access-Control-Request-Method", "GET").want(204).header.Get("Access-Control-Allow-Headers")
	exposed := w.as("unlimited", "GET", "/v1/clients", "", "Origin", app).want(200).header.Get("Access-Control-Expose-Headers")
	has := func(list, name string) bool { return slices.Contains(strings.Split(list, ", "), name) }
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, p := range op.Parameters {
				if p.Value.In == "header" && !has(pre, p.Value.Name) {
					t.Errorf("%s %s: a request may not have %s", method, path, p.Value.Name)
				}
			}
			for _, answer := range op.Responses.Map() {
				for name := range answer.Value.Headers {
					if name != "Set-Cookie" && !has(exposed, name) {
						t.Errorf("%s %s: no page may read %s", method, path, name)
					}
				}
			}
		}
	}
}

// TestOnlyAPreflightIsAnsweredWithoutAKey: an OPTIONS or a header alone is none.
func TestOnlyAPreflightIsAnsweredWithoutAKey(t *testing.T) {
	w := newWorld(t, listed)
	w.call("OPTIONS", "/v1/clients", "", "Origin", app).wantProblem(405, problem.MethodNotAllowed)
	w.call("GET", "/v1/clients", "", "Origin", app, "Access-Control-Request-Method", "GET").wantProblem(401, problem.Unauthenticated)
	w.as("unlimited", "DELETE", "/v1/clients/a-truck", "", "Origin", app, "Access-Control-Request-Method", "GET").want(204)
}

func TestOtherOriginsMayNot(t *testing.T) {
	w := newWorld(t, listed)
	for _, origin := range []string{"https://evil.example", "https://app.example.evil", "http://app.example", "https://app.example:8443", "null", "HTTPS://APP.EXAMPLE"} {
		a := w.as("unlimited", "GET", "/v1/clients", "", "Origin", origin).want(200)
		if got := a.header.Get("Access-Control-Allow-Origin"); got != "" || a.header.Get("Vary") != "Origin" {
			t.Errorf("%s is allowed %q", origin, got)
		}
		w.call("OPTIONS", "/v1/clients", "", "Origin", origin, "Access-Control-Request-Method", "GET").wantProblem(405, problem.MethodNotAllowed)
		w.as("unlimited", "POST", "/v1/clients/a-truck/messages", "x", "Origin", origin, "Sec-Fetch-Site", "cross-site").wantProblem(403, problem.CrossOrigin)
	}
}

// TestPolicies has them word by word, so that a part that goes missing is seen.
// The browser test shows that the page works under its own.
func TestPolicies(t *testing.T) {
	const data = "default-src 'none'; frame-ancestors 'none'"
	const page = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; " +
		"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	const own = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
	w := newWorld(t)
	for target, want := range map[string]string{"/v1/clients": data, "/console/": own, "/console/index.html": own, "/console/theme.js": own, "/": data, "/none": data, "/openapi.json": data, "/metrics": data,
		"/swagger/": page, "/swagger/init.js": page, "/swagger/swagger-ui.css": page} {
		if got := w.as("unlimited", "GET", target, "").header.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	if got := w.call("GET", "/docs/problems/overloaded", "", "Accept", "text/html").header.Get("Content-Security-Policy"); got != data {
		t.Errorf("the page of a problem: %s, want %s", got, data)
	}
}

// TestEveryAnswerIsProtected: data, refusals, pages and unknown paths.
func TestEveryAnswerIsProtected(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{"/v1/clients", "/livez", "/none", "/", "/console/", "/console/theme.js", "/swagger/", "/swagger/init.js", "/docs/problems/rate-limited", "/metrics"} {
		h := w.as("unlimited", "GET", target, "").header
		csp := h.Get("Content-Security-Policy")
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" ||
			len(csp) < 18 || csp[:18] != "default-src 'none'" || h.Get("Cache-Control") == "" || h.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: %v", target, h)
		}
	}
	r := newRequest(t.Context(), "GET", "/v1/clients", "")
	r.TLS = &tls.ConnectionState{}
	rec := newRecorder()
	w.handler.ServeHTTP(rec, r)
	if got := rec.Header().Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("over TLS: Strict-Transport-Security %q", got)
	}
}

// TestAnAnswerByItsOriginSaysSo also if it depends on another header: a cache would give
// the answer for one origin to the others.
func TestAnAnswerByItsOriginSaysSo(t *testing.T) {
	w := newWorld(t, listed)
	for target, also := range map[string]string{"/": "Accept", "/console/": "Accept-Encoding", "/swagger/swagger-ui.css": "Accept-Encoding"} {
		a := w.as("none", "GET", target, "", "Origin", app).want(200)
		if got := a.header.Values("Vary"); !slices.Equal(got, []string{"Origin", also}) || a.header.Get("Access-Control-Allow-Origin") != app {
			t.Errorf("%s: Vary %q, want Origin and %s", target, got, also)
		}
	}
}
