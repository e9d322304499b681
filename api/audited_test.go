package api

import (
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/audit"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestTheAuditLogIsRead: the newest first, filtered and page by page, and after a restart.
func TestTheAuditLogIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	open := func() *audit.Log {
		l, err := audit.Open(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	log := open()
	w := newWorld(t, func(c *Config) { c.Audit = log })
	w.device("a-1", gatewaytest.Options{})
	w.as("unlimited", "POST", "/v1/clients/a-1/messages", `{"text":"x"}`).want(202)
	w.as("a", "DELETE", "/v1/clients/a-1?purge=true", "").want(204)
	w.as("clients:write", "DELETE", "/v1/clients/nobody", "").want(404)
	log.Close()

	log = open()
	t.Cleanup(func() { log.Close() })
	h := newHarness(t, func(c *Config) { c.Audit = log })
	page := decode[AuditPage](h.call("GET", "/v1/audit?limit=2", "").want(200))
	if len(page.Items) != 2 || page.Items[0].Target != "nobody" || page.Items[0].Result != "client-not-found" || page.Items[0].Name != "clients:write" ||
		page.Items[1].Target != "a-1 purge" || page.Items[1].What != "client.disconnect" || page.Items[1].Result != "ok" || page.Items[1].RequestID == "" {
		t.Errorf("page %+v", page)
	}
	oldest := decode[AuditPage](h.call("GET", "/v1/audit", "").want(200)).Items
	if page.Since != oldest[len(oldest)-1].At || !page.Durable {
		t.Errorf("kept since %s, durable %v; want the oldest entry of the file, %s", page.Since, page.Durable, oldest[len(oldest)-1].At)
	}
	next := decode[AuditPage](h.call("GET", "/v1/audit?limit=2&after="+page.NextAfter, "").want(200))
	if len(next.Items) == 0 || next.Items[0].What != "push" || next.Items[0].Target != "a-1" || next.Items[0].MessageID == "" {
		t.Errorf("next page %+v", next)
	}
	for query, want := range map[string]int{"target=a-1": 2, "who=a&target=a-1": 1, "who=" + url.QueryEscape(w.ids["clients:write"]): 1, "since=0s": 0, "target=a-": 0} {
		if got := decode[AuditPage](h.call("GET", "/v1/audit?"+query, "").want(200)); len(got.Items) != want || got.NextAfter != "" {
			t.Errorf("%s: %+v, want %d entries", query, got, want)
		}
	}
	for _, after := range []string{"x", "0-1", page.NextAfter + "x"} {
		h.call("GET", "/v1/audit?after="+after, "").wantProblem(400, "invalid-cursor")
	}
	if got := decode[AuditPage](newHarness(t).call("GET", "/v1/audit", "").want(200)); len(got.Items) != 0 || got.Since != "" {
		t.Errorf("without an audit log: %+v", got)
	}
	begun := time.Now().Truncate(time.Millisecond)
	inMemory, err := audit.Open("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inMemory.Close() })
	got := decode[AuditPage](newHarness(t, func(c *Config) { c.Audit = inMemory }).call("GET", "/v1/audit", "").want(200))
	if since, err := time.Parse(time.RFC3339, got.Since); err != nil || since.Before(begun) || time.Since(since) > time.Minute || got.Durable {
		t.Errorf("kept since %s, durable %v, %v; want the start, and not over a restart", got.Since, got.Durable, err)
	}
}
