package hostile

import (
	"strings"
	"testing"
)

// With API keys nothing but documents and probes is there without one.
func TestHostileWithoutKey(t *testing.T) {
	alone(t, func(t *testing.T) {
		under(t, keyed, []behaviour{
			{"no key, or a forged one", forgedKeys},
			{"paths around the check", pathsAroundTheCheck},
			{"an idempotency key of another caller", foreignIdempotencyKey},
		})
	})
}

func forgedKeys(t *testing.T, s *site) {
	const right = "lwk_first-key-of-the-test"
	for _, headers := range [][]string{
		{"Authorization", ""},
		{"Authorization", "Bearer"},
		{"Authorization", "Bearer "},
		{"Authorization", "Bearer " + right[:len(right)-1]},
		{"Authorization", "Bearer " + right + "x"},
		{"Authorization", "Bearer " + strings.ToUpper(right)},
		{"Authorization", "Bearer lwk_"},
		{"Authorization", "Bearer " + strings.Repeat("lwk_", 1500)},
		{"Authorization", "Basic " + right},
		{"Authorization", right},
		{"Authorization", "", "X-API-Key", "' OR 1=1 --"},
		{"Authorization", "", "Cookie", "key=" + right},
		{"Authorization", "", "X-Forwarded-For", "127.0.0.1", "X-Real-IP", "127.0.0.1"},
	} {
		for _, call := range [][2]string{{"GET", "/v1/clients"}, {"GET", "/metrics"}, {"GET", "/v1/events"}, {"POST", "/v1/messages"},
			{"POST", "/v1/messages/bulk"}, {"DELETE", "/v1/clients/honest-v10"}, {"GET", "/v1/messages/msg_1"}, {"GET", "/v1/uplinks"}} {
			a := s.ask(call[0], call[1], "", headers...)
			s.wantProblem(a, 401, "unauthenticated")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%v: no WWW-Authenticate", call)
			}
		}
	}
	s.wantProblem(s.ask("GET", "/v1/clients", "", "Authorization", "Bearer null", "X-API-Key", right), 400, "invalid-parameter")
	s.wantProblem(s.ask("GET", "/v1/clients?key="+right+"&access_token="+right, "", "Authorization", ""), 401, "unauthenticated")
}

// No spelling of a path reaches what is private.
func pathsAroundTheCheck(t *testing.T, s *site) {
	for _, path := range []string{"/v1/clients", "/metrics", "/v1/stats", "/v1/messages", "/v1/events"} {
		rest := path[1:]
		for _, spelling := range []string{
			path, "/" + path, path + "/", "/swagger/.." + path, "/swagger/%2e%2e" + path, "/." + path, "/livez/.." + path, "/livez%2f.." + path,
			"/%2f" + rest, strings.ToUpper(path), path + "%20", path + "%00", path + ";a", path + "?/livez", path + "#/livez", "http://localhost" + path,
			"/" + strings.ReplaceAll(rest, "/", "%2f"), "/docs/.." + path,
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
				w := s.wire()
				_ = w.send(method + " " + spelling + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				line := w.statusLine()
				if !strings.HasPrefix(line, "HTTP/1.1 40") {
					t.Errorf("%s %s without a key: %s", method, spelling, line)
				}
				w.Close()
			}
		}
	}
}

// Idempotency keys belong to the API key that gave them.
func foreignIdempotencyKey(t *testing.T, s *site) {
	send := func(key string) answer {
		return s.ask("POST", pushTo(s.honest[1]), "once", "Content-Type", "text/plain", "Idempotency-Key", "shared", "Authorization", "Bearer "+key)
	}
	first, second := send("lwk_first-key-of-the-test"), send("lwk_second-key-of-the-test")
	if first.status != 202 || second.status != 202 || second.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %s, then %d %s: want two messages", first.status, first.body, second.status, second.body)
	}
}

func pushTo(h *honest) string { return "/v1/clients/" + h.id + "/messages" }
