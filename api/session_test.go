package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/simulator"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/webhook"
)

// browser is a page of the server that has logged in.
type browser struct {
	*harness
	cookie *http.Cookie
}

// login opens a session with a key of the world.
func (w *world) login(key string) *browser {
	w.t.Helper()
	return w.loginWith(w.secrets[key])
}

func (h *harness) loginWith(secret string) *browser {
	h.t.Helper()
	a := h.call("POST", "/v1/session", "", "Authorization", "Bearer "+secret).want(200)
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 {
		h.t.Fatalf("%d cookies, want one", len(cookies))
	}
	return &browser{h, cookies[0]}
}

// do sends a request with the cookie and the header that makes it count.
func (b *browser) do(method, target, body string, headers ...string) answer {
	b.t.Helper()
	return b.call(method, target, body, append([]string{"Cookie", b.cookie.Name + "=" + b.cookie.Value, "Longwire-Console", "1"}, headers...)...)
}

func TestWhoAmI(t *testing.T) {
	w := newWorld(t)
	s := decode[Session](w.as("a", "GET", "/v1/session", "").want(200))
	if s.Auth != "key" || s.Key == nil || s.Key.ID != w.ids["a"] || s.Key.Name != "a" || s.Prefix != "a-" || s.Group != "" || s.ExpiresAt != "" {
		t.Errorf("a is shown as %+v of the key %+v", s, s.Key)
	}
	if !slices.Contains(s.Scopes, "messages:write") || slices.Contains(s.Scopes, "admin") {
		t.Errorf("scopes %v", s.Scopes)
	}
	if !slices.Contains(s.Features, "webhooks") || !slices.Contains(s.Features, "consumers") || s.Limits.MaxPayload != 256<<10 || s.Version != "1.2.3" || len(s.Instance) != 8 || s.Now == "" {
		t.Errorf("the server is shown as %+v", s)
	}
	if s := decode[Session](w.as("g", "GET", "/v1/session", "").want(200)); s.Group != "gang" {
		t.Errorf("g is limited to %q", s.Group)
	}
	for key, most := range map[string]int{"a": 16, "g": 16, "unlimited": 128} {
		if s := decode[Session](w.as(key, "GET", "/v1/session", "").want(200)); s.Limits.MaxStreamsPerKey != most {
			t.Errorf("%s may have %d streams as the session says, want %d", key, s.Limits.MaxStreamsPerKey, most)
		}
	}
}

// A session lists the features that are on: none of a server without them, and each one
// by itself.
func TestASessionListsTheFeaturesThatAreOn(t *testing.T) {
	of := func(change func(*Config)) []string {
		h := newHarness(t, func(c *Config) {
			c.Webhooks, c.Consumers, c.Tokens, c.Timeline, c.Simulator, c.Refusals, c.Metrics = nil, nil, nil, nil, nil, nil, nil
			change(c)
		})
		return decode[Session](h.call("GET", "/v1/session", "").want(200)).Features
	}
	on := map[string]func(*Config){
		"webhooks":      func(c *Config) { c.Webhooks = &webhook.Manager{} },
		"consumers":     func(c *Config) { c.Consumers = &consumer.Manager{} },
		"device_tokens": func(c *Config) { c.Tokens = &fakeTokens{} },
		"timeline":      func(c *Config) { c.Timeline = &timeline.Book{} },
		"simulator":     func(c *Config) { c.Simulator = simulatorWhile(true) },
		"refused":       func(c *Config) { c.Refusals = &fakeRefusals{} },
		"metrics":       func(c *Config) { c.Metrics = http.NotFoundHandler() },
	}
	for name, change := range on {
		if got := of(change); !slices.Equal(got, []string{name}) {
			t.Errorf("with %s: %v", name, got)
		}
	}
	if got := of(func(c *Config) { c.Simulator = simulatorWhile(false) }); len(got) != 0 || len(on) != len(features) {
		t.Errorf("without any: %v; %d of %d features are tested", got, len(on), len(features))
	}
}

func simulatorWhile(on bool) *simulator.Simulator {
	return simulator.New(simulator.Config{Enabled: func() bool { return on }})
}

func TestAnOpenAPIHasNoSessions(t *testing.T) {
	h := newHarness(t)
	if s := decode[Session](h.call("GET", "/v1/session", "").want(200)); s.Auth != "open" || s.Key != nil || !slices.Equal(s.Scopes, []string{"admin"}) {
		t.Errorf("whoami of an open API: %+v, want all scopes and no key", s)
	}
	if a := h.call("POST", "/v1/session", "").want(200); a.header.Get("Set-Cookie") != "" {
		t.Errorf("an open API set the cookie %s", a.header.Get("Set-Cookie"))
	}
}

