package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/longwire/longwire/gateway"
)

// AuthStats is the statistics of device authentication. Its members are those of
// deviceauth.Stats.
type AuthStats struct {
	Results      map[[2]string]uint64 // decisions by method and reason, from fixed lists
	Refused      int                  // ids in the list of refused devices
	Reloads      uint64
	ReloadErrors uint64
	Hook         *HookStats // nil without a hook
}

// HookStats is the statistics of the auth hook. Its members are those of
// deviceauth.HookStats, so that one converts to the other.
type HookStats struct {
	Calls     gateway.Histogram
	Answers   map[string]uint64
	CacheHits uint64
	Cached    int
	Breaker   int // 0 closed, 1 half open, 2 open
	Monitored map[string]uint64
}

func authCollector(read func() AuthStats) prometheus.Collector {
	type S = AuthStats
	return &snapshot[S]{read, []metric[S]{
		{desc("device_auth_total", "Decisions on registrations, by method and reason.", "method", "reason"), emitResults},
		gauge("device_auth_refused", "Ids in the list of refused devices.", func(s S) float64 { return float64(s.Refused) }),
		counter("device_auth_reloads_total", "Changed files of tokens or keys that were loaded.", func(s S) uint64 { return s.Reloads }),
		counter("device_auth_reload_errors_total", "Changed files of tokens or keys that could not be loaded; the old ones stay in use.", func(s S) uint64 { return s.ReloadErrors }),
		ofHook(histogram("device_auth_hook_duration_seconds", "Round trips to the auth hook.", func(h HookStats) gateway.Histogram { return h.Calls })),
		ofHook(counterBy("device_auth_hook_answers_total", "Calls to the auth hook, by result.", "answer", func(h HookStats) map[string]uint64 { return h.Answers })),
		ofHook(counter("device_auth_hook_cache_hits_total", "Registrations that a cached answer of the auth hook decided.", func(h HookStats) uint64 { return h.CacheHits })),
		ofHook(gauge("device_auth_hook_cached", "Answers of the auth hook in memory.", func(h HookStats) float64 { return float64(h.Cached) })),
		ofHook(gauge("device_auth_hook_breaker", "State of the circuit breaker of the auth hook: 0 closed, 1 half open, 2 open.", func(h HookStats) float64 { return float64(h.Breaker) })),
		ofHook(counterBy("device_auth_hook_monitored_total", "Answers of the auth hook in monitor mode; they decide nothing.", "answer", func(h HookStats) map[string]uint64 { return h.Monitored })),
	}}
}

func emitResults(s AuthStats, d *prometheus.Desc, out chan<- prometheus.Metric) {
	for k, n := range s.Results {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), k[0], k[1])
	}
}

// ofHook leaves a metric out if there is no hook.
func ofHook(m metric[HookStats]) metric[AuthStats] {
	return metric[AuthStats]{m.desc, func(s AuthStats, d *prometheus.Desc, out chan<- prometheus.Metric) {
		if s.Hook != nil {
			m.emit(*s.Hook, d, out)
		}
	}}
}
