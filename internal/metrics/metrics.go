// Package metrics is the Prometheus page. What happens per message is counted
// where it happens and read here as a snapshot when the page is asked for; only
// HTTP requests are counted by this package.
//
// Label values come from short fixed lists: dialects, reasons, states, routes,
// methods and status codes. A client id never is one.
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

// Sources are asked once for each scrape. A nil source leaves its metrics out.
type Sources struct {
	Gateway func() gateway.Stats
	TCP     func() TCPStats
	Certs   func() map[string]CertStats // by listener
	Auth    func() AuthStats            // of devices
	Audit   func() AuditStats
	HTTP    func() HTTPStats
	Clock   func() ClockStats
}

// ClockStats counts the jumps of the wall clock of more than an hour.
type ClockStats struct {
	Forwards, Backwards uint64
}

// HTTPStats has the counts of the API. It has the members of api.ServerStats and
// converts from it.
type HTTPStats struct {
	Connections int               // open
	Displaced   map[string]uint64 // connections that were closed for want of room, by reason
	LinesHeld   map[string]uint64 // lines about refused requests that were counted and not written, by log
}

// AuditStats is what the audit log tells.
type AuditStats struct {
	Lost uint64 // entries that could not be written
}

// CertStats is what a listener's certificate tells. Its members are those of
// certs.Stats, so that one converts to the other.
type CertStats struct {
	NotAfter time.Time // when the certificate in use expires
	Loads    uint64    // certificates that came into use, the first one included
	Failures uint64    // changes of the files that could not be used
}

// TCPStats is what the device port tells. Its members are those of
// tcpserver.Stats, so that one converts to the other.
type TCPStats struct {
	Open         int            // connections, registered or not
	Unregistered int            // of these, not registered yet
	Online       map[string]int // registered, by dialect

	Accepted     uint64
	AcceptErrors uint64
	Refused      map[string]uint64 // before or at registration, by reason of a fixed list
	Closed       map[string]uint64 // by reason of a fixed list

	BytesIn       uint64
	BytesOut      uint64
	Malformed     uint64            // input that was refused while the connection went on
	StaleAcks     map[string]uint64 // acks for nothing in the window, by kind of a fixed list
	TLSHandshakes uint64            // that succeeded
	Throttled     uint64            // times that reading paused because a device sent too fast
	Paced         uint64            // times that deliveries paused for the rates towards a device
	SlowConsumers uint64            // closed because they read too slowly
	Unfinished    int64             // bytes of frames that have begun and not ended
	Untaken       int64             // bytes of output that sockets have not taken
	LinesHeld     uint64            // log lines about refused registrations that were counted and not written
	Panics        uint64            // bugs; each has closed one connection
}

// Metrics is a registry of its own with everything the process tells.
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
	if s.Gateway != nil {
		m.registry.MustRegister(gatewayCollector(s.Gateway))
	}
	if s.TCP != nil {
		m.registry.MustRegister(tcpCollector(s.TCP))
	}
	if s.Auth != nil {
		m.registry.MustRegister(authCollector(s.Auth))
	}
	if s.Audit != nil {
		m.registry.MustRegister(auditCollector(s.Audit))
	}
	if s.HTTP != nil {
		m.registry.MustRegister(httpCollector(s.HTTP))
	}
	if s.Clock != nil {
		m.registry.MustRegister(clockCollector(s.Clock))
	}
	if s.Certs != nil {
		m.registry.MustRegister(certCollector(s.Certs))
	}
	return m
}

// Handler serves the page. A collector that fails costs its own lines only.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, // a scrape walks every shard; more at once are answered 503
		EnableOpenMetrics:   true,
	})
}

// Gatherer gives the metrics to tests and other exporters.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// buildInfo is a gauge that is always 1 and says in labels what is running.
func buildInfo() prometheus.Collector {
	v := version.Get()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "longwire_build_info",
		Help:        "What is running; always 1.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "goversion": v.Go},
	})
	g.Set(1)
	return g
}
