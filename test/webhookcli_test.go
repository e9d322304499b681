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
