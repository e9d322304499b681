package test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The commands about webhooks, against a gateway and an endpoint that fails and answers.
func TestWebhookCommands(t *testing.T) {
	var broken atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(endpoint.Close)
	s := serve(t, "", t.TempDir())
	command := func(code int, args ...string) string {
		t.Helper()
		p := run(t, longwire(t), append(append([]string{"webhooks"}, args...), "--server", s.url)...)
		if got := p.exit(t, time.Minute); got != code {
			t.Fatalf("webhooks %q ends with %d, want %d:\n%s", args, got, code, p.output())
		}
		return p.output()
	}
	has := func(output string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(output, part) {
				t.Errorf("it prints\n%s\nwithout %q", output, part)
			}
		}
	}
	made := command(0, "create", endpoint.URL, "--types", "message.received,client.*", "--name", "orders", "--header", "Authorization=Bearer x")
	has(made, "orders", "whsec_", "active", endpoint.URL)
	id := ""
	for line := range strings.Lines(made) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "id" {
			id = f[1]
		}
	}
	has(command(1, "create", "ftp://nowhere"), "url")
	has(command(0, "ls"), id, "active")
	if out := command(0, "get", id); strings.Contains(out, "whsec_") || strings.Contains(out, "Bearer") {
		t.Errorf("secrets are shown again:\n%s", out)
	}
	has(command(0, "test", id), "200")
	broken.Store(true)
	has(command(1, "test", id), "418", "the endpoint has answered 418")
	broken.Store(false)
	k := nc(t, s.tcpAddr)
	k.types("REGISTER meter")
	k.sees("REGISTERED ")
	k.types("DATA 1 21.5")
	k.sees("ACK 1")
	waitWithin(t, time.Minute, "the event is sent", func() bool {
		return strings.Contains(command(0, "attempts", id), "message.received")
	})
	has(command(2, "replay", id), "--since")
	command(0, "replay", id, "--since", "1h")
	has(command(0, "pause", id), "paused")
	has(command(0, "resume", id), "active")
	has(command(0, "rotate", id), "whsec_")
	has(command(0, "dead", id), "SEQUENCE")
	has(command(0, "dead", id, "--redeliver"), "0 delivered")
	command(0, "rm", id)
	has(command(1, "get", id), "no webhook")
}

// The command that makes the first key names the webhooks that the key stops.
func TestTheCommandForTheFirstKeyWarns(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, "", dir)
	if got := run(t, longwire(t), "webhooks", "create", "http://127.0.0.1:9/hook", "--server", s.url).exit(t, time.Minute); got != 0 {
		t.Fatalf("webhooks create ends with %d", got)
	}
	for i, want := range []bool{true, false} {
		p := run(t, longwire(t), "keys", "create", "--name", "me", "--scopes", "admin", "--data-dir", dir)
		if got := p.exit(t, time.Minute); got != 0 {
			t.Fatalf("keys create ends with %d:\n%s", got, p.output())
		}
		const words = "warning: The webhook wh_"
		if got := strings.Contains(p.output(), words) && strings.Contains(p.output(), "list 127.0.0.1 in webhooks.allow_networks"); got != want {
			t.Errorf("key %d: it prints\n%s\nwant %q: %v", i+1, p.output(), words, want)
		}
	}
}
