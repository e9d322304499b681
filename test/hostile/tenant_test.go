package hostile

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// keyed is a site whose honest callers have a key that may do everything.
func keyed(c *config.Config) {
	c.Auth.APIKeys = []config.Secret{"lwk_first-key-of-the-test", "lwk_second-key-of-the-test"}
}

// Callers with a key that want more than it gives.
func TestHostileTenants(t *testing.T) {
	alone(t, func(t *testing.T) {
		under(t, keyed, []behaviour{
			{"what belongs to another tenant", foreignTenant},
			{"a cursor of another key", foreignCursor},
			{"what a key has no scope for", missingScope},
			{"a key that is revoked", revokedKey},
		})
	})
}

// key makes an API key.
func (s *site) makeKey(limit string, scopes ...string) (id, secret string) {
	s.Helper()
	list, err := json.Marshal(scopes)
	if err != nil {
		s.Fatal(err)
	}
	a := s.ask("POST", "/v1/keys", fmt.Sprintf(`{"name":"a key of the test","scopes":%s%s}`, list, limit))
	var k struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(a.body), &k); err != nil || a.status != 201 || k.Secret == "" {
		s.Fatalf("create a key: %d %s", a.status, a.body)
	}
	s.Cleanup(func() { s.ask("DELETE", "/v1/keys/"+k.ID, "") })
	return k.ID, k.Secret
}

// with asks with a key.
func (s *site) with(secret, method, target, body string) answer {
	s.Helper()
	headers := []string{"Authorization", "Bearer " + secret}
	if body != "" && body[0] != '{' {
		headers = append(headers, "Content-Type", "text/plain")
	}
	return s.ask(method, target, body, headers...)
}

var everything = []string{"clients:read", "clients:write", "messages:read", "messages:write", "events:read"}

func foreignTenant(t *testing.T, s *site) {
	_, ours := s.makeKey(`,"prefix":"a-"`, everything...)
	mine, theirs := s.register("a-1"), s.register("b-1")
	var m struct{ ID string }
	if err := json.Unmarshal([]byte(s.ask("POST", "/v1/clients/b-1/messages", "private", "Content-Type", "text/plain").body), &m); err != nil || m.ID == "" {
		t.Fatalf("push: %v", err)
	}
	theirs.want(tData)
	for _, call := range [][3]string{
		{"GET", "/v1/clients/%s", ""}, {"GET", "/v1/clients/%s/messages", ""}, {"POST", "/v1/clients/%s/messages", "x"},
		{"PATCH", "/v1/clients/%s", `{"labels":{"a":"b"}}`}, {"DELETE", "/v1/clients/%s", ""},
	} {
		foreign := s.with(ours, call[0], fmt.Sprintf(call[1], "b-1"), call[2])
		unknown := s.with(ours, call[0], fmt.Sprintf(call[1], "b-2"), call[2])
		if list := strings.HasSuffix(call[1], "/messages") && call[0] == "GET"; !list {
			s.wantProblem(foreign, 404, "client-not-found")
		}
		if a, b := told(foreign), strings.ReplaceAll(told(unknown), "b-2", "b-1"); a != b {
			t.Errorf("%s %s tells a client that is there from one that is not: %s against %s", call[0], call[1], a, b)
		}
	}
	for _, call := range [][2]string{{"GET", ""}, {"GET", "/deliveries"}, {"DELETE", ""}} {
		s.wantProblem(s.with(ours, call[0], "/v1/messages/"+m.ID+call[1], ""), 404, "message-not-found")
	}
	for _, list := range []string{"/v1/clients?status=all", "/v1/clients?id=b-1", "/v1/clients?prefix=b-", "/v1/messages", "/v1/messages?client=b-1", "/v1/uplinks?client=b-1"} {
		if a := s.with(ours, "GET", list, ""); strings.Contains(strings.ReplaceAll(a.body, `"detail"`, ""), `"b-1"`) && a.status == 200 || strings.Contains(a.body, m.ID) {
			t.Errorf("%s shows what is another tenant's: %s", list, clip(a.body))
		}
	}
	if a := s.with(ours, "POST", "/v1/messages", `{"to":{"all":true},"text":"to all of ours"}`); a.status != 202 {
		t.Errorf("a push to all: %d %s", a.status, a.body)
	}
	if got := mine.want(tData); !strings.HasSuffix(got, "to all of ours") {
		t.Errorf("ours got %q", got)
	}
	s.ask("POST", "/v1/clients/b-1/messages", "the next", "Content-Type", "text/plain")
	if got := theirs.want(tData); !strings.HasSuffix(got, "the next") {
		t.Errorf("another tenant's client got %q, a push of ours", got)
	}
	mine.Close()
	theirs.Close()
}

// told is a problem without what is new in each.
func told(a answer) string {
	var p map[string]any
	if json.Unmarshal([]byte(a.body), &p) != nil {
		return a.body
	}
	delete(p, "instance")
	return fmt.Sprint(a.status, p)
}

