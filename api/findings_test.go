package api

import (
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/findings"
)

// TestFindingsAreOfTheCaller: by the scopes of a key and by its limit. No answer to a
// tenant names a client, a webhook or a number of another one.
func TestFindingsAreOfTheCaller(t *testing.T) {
	at := time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)
	registry := findings.New(nil, func() []findings.Finding {
		var clients []findings.Client
		for _, tenant := range []string{"a", "b", "g"} {
			clients = append(clients, findings.Client{ID: string(client(tenant)), Since: at, Last: at, Reason: "heartbeat_timeout"})
		}
		clients = append(clients, findings.Client{ID: "b-other", Since: at, Last: at.Add(time.Hour), Reason: "heartbeat_timeout"})
		return []findings.Finding{
			{Code: findings.DevicesSilent, Severity: findings.Info, Count: len(clients), Clients: clients, Link: "/v1/clients?status=offline"},
			{Code: findings.DiskNearlyFull, Severity: findings.Warning, Since: at, Count: 1, Facts: map[string]any{"used_bytes": 4711, "free_bytes": 1, "total_bytes": 2}, Link: "/v1/stats"},
			{Code: findings.WebhookDisabled, Severity: findings.Critical, Since: at, Count: 1, Owner: "prefix:b-", Facts: map[string]any{"id": "wh_b", "cause": "gone"}},
			{Code: findings.KeyExpiring, Severity: findings.Warning, Since: at, Count: 1, Facts: map[string]any{"id": "key_b", "name": "b-key", "expires_at": "soon"}},
		}
	})
	w := newWorld(t, func(c *Config) { c.Findings = registry })
	w.key("scoped", apikey.Spec{Scopes: apikey.WebhooksRead})
	for key, want := range map[string]string{
		"unlimited":    "webhook_disabled:1 disk_nearly_full:1 key_expiring:1 devices_silent:4",
		"scoped":       "webhook_disabled:1",
		"metrics:read": "disk_nearly_full:1",
		"clients:read": "devices_silent:4",
		"events:read":  "",
		"a":            "devices_silent:1",
		"b":            "webhook_disabled:1 devices_silent:2",
		"g":            "devices_silent:1",
	} {
		a := w.as(key, "GET", "/v1/findings", "").want(200)
		list := decode[FindingList](a)
		var got []string
		for _, f := range list.Items {
			got = append(got, f.Code+":"+string(rune('0'+f.Count)))
			if f.Text == "" || f.Since == "" {
				t.Errorf("%s: finding %+v", key, f)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s sees %v, want %s", key, got, want)
		}
		if key == "a" || key == "g" {
			for _, foreign := range []string{"b-", "wh_b", "key_b", "4711"} {
				if strings.Contains(string(a.body), foreign) {
					t.Errorf("%s is shown %s: %s", key, foreign, a.body)
				}
			}
		}
	}
	w.as("none", "GET", "/v1/findings", "").wantProblem(401, "unauthenticated")
	w.as("unlimited", "GET", "/v1/findings?code=x", "").wantProblem(400, "invalid-parameter")
}
