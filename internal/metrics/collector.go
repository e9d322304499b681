package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/longwire/longwire/gateway"
)

// snapshot is a collector over one snapshot: each scrape reads its source once,
// so that the numbers of one page are consistent.
type snapshot[T any] struct {
	read    func() T
	metrics []metric[T]
}

// metric is one name on the page.
type metric[T any] struct {
	desc *prometheus.Desc
	emit func(T, *prometheus.Desc, chan<- prometheus.Metric)
}

// Describe implements prometheus.Collector.
func (s *snapshot[T]) Describe(out chan<- *prometheus.Desc) {
	for _, m := range s.metrics {
		out <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot[T]) Collect(out chan<- prometheus.Metric) {
	stats := s.read()
	for _, m := range s.metrics {
		m.emit(stats, m.desc, out)
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("longwire_"+name, help, labels, nil)
}

// gauge and counter are one number; the By variants have one for each label
// value.

func gauge[T any](name, help string, value func(T) float64) metric[T] {
	return single(prometheus.GaugeValue, name, help, value)
}

func counter[T any](name, help string, value func(T) uint64) metric[T] {
	return single(prometheus.CounterValue, name, help, func(t T) float64 { return float64(value(t)) })
}

func single[T any](kind prometheus.ValueType, name, help string, value func(T) float64) metric[T] {
	return metric[T]{desc(name, help), func(t T, d *prometheus.Desc, out chan<- prometheus.Metric) {
		out <- prometheus.MustNewConstMetric(d, kind, value(t))
	}}
}

func gaugeBy[T any](name, help, label string, values func(T) map[string]int) metric[T] {
	return by(prometheus.GaugeValue, name, help, label, values)
}

func counterBy[T any](name, help, label string, values func(T) map[string]uint64) metric[T] {
	return by(prometheus.CounterValue, name, help, label, values)
}

func by[T any, N int | uint64](kind prometheus.ValueType, name, help, label string, values func(T) map[string]N) metric[T] {
	return metric[T]{desc(name, help, label), func(t T, d *prometheus.Desc, out chan<- prometheus.Metric) {
		for k, n := range values(t) {
			out <- prometheus.MustNewConstMetric(d, kind, float64(n), k)
		}
	}}
}

// histogram is a snapshot of durations, in seconds on the page.
func histogram[T any](name, help string, value func(T) gateway.Histogram) metric[T] {
	return metric[T]{desc(name, help), func(t T, d *prometheus.Desc, out chan<- prometheus.Metric) {
		h := value(t)
		if len(h.Counts) != len(h.Bounds)+1 {
			return // this engine does not measure it
		}
		buckets, total := make(map[float64]uint64, len(h.Bounds)), uint64(0)
		for i, bound := range h.Bounds {
			total += h.Counts[i]
			buckets[bound.Seconds()] = total // cumulative, as the format requires
		}
		total += h.Counts[len(h.Bounds)]
		out <- prometheus.MustNewConstHistogram(d, total, h.Sum.Seconds(), buckets)
	}}
}

func gatewayCollector(read func() gateway.Stats) prometheus.Collector {
	type S = gateway.Stats
	return &snapshot[S]{read, []metric[S]{
		gauge("clients_online", "Clients that are online.", func(s S) float64 { return float64(s.Online) }),
		gauge("clients_suspect", "Online clients that have not answered a heartbeat for a second.", func(s S) float64 { return float64(s.Suspect) }),
		gauge("deliveries_in_flight", "Deliveries that are sent and not acked.", func(s S) float64 { return float64(s.InFlight) }),
		gauge("draining", "1 while the process is stopping.", func(s S) float64 { return flag(s.Draining) }),
		counter("messages_accepted_total", "Durable messages that were accepted.", func(s S) uint64 { return s.Accepted }),
		counter("transmissions_total", "Transmissions that were flushed to a socket, repeats included.", func(s S) uint64 { return s.Delivered }),
		counter("retransmissions_total", "Transmissions that were repeats.", func(s S) uint64 { return s.Redelivered }),
		counter("retry_later_total", "Deliveries that a device has answered with retry later.", func(s S) uint64 { return s.RetryLater }),
		counter("asks_total", "ASKs to reconnected devices for the verdict on a delivery.", func(s S) uint64 { return s.Asks }),
		counterBy("ask_answers_total", "Answers to ASKs, by answer; none is an ack timeout.", "answer", func(s S) map[string]uint64 { return s.AskAnswers }),
		counterBy("registrations_not_resumed_total", "Registrations whose ask_through was refused, by cause: of another log, or above all sequences of the log.", "cause",
			func(s S) map[string]uint64 {
				return map[string]uint64{"other_log": s.OtherLog, "beyond_log": s.BeyondLog}
			}),
		counter("verdicts_not_kept_total", "Deliveries that a device has handled without keeping its verdict.", func(s S) uint64 { return s.NotKept }),
		counter("payloads_not_handled_total", "Payloads that a device answered with not handled, an answer to ASKs; the gateway treats it as retry later.", func(s S) uint64 { return s.NotHandled }),
		counterBy("deliveries_settled_total", "Deliveries that became final, by state.", "state", settledByState),
		counter("late_acks_total", "Acks that came after another state was final.", func(s S) uint64 { return s.LateAcks }),
		counter("online_answers_total", "Deliveries with mode=online that were answered.", func(s S) uint64 { return s.OnlineAcked }),
		counter("online_timeouts_total", "Deliveries with mode=online that were not answered in time.", func(s S) uint64 { return s.OnlineTimeouts }),
		counter("uplinks_total", "Messages from devices that were stored.", func(s S) uint64 { return s.Uplinks }),
		counter("client_connects_total", "Registrations that succeeded.", func(s S) uint64 { return s.Connects }),
		counter("client_takeovers_total", "Registrations that replaced a live connection.", func(s S) uint64 { return s.Takeovers }),
		counterBy("client_disconnects_total", "Sessions that ended, by reason.", "reason", func(s S) map[string]uint64 { return s.DisconnectsByReason }),
		counterBy("client_probes_total", "Answers to calls of probe, by presence; refused is 429.", "result", func(s S) map[string]uint64 { return s.Probes }),
		counter("events_dropped_total", "Events that a subscriber was too slow to read.", func(s S) uint64 { return s.EventsDropped }),

		gauge("store_durable", "1 if an accepted message survives the process.", func(s S) float64 { return flag(s.Store.Durable) }),
		gauge("store_clients", "Clients in the store.", func(s S) float64 { return float64(s.Store.Clients) }),
		gauge("store_messages", "Messages in the store, completed ones included.", func(s S) float64 { return float64(s.Store.Messages) }),
		gauge("store_queued_deliveries", "Deliveries that are not final.", func(s S) float64 { return float64(s.Store.Queued) }),
		gauge("store_oldest_queued_age_seconds", "Age of the oldest message that is not completed; 0 if there is none.", func(s S) float64 { return age(s.Store.OldestAt) }),
		counter("uplinks_refused_total", "Messages from devices that were refused, because their client or its tenant has used up its share of the disk.", func(s S) uint64 { return s.UplinksRefused }),
		counterBy("events_refused_total", "Uplinks, registrations, pushes and changes of clients that were refused, because their client or its tenant has used up its share of the event log in that hour.", "what", func(s S) map[string]uint64 { return s.EventsRefused }),
		gauge("store_uplink_bytes", "Disk space of the uplinks that are stored, before compression.", func(s S) float64 { return float64(s.Store.UplinkBytes) }),
		gauge("store_disk_bytes", "Disk space that the store takes.", func(s S) float64 { return float64(s.Store.DiskBytes) }),
		counter("store_records_total", "Group commits.", func(s S) uint64 { return s.Store.Records }),
		counter("store_events_total", "Changes in group commits.", func(s S) uint64 { return s.Store.Events }),
		histogram("store_accept_duration_seconds", "Time from the call to the durable answer of an accepted message.", func(s S) gateway.Histogram { return s.Store.AcceptNanos }),
		histogram("store_sync_duration_seconds", "Time of a sync to stable storage.", func(s S) gateway.Histogram { return s.Store.SyncNanos }),
	}}
}

func tcpCollector(read func() TCPStats) prometheus.Collector {
	type S = TCPStats
	return &snapshot[S]{read, []metric[S]{
		gauge("tcp_connections", "Open connections of devices, registered or not.", func(s S) float64 { return float64(s.Open) }),
		gauge("tcp_connections_unregistered", "Open connections that have not registered yet.", func(s S) float64 { return float64(s.Unregistered) }),
		gaugeBy("tcp_sessions", "Registered connections, by dialect.", "dialect", func(s S) map[string]int { return s.Online }),
		counter("tcp_accepted_total", "Connections that were accepted.", func(s S) uint64 { return s.Accepted }),
		counter("tcp_accept_errors_total", "Failures to accept a connection, mostly because file descriptors ran out.", func(s S) uint64 { return s.AcceptErrors }),
		counterBy("tcp_refused_total", "Connections that were refused before or at registration, by reason.", "reason", func(s S) map[string]uint64 { return s.Refused }),
		counterBy("tcp_closed_total", "Connections that ended, by reason.", "reason", func(s S) map[string]uint64 { return s.Closed }),
		counter("tcp_received_bytes_total", "Bytes from devices.", func(s S) uint64 { return s.BytesIn }),
		counter("tcp_sent_bytes_total", "Bytes to devices.", func(s S) uint64 { return s.BytesOut }),
		counter("tcp_malformed_total", "Refused inputs on connections that stayed open.", func(s S) uint64 { return s.Malformed }),
		counterBy("tcp_stale_acks_total", "Acks that do not count, by kind: the EPHEMERAL flag missing or extra, working too soon, or other.", "kind", func(s S) map[string]uint64 { return s.StaleAcks }),
		counter("tcp_tls_handshakes_total", "TLS handshakes of devices that succeeded.", func(s S) uint64 { return s.TLSHandshakes }),
		counter("tcp_throttled_total", "Pauses in reading from devices that exceeded their rate.", func(s S) uint64 { return s.Throttled }),
		counter("tcp_paced_total", "Pauses in sending to devices because of tcp.delivery_rate and tcp.delivery_byte_rate.", func(s S) uint64 { return s.Paced }),
		counter("tcp_slow_consumers_total", "Connections that were closed because they read too slowly.", func(s S) uint64 { return s.SlowConsumers }),
		gauge("tcp_unfinished_bytes", "Memory of incomplete frames from devices, in bytes.", func(s S) float64 { return float64(s.Unfinished) }),
		gauge("tcp_untaken_bytes", "Output in memory that devices have not read, in bytes.", func(s S) float64 { return float64(s.Untaken) }),
		counter("tcp_lines_held_total", "Log lines about refused registrations and other protocols on the device port that were counted instead of written.", func(s S) uint64 { return s.LinesHeld }),
		counter("tcp_panics_total", "Bugs that closed a connection.", func(s S) uint64 { return s.Panics }),
	}}
}

func certCollector(read func() map[string]CertStats) prometheus.Collector {
	type S = map[string]CertStats
	return &snapshot[S]{read, []metric[S]{
		by(prometheus.GaugeValue, "tls_certificate_expiry_timestamp_seconds", "When the certificate in use expires, in Unix time.", "listener",
			ofEach(func(c CertStats) int { return int(c.NotAfter.Unix()) })),
		counterBy("tls_certificate_loads_total", "Certificates that came into use, the first one included.", "listener",
			ofEach(func(c CertStats) uint64 { return c.Loads })),
		counterBy("tls_certificate_failures_total", "Changes of certificate files that could not be used; the old ones stay.", "listener",
			ofEach(func(c CertStats) uint64 { return c.Failures })),
	}}
}

func webhookCollector(read func() WebhookStats) prometheus.Collector {
	type S = WebhookStats
	return &snapshot[S]{read, []metric[S]{
		gaugeBy("webhooks", "Webhooks by state.", "state", func(s S) map[string]int { return s.States }),
		gauge("webhooks_down", "Active webhooks without a success for a minute.", func(s S) float64 { return float64(s.Down) }),
		gauge("webhook_parked_clients", "Clients whose events wait for the retry of one that has failed, of all webhooks.", func(s S) float64 { return float64(s.Parked) }),
		gauge("webhook_waiting_events", "Events in memory for webhooks.", func(s S) float64 { return float64(s.Waiting) }),
		gauge("webhook_lag_events", "Numbers of the log behind the cursor of the webhook that is furthest behind: at most so many events.", func(s S) float64 { return float64(s.Lag) }),
		counter("webhook_delivered_total", "Requests to webhooks that were answered 2xx.", func(s S) uint64 { return s.Delivered }),
		counter("webhook_failed_total", "Requests to webhooks that have failed.", func(s S) uint64 { return s.Failed }),
		counter("webhook_dead_letters_total", "Events that a webhook has not taken in time.", func(s S) uint64 { return s.DeadLetters }),
	}}
}

func timelineCollector(read func() TimelineStats) prometheus.Collector {
	type S = TimelineStats
	return &snapshot[S]{read, []metric[S]{
		gauge("timeline_clients", "Clients whose last events are in memory.", func(s S) float64 { return float64(s.Lines) }),
		gauge("timeline_bytes", "Bytes of these events.", func(s S) float64 { return float64(s.Bytes) }),
		gauge("timeline_traces", "Traces of clients that are on.", func(s S) float64 { return float64(s.Traces) }),
	}}
}

func auditCollector(read func() AuditStats) prometheus.Collector {
	return &snapshot[AuditStats]{read, []metric[AuditStats]{
		counter("audit_lost_total", "Entries of the audit log that could not be written.", func(s AuditStats) uint64 { return s.Lost }),
	}}
}

func httpCollector(read func() HTTPStats) prometheus.Collector {
	type S = HTTPStats
	return &snapshot[S]{read, []metric[S]{
		gauge("http_connections", "Open connections to the API.", func(s S) float64 { return float64(s.Connections) }),
		counterBy("http_connections_displaced_total", "Connections to the API that were closed to make room, by reason: no_key, address and idle gave way to a new connection; newcomer is a new one that found no room.", "reason", func(s S) map[string]uint64 { return s.Displaced }),
		counterBy("http_lines_held_total", "Lines about refused requests that were counted instead of written, by log.", "log", func(s S) map[string]uint64 { return s.LinesHeld }),
	}}
}

func clockCollector(read func() ClockStats) prometheus.Collector {
	return &snapshot[ClockStats]{read, []metric[ClockStats]{
		counterBy("clock_jumps_total", "Jumps of the wall clock of more than an hour, by direction; a suspended machine jumps forwards.", "direction",
			func(s ClockStats) map[string]uint64 {
				return map[string]uint64{"forwards": s.Forwards, "backwards": s.Backwards}
			}),
	}}
}

// ofEach takes one number of each listener.
func ofEach[N int | uint64](pick func(CertStats) N) func(map[string]CertStats) map[string]N {
	return func(all map[string]CertStats) map[string]N {
		m := make(map[string]N, len(all))
		for listener, c := range all {
			m[listener] = pick(c)
		}
		return m
	}
}

// settledByState has every final state, also those that have not occurred, so
// that a rate over them exists from the start.
func settledByState(s gateway.Stats) map[string]uint64 {
	m := map[string]uint64{}
	for state, n := range s.Settled {
		if gateway.State(state).Final() {
			m[gateway.State(state).String()] = n
		}
	}
	return m
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}