func foreignCursor(t *testing.T, s *site) {
	_, ours := s.makeKey(`,"prefix":"a-"`, everything...)
	_, theirs := s.makeKey(`,"prefix":"b-"`, everything...)
	var open []*peer
	for _, id := range []string{"a-1", "a-2", "a-3", "b-1", "b-2"} {
		open = append(open, s.register(id))
	}
	var page struct {
		Next string `json:"next_cursor"`
	}
	if err := json.Unmarshal([]byte(s.with(theirs, "GET", "/v1/clients?limit=1", "").body), &page); err != nil || page.Next == "" {
		t.Fatalf("no cursor: %v", err)
	}
	s.wantProblem(s.with(ours, "GET", "/v1/clients?cursor="+page.Next, ""), 400, "invalid-cursor")
	for _, p := range open {
		p.Close()
	}
}

func missingScope(_ *testing.T, s *site) {
	_, reader := s.makeKey("", "clients:read")
	for _, call := range [][3]string{
		{"POST", "/v1/clients/honest-v10/messages", "x"}, {"DELETE", "/v1/clients/honest-v10", ""}, {"PATCH", "/v1/clients/honest-v10", `{}`},
		{"GET", "/v1/messages", ""}, {"POST", "/v1/messages", `{"to":{"all":true},"text":"x"}`}, {"GET", "/v1/events", ""}, {"GET", "/metrics", ""},
		{"GET", "/v1/stats", ""}, {"GET", "/v1/keys", ""}, {"POST", "/v1/keys", `{"name":"mine","scopes":["admin"]}`}, {"DELETE", "/v1/keys/key_1", ""},
	} {
		s.wantProblem(s.with(reader, call[0], call[1], call[2]), 403, "insufficient-scope")
	}
	// Nobody gets a tenant's key that may make keys.
	s.wantProblem(s.ask("POST", "/v1/keys", `{"name":"x","scopes":["admin"],"prefix":"a-"}`), 422, "validation-failed")
}

// It is refused at once, and what it began ends.
func revokedKey(t *testing.T, s *site) {
	id, secret := s.makeKey("", everything...)
	w := s.streamOf(secret)
	if a := s.ask("DELETE", "/v1/keys/"+id, ""); a.status != 204 {
		t.Fatalf("revoke: %d %s", a.status, a.body)
	}
	s.wantProblem(s.with(secret, "GET", "/v1/clients", ""), 401, "unauthenticated")
	s.register("after").Close() // the stream may have been waiting for this
	if said := w.wantGone(); strings.Contains(said, `"after"`) {
		t.Errorf("a stream goes on with a key that is revoked: %s", clip(said))
	}
}

// What one caller may take has a bound, and others are served meanwhile.
func TestHostileCallers(t *testing.T) {
	alone(t, func(t *testing.T) {
		under(t, func(c *config.Config) { keyed(c); c.HTTP.RateLimit = 20 }, []behaviour{
			{"requests faster than the rate", fastCaller},
		})
		under(t, func(c *config.Config) { c.HTTP.MaxRequests = 50 }, []behaviour{
			{"more requests than may be under way", manyRequests},
		})
		under(t, func(c *config.Config) {
			c.HTTP.MaxBodies = 64 * config.MiB
			c.HTTP.ReadTimeout = config.Duration(time.Minute)
		}, []behaviour{
			{"bodies that are announced and do not come", manyBodies},
		})
	})
}

func fastCaller(t *testing.T, s *site) {
	const second = "lwk_second-key-of-the-test"
	for i := 0; ; i++ {
		a := s.with(second, "GET", "/v1/clients", "")
		if a.status == 200 && i < 400 {
			continue
		}
		s.wantProblem(a, 429, "rate-limited")
		if a.header.Get("Retry-After") == "" || a.header.Get("RateLimit") == "" || i < 20 {
			t.Errorf("request %d was refused with %v", i, a.header)
		}
		return // the other key is served: that is checked after each attack
	}
}

func manyRequests(t *testing.T, s *site) {
	p := s.register("silent")
	var open []net.Conn
	wait := func() {
		w := s.wire()
		_ = w.send("POST /v1/clients/silent/messages?wait=60s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx")
		open = append(open, w)
	}
	for range 49 {
		wait()
	}
	var refused answer
	s.eventually("requests are refused", func() bool {
		wait() // one may have been refused for the request below
		refused = s.ask("GET", "/v1/clients", "")
		return refused.status != 200
	})
	s.wantProblem(refused, 503, "overloaded")
	if a := s.ask("GET", "/livez", ""); a.status != 200 {
		t.Errorf("/livez: %d while all requests are taken", a.status)
	}
	for _, c := range open {
		c.Close()
	}
	s.eventually("requests are taken again", func() bool { return s.ask("GET", "/v1/clients", "").status == 200 })
	p.Close()
	s.ask("DELETE", "/v1/clients/silent?purge=true", "")
}

// 64 MiB of bodies may be under way, and what is announced does not count.
func manyBodies(t *testing.T, s *site) {
	const size = 512 << 10
	var open []net.Conn
	for range 2 * 64 << 20 / size {
		w := s.wire()
		_ = w.send(pushHead + fmt.Sprintf("Content-Length: %d\r\n\r\n", size))
		open = append(open, w)
	}
	for range 10 {
		if a := s.ask("POST", "/v1/clients/nobody/messages", strings.Repeat("x", 100<<10), "Content-Type", "text/plain"); a.status != 404 {
			t.Errorf("a body that comes: %d, want it read and 404", a.status)
		}
	}
	for _, c := range open {
		c.Close()
	}
}