func TestACookieStandsForItsKey(t *testing.T) {
	w := newWorld(t)
	b := w.login("a")
	if c := b.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.Domain != "" || c.MaxAge > 12*3600 || c.MaxAge < 12*3600-2 || !strings.HasPrefix(c.Name, "longwire_") {
		t.Errorf("cookie %+v", c)
	}
	if strings.Contains(b.cookie.Value, w.secrets["a"]) {
		t.Error("the cookie has the key")
	}
	s := decode[Session](b.do("GET", "/v1/session", "").want(200))
	if s.Auth != "cookie" || s.Key.ID != w.ids["a"] || s.Prefix != "a-" || s.ExpiresAt == "" {
		t.Errorf("whoami by the cookie: %+v", s)
	}
	b.do("GET", "/v1/clients/a-truck", "").want(200)
	b.do("GET", "/v1/clients/b-truck", "").wantProblem(404, "client-not-found")
	b.do("GET", "/v1/keys", "").wantProblem(403, problem.InsufficientScope)
	b.do("POST", "/v1/clients/a-truck/messages", `{"text":"x"}`, "Origin", "http://localhost", "Sec-Fetch-Site", "same-origin").want(202)
	b.do("POST", "/v1/session", "").wantProblem(401, problem.Unauthenticated)
	if got := b.do("GET", "/v1/session", "", "Authorization", "Bearer "+w.secrets["unlimited"]); decode[Session](got.want(200)).Key.ID != w.ids["unlimited"] {
		t.Error("the cookie counted beside a key")
	}
	b.do("GET", "/v1/session", "", "Authorization", "Bearer wrong").wantProblem(401, problem.Unauthenticated)
	out := b.do("DELETE", "/v1/session", "").want(204)
	if c := out.header.Get("Set-Cookie"); !strings.HasPrefix(c, b.cookie.Name+"=;") || !strings.Contains(c, "Max-Age=0") {
		t.Errorf("log out: Set-Cookie %s", c)
	}
}

func TestACookieOverTLSIsOfThisHostOnly(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ProxyTrusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	a := w.as("a", "POST", "/v1/session", "", "X-Forwarded-Proto", "https", "X-Forwarded-For", "198.51.100.7").want(200)
	c := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(c, "__Host-longwire_") || !strings.Contains(c, "; Secure") || !strings.Contains(c, "; Path=/") || strings.Contains(c, "Domain") {
		t.Errorf("behind a proxy with TLS: Set-Cookie %s", c)
	}
	name, value, _ := strings.Cut(strings.Split(c, ";")[0], "=")
	b := &browser{w.harness, &http.Cookie{Name: name, Value: value}}
	b.do("GET", "/v1/session", "", "X-Forwarded-Proto", "https").want(200)
	advice := w.as("a", "POST", "/v1/messages", "x", "X-Forwarded-Proto", "https").wantProblem(415, problem.UnsupportedMediaType).Detail
	if !strings.Contains(advice, "'https://") {
		t.Errorf("the advice is for another scheme: %s", advice)
	}
	b.do("GET", "/v1/session", "", "X-Forwarded-Proto", "https", "Origin", "http://localhost").wantProblem(401, problem.Unauthenticated)
	b.do("GET", "/v1/session", "").wantProblem(401, problem.Unauthenticated) // without TLS the name is another one
}

