package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// Bodies, parameters and names that are well-formed HTTP and mean harm.
func TestHostileRequests(t *testing.T) {
	alone(t, func(t *testing.T) {
		under(t, nil, []behaviour{
			{"bodies that are bombs", bodyBombs},
			{"metadata, labels and groups that are bombs", memberBombs},
			{"lists that are bombs", listBombs},
			{"a compressed bomb", gzipBomb},
			{"bulk lines that are bombs", bulkBombs},
			{"forged cursors", forgedCursors},
			{"paths that climb", pathTricks},
			{"parameters that are bombs", parameterBombs},
			{"idempotency keys that are bombs", idempotencyBombs},
			{"routes, methods and ids that do not exist", seriesExplosion},
			{"a queue that is filled", queueFlood},
		})
	})
}

const pushOne, pushMany = "/v1/clients/honest-v10/messages", "/v1/messages"

func bodyBombs(t *testing.T, s *site) {
	for _, tt := range []struct {
		name, body string
		status     int
		kind       string
	}{
		{"large", `{"text":"` + strings.Repeat("x", 600<<10) + `"}`, 413, "payload-too-large"},
		{"a payload above its own bound", `{"text":"` + strings.Repeat("x", 300<<10) + `"}`, 413, "payload-too-large"},
		{"deep", `{"json":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}`, 400, "malformed-json"},
		{"deep objects", `{"json":` + strings.Repeat(`{"a":`, 50_000) + `1` + strings.Repeat("}", 50_000) + `}`, 400, "malformed-json"},
		{"deep and not closed", strings.Repeat(`{"json":`, 50_000), 400, "malformed-json"},
		{"a huge number", `{"text":1e999999}`, 400, "malformed-json"},
		{"a number of half a megabyte", `{"ttl":` + strings.Repeat("9", 500<<10) + `}`, 400, "malformed-json"},
		{"a huge ttl", `{"text":"a","ttl":"` + strings.Repeat("9", 1000) + `h"}`, 422, "validation-failed"},
		{"not UTF-8", "{\"text\":\"\xc3\x28\"}", 400, "malformed-json"},
		{"a member that there is not", `{"text":"a","__proto__":{}}`, 400, "unknown-field"},
		{"a member of the engine", `{"text":"a","owner":"root"}`, 400, "unknown-field"},
		{"two values", `{"text":"a"}{"text":"b"}`, 400, "malformed-json"},
		{"base64 that is none", `{"base64":"` + strings.Repeat("%", 1000) + `"}`, 422, "validation-failed"},
		{"XML", `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>`, 400, "malformed-json"},
	} {
		a := s.ask("POST", pushOne, tt.body, "Content-Type", "application/json")
		t.Run(tt.name, func(t *testing.T) {
			s := *s
			s.T = t
			s.wantProblem(a, tt.status, tt.kind)
		})
	}
}

