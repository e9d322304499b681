package api

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/longwire/longwire/api/internal/problem"
)

func TestOpenAPIAnswersLoopbackNamesOnly(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Hosts = []string{"gw.internal", "GW2.Internal", "gw3.internal:8080", "fd00::1", "10.0.0.8"}
	})
	for _, host := range []string{"localhost:8080", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080", "[::1]", "gw.internal:8080", "localhost.",
		"127.0.0.2:8080", "127.8.9.1", "[::ffff:127.0.0.1]:8080", "gw2.internal", "gw3.internal", "[fd00::1]:8080", "10.0.0.8:8080"} {
		h.call("GET", "/v1/clients", "", "Host", host).want(200)
	}
	for _, host := range []string{"evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "10.0.0.7:8080", "0.0.0.0", "[::]", "127.1", "2130706433", "[::2]", ""} {
		r := newRequest(t.Context(), "GET", "/v1/clients", "")
		r.Host = host
		w := newRecorder()
		h.handler.ServeHTTP(w, r)
		answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}.wantProblem(403, problem.HostNotAllowed)
	}
	for _, probe := range []string{"/livez", "/readyz", "/healthz"} { // load balancers send any Host, or none
		for _, host := range []string{"10.0.0.7:8080", ""} {
			r := newRequest(t.Context(), "GET", probe, "")
			r.Host = host
			w := newRecorder()
			h.handler.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Errorf("%s as %q = %d, want 200", probe, host, w.Code)
			}
		}
	}
	any := newHarness(t, func(c *Config) { c.AnyHost = true })
	any.call("GET", "/v1/clients", "", "Host", "10.0.0.7:8080").want(200)
	keyed := newHarness(t, func(c *Config) { c.Authorizer = APIKeys("lwk_k") })
	keyed.call("GET", "/v1/clients", "", "Host", "gw.example", "X-API-Key", "lwk_k").want(200)
}

func TestBrowsersOfOtherOriginsAreRefused(t *testing.T) {
	h := newHarness(t)
	h.known("b")
	h.call("POST", "/v1/clients/b/messages", "x", "Sec-Fetch-Site", "cross-site").wantProblem(403, problem.CrossOrigin)
	h.call("POST", "/v1/clients/b/messages", "x", "Origin", "https://evil.example").wantProblem(403, problem.CrossOrigin)
	h.call("DELETE", "/v1/clients/b", "", "Origin", "https://evil.example").wantProblem(403, problem.CrossOrigin)
	h.call("POST", "/v1/clients/b/messages", "x", "Sec-Fetch-Site", "same-origin", "Origin", "http://localhost").want(202)
}

func TestAPIKeys(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Authorizer = APIKeys("lwk_one", "lwk_two")
		c.Metrics = http.NotFoundHandler()
	})
	for _, target := range []string{"/v1/clients", "/v1/stats", "/metrics", "/v1/events"} {
		a := h.call("GET", target, "")
		a.wantProblem(401, problem.Unauthenticated)
		if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="longwire"` {
			t.Errorf("%s: WWW-Authenticate %q", target, got)
		}
	}
	for _, target := range []string{"/livez", "/readyz", "/version", "/openapi.json", "/swagger/", "/"} {
		h.call("GET", target, "").want(200)
	}
	for _, bad := range []string{"Bearer lwk_three", "Bearer ", "Basic lwk_one", "lwk_one", "Bearer lwk_on", "Bearer lwk_one2"} {
		h.call("GET", "/v1/clients", "", "Authorization", bad).wantProblem(401, problem.Unauthenticated)
	}
	h.call("GET", "/v1/clients", "", "Authorization", "Bearer lwk_one").want(200)
	h.call("GET", "/v1/clients", "", "X-API-Key", "lwk_two").want(200)
	h.call("GET", "/v1/clients", "", "X-API-Key", "lwk_three").wantProblem(401, problem.Unauthenticated)
}

// Two programs on the way could each take another one of several keys.
func TestACallShowsOneKey(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Authorizer = APIKeys("lwk_one", "lwk_two")
		c.Metrics = http.NotFoundHandler()
	})
	cookie, _, _ := strings.Cut(h.call("POST", "/v1/session", "", "Authorization", "Bearer lwk_one").want(200).header.Get("Set-Cookie"), ";")
	for _, target := range []string{"/v1/clients", "/v1/session", "/metrics"} {
		for _, headers := range []http.Header{
			{"Authorization": {"Bearer lwk_one", "Bearer lwk_two"}},
			{"Authorization": {"Bearer lwk_one", "Bearer lwk_one"}},
			{"Authorization": {"Bearer lwk_one"}, "X-Api-Key": {"lwk_two"}},
			{"Authorization": {"Bearer lwk_one"}, "X-Api-Key": {"wrong"}},
			{"Authorization": {"Basic lwk_one"}, "X-Api-Key": {"lwk_one"}},
			{"X-Api-Key": {"lwk_one", "lwk_two"}},
			{"Authorization": {"", "Bearer lwk_one"}, "X-Api-Key": {"lwk_two"}},
			{"X-Api-Key": {"lwk_one", "lwk_one"}, "Cookie": {cookie}, "Longwire-Console": {"1"}},
		} {
			r := newRequest(t.Context(), "GET", target, "")
			maps.Copy(r.Header, headers)
			w := newRecorder()
			h.handler.ServeHTTP(w, r)
			a := answer{t: t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
			a.check(r)
			a.wantProblem(400, problem.InvalidParameter)
		}
	}
	h.call("GET", "/v1/clients", "", "Authorization", "", "X-API-Key", "lwk_one").want(200)
	h.call("GET", "/v1/clients", "", "X-API-Key", "wrong", "Cookie", cookie, "Longwire-Console", "1").wantProblem(401, problem.Unauthenticated)
}

func TestSecurityHeaders(t *testing.T) {
	a := newHarness(t).call("GET", "/v1/clients", "").want(200)
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "application/json"} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
}

func TestReadinessNamesWhatIsWrong(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Ready = func() []Check {
			return []Check{{Name: "store", Err: errors.New("disk full")}, {Name: "devices"}}
		}
	})
	v := decode[Health](h.call("GET", "/readyz", "").want(503))
	if v.Status != "unavailable" || v.Checks[0].Detail != "disk full" || v.Checks[1].Status != "ok" {
		t.Errorf("got %+v, want the store named", v)
	}
	h.call("GET", "/healthz", "").want(503)
	h.call("HEAD", "/readyz", "").want(503)
	h.call("GET", "/livez", "").want(200)
}