// TestNoOtherPageActsByTheCookie: for each call that a browser could be made to send, the
// answer is that of a caller without a key, and nothing is done.
func TestNoOtherPageActsByTheCookie(t *testing.T) {
	listed := "https://app.example"
	w := newWorld(t, func(c *Config) { c.Origins = []string{listed} })
	b := w.login("a")
	cookie := []string{"Cookie", b.cookie.Name + "=" + b.cookie.Value}
	console := []string{"Longwire-Console", "1"}
	for name, headers := range map[string][]string{
		"another origin":               slices.Concat(cookie, console, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}),
		"another origin, old browser":  slices.Concat(cookie, console, []string{"Origin", "https://evil.example"}),
		"a listed origin":              slices.Concat(cookie, console, []string{"Origin", listed, "Sec-Fetch-Site", "cross-site"}),
		"a listed origin, old browser": slices.Concat(cookie, console, []string{"Origin", listed}),
		"another port":                 slices.Concat(cookie, console, []string{"Origin", "http://localhost:9000", "Sec-Fetch-Site", "same-site"}),
		"another port, old browser":    slices.Concat(cookie, console, []string{"Origin", "http://localhost:9000"}),
		"another name of the site":     slices.Concat(cookie, console, []string{"Sec-Fetch-Site", "same-site"}),
		"a sandboxed page":             slices.Concat(cookie, console, []string{"Origin", "null"}),
		"a link":                       slices.Concat(cookie, []string{"Sec-Fetch-Site", "none"}),
		"a link with the header":       slices.Concat(cookie, console, []string{"Sec-Fetch-Site", "none"}),
		"no header":                    cookie,
		"no header, this page":         slices.Concat(cookie, []string{"Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"}),
		"another value":                slices.Concat(cookie, []string{"Longwire-Console", "0"}),
		"header without a cookie":      console,
	} {
		for _, call := range [][2]string{{"GET", "/v1/clients/a-truck"}, {"GET", "/v1/events"}, {"GET", "/v1/session"}, {"POST", "/v1/clients/a-truck/messages"}, {"DELETE", "/v1/session"}, {"POST", "/v1/session"}} {
			a := w.call(call[0], call[1], "", headers...)
			if a.status != 401 && a.status != 403 {
				t.Errorf("%s: %s %s is answered %d", name, call[0], call[1], a.status)
			}
			if a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %s %s set a cookie", name, call[0], call[1])
			}
			if a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: the browser may send credentials", name)
			}
		}
	}
	if got := decode[Client](w.as("a", "GET", "/v1/clients/a-truck", "").want(200)); got.Queued != 2 {
		t.Errorf("%d messages are queued, want the two of the world", got.Queued)
	}
	pre := w.call("OPTIONS", "/v1/clients", "", "Origin", listed, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "longwire-console").want(204)
	if allowed := pre.header.Get("Access-Control-Allow-Headers"); strings.Contains(strings.ToLower(allowed), "console") {
		t.Errorf("a listed origin may send %s", allowed)
	}
	w.as("a", "POST", "/v1/session", "", "Origin", listed).wantProblem(403, problem.CrossOrigin)
	w.as("a", "GET", "/v1/session", "", "Origin", listed).want(200) // with its own key
}

func TestTwoGatewaysOnAHostHaveACookieEach(t *testing.T) {
	keys := apikey.NewKeyset("the same secret in both files, long")
	one := newHarness(t, func(c *Config) { c.Authorizer = keys })
	two := newHarness(t, func(c *Config) { c.Authorizer = keys })
	a, b := one.loginWith("the same secret in both files, long"), two.loginWith("the same secret in both files, long")
	if a.cookie.Name == b.cookie.Name {
		t.Fatalf("both are called %s", a.cookie.Name)
	}
	both := a.cookie.Name + "=" + a.cookie.Value + "; " + b.cookie.Name + "=" + b.cookie.Value
	one.call("GET", "/v1/session", "", "Cookie", both, "Longwire-Console", "1").want(200)
	two.call("GET", "/v1/session", "", "Cookie", both, "Longwire-Console", "1").want(200)
	moved := &browser{two, &http.Cookie{Name: b.cookie.Name, Value: a.cookie.Value}}
	moved.do("GET", "/v1/session", "").wantProblem(401, problem.Unauthenticated)
}

func TestACookieDiesWithItsKey(t *testing.T) {
	w := newWorld(t)
	b := w.login("a")
	if err := w.keys.Revoke(w.ids["a"]); err != nil {
		t.Fatal(err)
	}
	got := b.do("GET", "/v1/clients/a-truck", "")
	got.wantProblem(401, problem.Unauthenticated)
	if c := got.header.Get("Set-Cookie"); !strings.Contains(c, "Max-Age=0") {
		t.Errorf("the dead cookie stays in the browser: Set-Cookie %q", c)
	}
	w.key("a", apikey.Spec{Scopes: limitable, Limit: tenants["a"]}) // its successor
	b.do("GET", "/v1/clients/a-truck", "").wantProblem(401, problem.Unauthenticated)
}

func TestACookieSurvivesARestartAndNoChange(t *testing.T) {
	w := newWorld(t)
	b := w.login("a")
	again := *w.harness
	again.handler = New(Config{Gateway: w.gateway, Authorizer: w.keys})
	(&browser{&again, b.cookie}).do("GET", "/v1/clients/a-truck", "").want(200)
	id, rest, _ := strings.Cut(b.cookie.Value, ".")
	end, mac, _ := strings.Cut(rest, ".")
	for name, value := range map[string]string{
		"another key's id": w.ids["unlimited"] + "." + end + "." + mac,
		"a later end":      id + "." + "9999999999" + "." + mac,
		"no proof":         id + "." + end + ".",
		"no dots":          "x", "two dots": "..", "an unknown key": "key_x." + end + "." + mac,
	} {
		if a := (&browser{w.harness, &http.Cookie{Name: b.cookie.Name, Value: value}}).do("GET", "/v1/session", ""); a.status != 401 {
			t.Errorf("a cookie with %s is answered %d", name, a.status)
		}
	}
}