// object returns a JSON object of n members.
func object(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%q`, i, value)
	}
	return "{" + b.String()[1:] + "}"
}

func memberBombs(_ *testing.T, s *site) {
	for _, body := range []string{
		`{"text":"a","metadata":` + object(5000, "x") + `}`,
		`{"text":"a","metadata":` + object(1, strings.Repeat("x", 10_000)) + `}`,
		`{"text":"a","metadata":{"` + strings.Repeat("k", 10_000) + `":"x"}}`,
	} {
		s.wantProblem(s.ask("POST", pushOne, body), 422, "validation-failed")
	}
	for _, body := range []string{
		`{"labels":` + object(5000, "x") + `}`,
		`{"labels":` + object(1, strings.Repeat("x", 10_000)) + `}`,
		`{"labels":{"a\nb":"x"}}`,
		`{"groups":["` + strings.Repeat(`g","`, 5000) + `g"]}`,
		`{"groups":["../../etc"]}`,
	} {
		s.wantProblem(s.ask("PATCH", "/v1/clients/honest-v10", body), 422, "validation-failed")
	}
}

func listBombs(_ *testing.T, s *site) {
	ids := make([]string, 20_000)
	for i := range ids {
		ids[i] = fmt.Sprintf(`"c%d"`, i)
	}
	for _, to := range []string{
		`{"clients":[` + strings.Join(ids, ",") + `]}`,
		`{"clients":["a b"]}`,
		`{"labels":` + object(1000, "x") + `}`,
		`{"client":"a","all":true}`,
	} {
		s.wantProblem(s.ask("POST", pushMany, `{"text":"a","to":`+to+`}`), 422, "validation-failed")
	}
}

// A coding is undone up to the bound of a body, and no further.
func gzipBomb(_ *testing.T, s *site) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	for range 16 {
		_, _ = w.Write(make([]byte, 1<<20)) // into memory
	}
	if err := w.Close(); err != nil {
		s.Fatal(err)
	}
	a := s.ask("POST", pushOne, z.String(), "Content-Type", "application/json", "Content-Encoding", "gzip")
	s.wantProblem(a, 413, "payload-too-large")
}

func bulkBombs(t *testing.T, s *site) {
	const good = `{"to":{"client":"honest-v21"},"text":"after","mode":"online"}` + "\n"
	bomb := strings.Repeat("[", 600<<10) + "\n" + // beyond the bound of a line
		`{"to":{"client":"honest-v21"},"json":` + strings.Repeat("[", 100_000) + "}\n" +
		"\xff\xfe\n" + "null\n" + strings.Repeat("\n", 10_000) + good
	a := s.ask("POST", pushMany+"/bulk?wait=10s", bomb, "Content-Type", "application/x-ndjson")
	if a.status != 200 {
		t.Fatalf("bulk: %d %s", a.status, clip(a.body))
	}
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	for i, want := range []string{"payload-too-large", "malformed-json", "malformed-json", "malformed-json", `"state":"acked"`, `"failed":4`} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("answer %d: want %s in\n%s", i+1, want, clip(a.body))
		}
	}
}

func forgedCursors(_ *testing.T, s *site) {
	cursor := func(raw string) string { return base64.RawURLEncoding.EncodeToString([]byte(raw)) }
	guesses := []string{"x", "%00", "..%2f", cursor("c"), cursor("\x00\x00"), cursor("cc\x00"), cursor("m" + strings.Repeat("9", 100)),
		cursor("d-1"), cursor("h18446744073709551616"), cursor("c../../etc/passwd"), strings.Repeat("A", 4000)}
	for _, list := range []string{"/v1/clients", "/v1/messages", "/v1/clients/honest-v10/messages"} {
		for _, guess := range guesses {
			s.wantProblem(s.ask("GET", list+"?cursor="+guess, ""), 400, "invalid-cursor")
		}
	}
}

func pathTricks(t *testing.T, s *site) {
	for _, path := range []string{
		"/v1/clients/..", "/v1/clients/%2e%2e", "/v1/clients/..%2fmessages", "/v1/clients/a%2fb", "/v1/clients/%00", "/v1/clients/a%00b",
		"/v1/clients/a%0d%0aX-Injected:%201", "/v1/clients/%ff", "/v1/clients/%252e%252e", "/swagger/..%2f..%2fetc%2fpasswd",
		"/swagger/%2e%2e/%2e%2e/etc/passwd", "/swagger/..", "/docs/problems/..%2f", "/../../etc/passwd", "//v1/clients", "/v1//clients",
		"/v1/./clients", "/V1/clients", "/v1/clients/", "/v1/clients;a=b", "/.git/config", "/v1\\clients", "/v1/messages/..%2fclients",
	} {
		w := s.wire()
		_ = w.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		a := w.answer()
		w.Close()
		if a.status != 400 && a.status != 404 || a.header.Get("X-Injected") != "" || strings.Contains(a.body, "root:") {
			t.Errorf("%s: %d %v %s, want 400 or 404", path, a.status, a.header, clip(a.body))
		}
	}
}

func parameterBombs(_ *testing.T, s *site) {
	for target, kind := range map[string]string{
		"/v1/clients?limit=99999999999999999999":         "invalid-parameter",
		"/v1/clients?limit=-1":                           "invalid-parameter",
		"/v1/clients?limit=1e3":                          "invalid-parameter",
		"/v1/clients?wait=1h":                            "invalid-parameter",
		"/v1/clients?" + strings.Repeat("a&", 2000):      "invalid-parameter",
		"/v1/clients?label=" + strings.Repeat("x", 5000): "invalid-parameter",
		"/v1/clients?%zz":                                "invalid-parameter",
		"/v1/clients?a;b":                                "invalid-parameter",
		"/v1/uplinks?after=99999999999999999999":         "invalid-parameter",
		"/v1/events?after=-1":                            "invalid-parameter",
		"/v1/messages?since=" + strings.Repeat("9", 400): "invalid-parameter",
	} {
		s.wantProblem(s.ask("GET", target, ""), 400, kind)
	}
	s.wantProblem(s.ask("POST", pushOne+"?wait=9999999h", "x", "Content-Type", "text/plain"), 400, "invalid-parameter")
}

func idempotencyBombs(t *testing.T, s *site) {
	send := func(body, key string) answer {
		return s.ask("POST", pushOne, body, "Content-Type", "text/plain", "Idempotency-Key", key)
	}
	for _, key := range []string{strings.Repeat("k", 256), `""`} {
		s.wantProblem(send("x", key), 400, "invalid-parameter")
	}
	first := send("x", "key-1")
	if first.status != 202 {
		t.Fatalf("push: %d %s", first.status, first.body)
	}
	s.wantProblem(send("y", "key-1"), 422, "idempotency-mismatch")
	for range 50 {
		if a := send("x", "key-1"); a.header.Get("Idempotency-Replayed") != "true" {
			t.Fatalf("a repeat: %d %v %s", a.status, a.header, a.body)
		}
	}
}

// What a caller makes up must not become a label value.
func seriesExplosion(t *testing.T, s *site) {
	probe := func(i int) {
		s.ask("GET", fmt.Sprintf("/made/up/%d", i), "")
		s.ask("GET", fmt.Sprintf("/v1/clients/made-up-%d", i), "")
		s.ask("GET", fmt.Sprintf("/v1/messages/msg_%d", i), "")
		s.ask(fmt.Sprintf("METHOD%d", i), "/v1/clients", "")
		p := s.dial()
		_ = p.send(fmt.Sprintf("MADE-UP-%d\n", i))
		p.Close()
	}
	count := func() int { return strings.Count(s.ask("GET", "/metrics", "").body, "\n") }
	probe(0)
	count() // the page's own series
	before := count()
	for i := range 150 {
		probe(i + 1)
	}
	if after := count(); after != before {
		t.Errorf("/metrics has grown from %d to %d lines", before, after)
	}
}

// The queue of a client that is away has a bound, and so has what it costs.
func queueFlood(t *testing.T, s *site) {
	s.register("away").Close()
	payload := strings.Repeat("q", 250<<10)
	s.stored(16 << 20)
	n, refused := 0, answer{}
	for ; n < 100; n++ {
		refused = s.ask("POST", "/v1/clients/away/messages", payload, "Content-Type", "text/plain")
		if refused.status != 202 {
			break
		}
	}
	s.wantProblem(refused, 409, "queue-full")
	if got := n * len(payload); got > 16<<20 || got < 15<<20 {
		t.Errorf("%d bytes were queued, want up to 16 MiB", got)
	}
	if after := refused.header.Get("Retry-After"); after != "" {
		t.Errorf("Retry-After %s, want none: the device may be away for days", after)
	}
	if a := s.ask("DELETE", "/v1/clients/away?purge=true", ""); a.status >= 300 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
}
