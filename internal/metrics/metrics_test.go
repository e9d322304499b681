package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/longwire/longwire/gateway"
)

// full has a number for everything.
func full() Sources {
	return Sources{
		Gateway: func() gateway.Stats {
			return gateway.Stats{
				Online: 3, InFlight: 2, Draining: true, Accepted: 10, Delivered: 9, Redelivered: 1, LateAcks: 4,
				Settled:             [gateway.Failed + 1]uint64{gateway.Acked: 7, gateway.Expired: 2},
				DisconnectsByReason: map[string]uint64{gateway.ReasonKicked: 1, "other": 2},
				Store: gateway.StoreStats{Durable: true, Clients: 5, Messages: 12, Queued: 6, OldestAt: time.Now().Add(-time.Hour),
					AcceptNanos: gateway.Histogram{
						Bounds: []time.Duration{time.Millisecond, 10 * time.Millisecond},
						Counts: []uint64{4, 3, 2}, Sum: 1500 * time.Millisecond,
					}},
			}
		},
		TCP: func() TCPStats {
			return TCPStats{Open: 4, Unregistered: 1, Online: map[string]int{"v1": 1, "v2": 2}, Accepted: 20,
				Refused: map[string]uint64{"overloaded": 1}, Closed: map[string]uint64{"client_closed": 5}, BytesIn: 100, BytesOut: 200}
		},
		Audit: func() AuditStats { return AuditStats{Lost: 8} },
		Hooks: func() WebhookStats {
			return WebhookStats{States: map[string]int{"active": 2}, Down: 1, Parked: 3, Waiting: 4, Lag: 5, Delivered: 6, Failed: 7, DeadLetters: 9}
		},
		Clock: func() ClockStats { return ClockStats{Forwards: 2} },

		Timeline: func() TimelineStats { return TimelineStats{Lines: 3, Bytes: 4000, Traces: 1} },
	}
}

// page fetches the metrics as Prometheus does.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// requestSeries returns the counters of requests.
func requestSeries(t *testing.T, m *Metrics) []*dto.Metric {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "longwire_http_requests_total" {
			return f.GetMetric()
		}
	}
	return nil
}

func TestPagePassesTheLinter(t *testing.T) {
	m := New(full())
	m.Request("/v1/clients", "GET", 200, time.Millisecond)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestPage(t *testing.T) {
	m := New(full())
	m.Request("/v1/clients/{id}", "GET", 200, 3*time.Millisecond)
	m.Request("/v1/clients/{id}", "GET", 200, 3*time.Millisecond)
	got := page(t, m)
	for _, want := range []string{
		"longwire_clients_online 3",
		"longwire_draining 1",
		"longwire_messages_accepted_total 10",
		`longwire_deliveries_settled_total{state="acked"} 7`,
		`longwire_deliveries_settled_total{state="failed"} 0`,
		`longwire_client_disconnects_total{reason="kicked"} 1`,
		"longwire_store_durable 1",
		"longwire_store_queued_deliveries 6",
		`longwire_store_accept_duration_seconds_bucket{le="0.001"} 4`,
		`longwire_store_accept_duration_seconds_bucket{le="0.01"} 7`,
		`longwire_store_accept_duration_seconds_bucket{le="+Inf"} 9`,
		"longwire_store_accept_duration_seconds_sum 1.5",
		"longwire_store_accept_duration_seconds_count 9",
		`longwire_tcp_sessions{dialect="v2"} 2`,
		`longwire_tcp_refused_total{reason="overloaded"} 1`,
		"longwire_tcp_sent_bytes_total 200",
		"longwire_audit_lost_total 8",
		`longwire_webhooks{state="active"} 2`, "longwire_webhooks_down 1", "longwire_webhook_parked_clients 3", "longwire_webhook_waiting_events 4",
		"longwire_webhook_lag_events 5", "longwire_webhook_delivered_total 6", "longwire_webhook_failed_total 7", "longwire_webhook_dead_letters_total 9",
		"longwire_timeline_clients 3", "longwire_timeline_bytes 4000", "longwire_timeline_traces 1",
		`longwire_http_requests_total{code="200",method="GET",route="/v1/clients/{id}"} 2`,
		`longwire_http_request_duration_seconds_bucket{method="GET",route="/v1/clients/{id}",le="0.0025"} 0`,
		`longwire_http_request_duration_seconds_bucket{method="GET",route="/v1/clients/{id}",le="0.005"} 2`,
		"longwire_build_info{",
		"go_goroutines ",
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, never := range []string{`state="queued"`, `state="sent"`, `state=""`, "store_sync_duration_seconds"} {
		if strings.Contains(got, never) {
			t.Errorf("the page has %s", never)
		}
	}
}

func TestOldestAge(t *testing.T) {
	for _, c := range []struct {
		at       time.Time
		min, max float64
	}{{time.Time{}, 0, 0}, {time.Now().Add(-time.Hour), 3600, 3660}, {time.Now().Add(time.Hour), 0, 0}} {
		if got := age(c.at); got < c.min || got > c.max {
			t.Errorf("age of %v is %v, want %v to %v", c.at, got, c.min, c.max)
		}
	}
}

func TestWithoutSources(t *testing.T) {
	if got := page(t, New(Sources{})); !strings.Contains(got, "longwire_build_info") || strings.Contains(got, "longwire_clients_online") {
		t.Error("a page without sources should have the process's own metrics only")
	}
}

// Values that a caller can make up do not become label values.
func TestLabelsAreBounded(t *testing.T) {
	m := New(Sources{})
	m.Request("", "BREW", 404, 0)
	m.Request("", "X", 9999, 0)
	m.Request("", "X", 0, 0)
	got := page(t, m)
	for _, want := range []string{
		`longwire_http_requests_total{code="404",method="other",route="unmatched"} 1`,
		`longwire_http_requests_total{code="0",method="other",route="unmatched"} 2`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for i := range 2 * maxSeries {
		m.Request(fmt.Sprint("/made/up/", i), "GET", 200, 0)
	}
	if n := len(requestSeries(t, m)); n > maxSeries+10 {
		t.Errorf("%d series, want about %d", n, maxSeries)
	}
	if got := page(t, m); !strings.Contains(got, `{code="200",method="GET",route="other"}`) {
		t.Error("what is beyond the bound is not counted")
	}
}

func TestConcurrentRequests(t *testing.T) {
	m := New(Sources{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				m.Request(fmt.Sprint("/r", i%7), "GET", 200+g%2, time.Millisecond)
			}
		})
	}
	wg.Wait()
	total, list := 0.0, requestSeries(t, m)
	for _, x := range list {
		total += x.GetCounter().GetValue()
	}
	if len(list) != 14 {
		t.Errorf("%d series, want 7 routes with 2 codes", len(list))
	}
	if total != 4000 {
		t.Errorf("counted %v requests, want 4000", total)
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	m := New(Sources{})
	m.Request("/v1/clients", "GET", 200, time.Millisecond)
	if n := testing.AllocsPerRun(1000, func() { m.Request("/v1/clients", "GET", 200, time.Millisecond) }); n != 0 {
		t.Errorf("Request allocates %v times, want 0", n)
	}
}