// TestForgedCookiesCountAsWrongKeys, so that a short secret of the settings cannot be
// guessed by way of them.
func TestForgedCookiesCountAsWrongKeys(t *testing.T) {
	keys := apikey.NewKeyset("short")
	h := newHarness(t, func(c *Config) { c.Authorizer, c.AuthFailures = keys, 5 })
	b := h.loginWith("short")
	forged := &browser{h, &http.Cookie{Name: b.cookie.Name, Value: b.cookie.Value[:len(b.cookie.Value)-1] + "_"}}
	for range 5 {
		forged.do("GET", "/v1/session", "").wantProblem(401, problem.Unauthenticated)
	}
	forged.do("GET", "/v1/session", "").wantProblem(429, problem.RateLimited)
	b.do("GET", "/v1/session", "").wantProblem(429, problem.RateLimited) // a right guess is not told apart
}

func TestACookieEndsAfterTwelveHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.login("a")
		time.Sleep(12*time.Hour - 2*time.Second)
		b.do("GET", "/v1/clients/a-truck", "").want(200)
		time.Sleep(3 * time.Second)
		b.do("GET", "/v1/clients/a-truck", "").wantProblem(401, problem.Unauthenticated)
		w.as("a", "GET", "/v1/clients/a-truck", "").want(200) // the key itself goes on
		w.key("short", apikey.Spec{Scopes: apikey.Admin, ExpiresAt: time.Now().Add(time.Hour)})
		if short := w.login("short"); short.cookie.MaxAge > 3600 {
			t.Errorf("the cookie lives %d s, its key an hour", short.cookie.MaxAge)
		}
	})
}

func TestAStreamEndsWithItsCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.login("a")
		time.Sleep(11 * time.Hour)
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/v1/events", http.NoBody)
		r.AddCookie(b.cookie)
		r.Header.Set("Longwire-Console", "1")
		rec := httptest.NewRecorder()
		started := time.Now()
		w.handler.ServeHTTP(rec, r)
		if got := time.Since(started); rec.Code != 200 || got < 55*time.Minute || got > time.Hour+time.Second {
			t.Errorf("the stream was answered %d and ended after %s, want an hour", rec.Code, got)
		}
		if !bytes.Contains(rec.Body.Bytes(), []byte(": ")) && rec.Body.Len() == 0 {
			t.Error("the stream was silent")
		}
	})
}

// Readers of the list see it, too.
func TestTheListOfChangesSaysThatTheConsoleActed(t *testing.T) {
	log, err := audit.Open(filepath.Join(t.TempDir(), "audit.log"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) { c.Audit = log })
	w.login("a").do("POST", "/v1/clients/a-truck/messages", `{"text":"x"}`).want(202)
	w.as("a", "POST", "/v1/clients/a-truck/messages", `{"text":"y"}`).want(202)
	log.Close() // all entries are in the list
	page := decode[AuditPage](w.as("admin", "GET", "/v1/audit?limit=2", "").want(200))
	if len(page.Items) != 2 || page.Items[0].Via != "" || page.Items[1].Via != "console" || page.Now == "" {
		t.Errorf("changes %+v, want the second last one by the console", page)
	}
}

func TestTheAuditLogSaysThatTheConsoleActed(t *testing.T) {
	w, entries := audited(t)
	b := w.login("a")
	b.do("POST", "/v1/clients/a-truck/messages", `{"text":"x"}`).want(202)
	b.do("POST", "/v1/keys", `{"name":"n","scopes":["admin"]}`).wantProblem(403, problem.InsufficientScope)
	b.do("DELETE", "/v1/session", "").want(204)
	lines := entries()
	by := func(what string) map[string]any {
		for _, l := range slices.Backward(lines) {
			if l["msg"] == what {
				return l
			}
		}
		t.Fatalf("no entry %s in %v", what, lines)
		return nil
	}
	for what, via := range map[string]any{"session.open": nil, "push": "console", "refused": "console", "session.close": "console"} {
		if l := by(what); l["who"] != w.ids["a"] || l["name"] != "a" || l["via"] != via {
			t.Errorf("%s: %v, want the key a and via %v", what, l, via)
		}
	}
}
