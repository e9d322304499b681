package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/longwire/longwire/gateway"
)

func TestDeviceAuthentication(t *testing.T) {
	stats := AuthStats{
		Results: map[[2]string]uint64{{"token", "accepted"}: 5, {"jwt", "expired"}: 2},
		Refused: 3, Reloads: 1, ReloadErrors: 4,
		Hook: &HookStats{
			Calls:   gateway.Histogram{Bounds: []time.Duration{time.Second}, Counts: []uint64{1, 2}, Sum: 5 * time.Second},
			Answers: map[string]uint64{"allow": 2, "failed": 1}, CacheHits: 7, Cached: 6, Breaker: 2, Monitored: map[string]uint64{"deny": 8},
		},
	}
	m := New(Sources{Auth: func() AuthStats { return stats }})
	got := page(t, m)
	for _, want := range []string{
		`longwire_device_auth_total{method="token",reason="accepted"} 5`,
		`longwire_device_auth_total{method="jwt",reason="expired"} 2`,
		"longwire_device_auth_refused 3",
		"longwire_device_auth_reloads_total 1",
		"longwire_device_auth_reload_errors_total 4",
		`longwire_device_auth_hook_duration_seconds_bucket{le="1"} 1`,
		"longwire_device_auth_hook_duration_seconds_sum 5",
		`longwire_device_auth_hook_answers_total{answer="failed"} 1`,
		"longwire_device_auth_hook_cache_hits_total 7",
		"longwire_device_auth_hook_cached 6",
		"longwire_device_auth_hook_breaker 2",
		`longwire_device_auth_hook_monitored_total{answer="deny"} 8`,
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("the page lacks %s", want)
		}
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	stats.Hook = nil
	if got := page(t, m); strings.Contains(got, "auth_hook") || !strings.Contains(got, "device_auth_refused") {
		t.Error("without a hook there should be everything but its metrics")
	}
}
