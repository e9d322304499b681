package metrics

import "github.com/prometheus/client_golang/prometheus"

func timelineCollector(read func() TimelineStats) prometheus.Collector {
	type S = TimelineStats
	return &snapshot[S]{read, []metric[S]{
		gauge("timeline_clients", "Clients whose last events are in memory.", func(s S) float64 { return float64(s.Lines) }),
		gauge("timeline_bytes", "Bytes of these events.", func(s S) float64 { return float64(s.Bytes) }),
		gauge("timeline_traces", "Traces of clients that are on.", func(s S) float64 { return float64(s.Traces) }),
	}}
}
