package api

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

// Only a trusted proxy names the caller, and of what it passes on only the part
// that it has seen itself counts.
func TestOnlyATrustedProxyNamesTheCaller(t *testing.T) {
	c := Config{ProxyTrusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}}
	for _, tt := range []struct {
		from      string
		forwarded []string
		want      string
	}{
		{"203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9:1"}, // no proxy
		{"10.0.0.1:1", nil, "10.0.0.1:1"},
		{"10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"[::ffff:10.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"10.0.0.1:1", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1:0"}, // the first is the caller's invention
		{"10.0.0.1:1", []string{"192.0.2.66", "198.51.100.1, 10.0.0.7"}, "198.51.100.1:0"},
		{"10.0.0.1:1", []string{"192.0.2.66, nonsense, 10.0.0.7"}, "10.0.0.7:0"},
		{"127.0.0.1:1", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.from
		r.Header["X-Forwarded-For"] = tt.forwarded
		if got := c.callerOf(r); got != tt.want {
			t.Errorf("from %s for %q: %s, want %s", tt.from, tt.forwarded, got, tt.want)
		}
	}
}

// A guesser behind an ingress slows down itself alone.
func TestGuessingBehindAProxyHurtsNobodyElse(t *testing.T) {
	const chosen = "lwk_correct-horse-battery"
	h := newHarness(t, func(c *Config) {
		c.Authorizer, c.AuthFailures = APIKeys(chosen), 6
		c.ProxyTrusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	})
	ask := func(caller, key string) int {
		r := newRequest(t.Context(), "GET", "/v1/clients", "")
		r.RemoteAddr = "10.0.0.1:40000"
		r.Header.Set("X-Forwarded-For", caller)
		r.Header.Set("Authorization", "Bearer "+key)
		w := newRecorder()
		h.handler.ServeHTTP(w, r)
		return w.Code
	}
	for i := range 200 {
		if got := ask("203.0.113.9", "lwk_wrong-wrong-wrong"); i >= 6 && got != 429 {
			t.Fatalf("guess %d got %d, want 429", i, got)
		}
	}
	if got := ask("203.0.113.9", chosen); got != 429 {
		t.Errorf("the right key of the guesser's address got %d, want 429", got)
	}
	if got := ask("198.51.100.1", chosen); got != 200 {
		t.Errorf("another caller got %d, want 200", got)
	}
}
