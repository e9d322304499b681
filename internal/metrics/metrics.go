// Package metrics is the Prometheus page. Packages count their own events and
// provide a snapshot, which is read for each scrape; this package counts only
// HTTP requests.
//
// Label values come from short fixed lists: dialects, reasons, states, routes,
// methods and status codes. A client id is never one.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/version"
)

// Sources are read once for each scrape. A nil source leaves its metrics out.
type Sources struct {
	Gateway func() gateway.Stats
	TCP     func() TCPStats
	Certs   func() map[string]CertStats // by listener
	Auth    func() AuthStats            // of devices
	Audit   func() AuditStats
	HTTP    func() HTTPStats
	Clock   func() ClockStats
	Hooks   func() WebhookStats

	Timeline func() TimelineStats
}

// TimelineStats has the sizes of the timelines of clients. Its members are those of
// timeline.Stats, so that one converts to the other.
type TimelineStats struct {
	Lines  int // clients with entries in memory
	Bytes  int
	Traces int // that are on
}

// ClockStats counts the jumps of the wall clock of more than an hour.
type ClockStats struct {
	Forwards, Backwards uint64
}

// HTTPStats has the counts of the API. Its members are those of api.ServerStats,
// so that one converts to the other.
type HTTPStats struct {
	Connections int               // open
	Displaced   map[string]uint64 // connections that were closed to make room, by reason
	LinesHeld   map[string]uint64 // log lines about refused requests that were counted and not written, by log
}

// WebhookStats has the counts of webhooks. Its members are those of webhook.Stats, so
// that one converts to the other.
type WebhookStats struct {
	States      map[string]int // webhooks by state: active, paused, disabled
	Down        int            // active ones without a success for a minute
	Parked      int            // clients that wait for a retry, of all webhooks
	Waiting     int            // events in memory
	Lag         uint64         // of the webhook that is furthest behind, in numbers of the log
	Delivered   uint64
	Failed      uint64
	DeadLetters uint64
}

// AuditStats is the statistics of the audit log.
type AuditStats struct {
	Lost uint64 // entries that could not be written
}

// CertStats is the statistics of a listener's certificate. Its members are those
// of certs.Stats, so that one converts to the other.
type CertStats struct {
	NotAfter time.Time // when the certificate in use expires
	Loads    uint64    // certificates that came into use, the first one included
	Failures uint64    // changes of the files that could not be used
}

// TCPStats is the statistics of the device port. Its members are those of
// tcpserver.Stats, so that one converts to the other.
type TCPStats struct {
	Open         int            // connections, registered or not
	Unregistered int            // connections that are not registered yet
	Online       map[string]int // registered, by dialect

	Accepted     uint64
	AcceptErrors uint64
	Refused      map[string]uint64 // before or at registration, by reason from a fixed list
	Closed       map[string]uint64 // by reason from a fixed list

	BytesIn       uint64
	BytesOut      uint64
	Malformed     uint64            // refused input on connections that stayed open
	StaleAcks     map[string]uint64 // acks for sequences outside the window, by kind from a fixed list
	TLSHandshakes uint64            // that succeeded
	Throttled     uint64            // pauses of reading because a device sent too fast
	Paced         uint64            // pauses of deliveries because of the rates towards a device
	SlowConsumers uint64            // closed because they read too slowly
	Unfinished    int64             // bytes of incomplete frames
	Untaken       int64             // bytes of output that sockets have not accepted
	LinesHeld     uint64            // log lines about refused registrations and other protocols that were counted and not written
	Panics        uint64            // bugs; each has closed one connection
}

// Metrics is its own registry with all metrics of the process.
type Metrics struct {
	registry *prometheus.Registry
	requests
}

// New returns the metrics of one process.
func New(s Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.requests.init()
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
		m.requests.count, m.requests.duration,
	)
	register(m, s.Gateway, gatewayCollector)
	register(m, s.TCP, tcpCollector)
	register(m, s.Auth, authCollector)
	register(m, s.Audit, auditCollector)
	register(m, s.HTTP, httpCollector)
	register(m, s.Clock, clockCollector)
	register(m, s.Hooks, webhookCollector)
	register(m, s.Timeline, timelineCollector)
	register(m, s.Certs, certCollector)
	return m
}

func register[T any](m *Metrics, read func() T, collector func(read func() T) prometheus.Collector) {
	if read != nil {
		m.registry.MustRegister(collector(read))
	}
}

// Handler serves the page. A failing collector loses only its own lines.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, // a scrape walks every shard; further requests get 503
		EnableOpenMetrics:   true,
	})
}

// buildInfo is a gauge that is always 1; its labels describe the running program.
func buildInfo() prometheus.Collector {
	v := version.Get()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "longwire_build_info",
		Help:        "The running build; always 1.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "goversion": v.Go},
	})
	g.Set(1)
	return g
}
