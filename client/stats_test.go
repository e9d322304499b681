package client

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatsAndFindings(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		switch r.URL.Path {
		case "/v1/stats":
			answer(w, 200, `{"now":"2027-01-15T12:00:00.000Z","started_at":"2027-01-15T11:00:00.000Z","draining":false,"online":3,"accepted":60,"settled":{"acked":60},"uplinks":1,"connects":3,`+
				`"rates":{"over_seconds":60,"pushes":1,"acks":1,"uplinks":0,"connects":0.05},"ack_latency":{"p50_ms":12.5,"p99_ms":40},"disk":{"used_bytes":1,"free_bytes":2,"total_bytes":4,"share":0.5}}`)
		case "/v1/stats/history":
			answer(w, 200, `{"now":"2027-01-15T12:00:00.000Z","step":"60s","begins_at":"2027-01-15T11:00:00.000Z","marks":[{"at":"2027-01-15T11:00:00.000Z","code":"start"}],`+
				`"points":[{"at":"2027-01-15T11:01:00.000Z","seconds":60,"online":3,"queued":0,"accepted":60,"acked":60,"rejected":0,"failed":0,"uplinks":1,"connects":3,"disconnects":0}]}`)
		default:
			answer(w, 200, `{"now":"2027-01-15T12:00:00.000Z","omitted":0,"items":[{"code":"queue_old","severity":"info","since":"2027-01-15T11:00:00.000Z","count":2,"text":"x","facts":{"oldest_at":"y"},"link":"/v1/messages"}]}`)
		}
	})
	s, err := c.Stats(t.Context())
	if err != nil || s.Online != 3 || s.Rates.Pushes != 1 || s.AckLatency.P50 != 12.5 || s.Disk.Share != 0.5 || s.Store != nil || s.Rates.Deliveries != nil {
		t.Errorf("stats %+v, %v", s, err)
	}
	at := time.Date(2027, 1, 15, 11, 0, 0, 0, time.UTC)
	h, err := c.StatsHistory(t.Context(), StatsHistoryQuery{Since: at, Step: time.Minute})
	if err != nil || len(h.Points) != 1 || *h.Points[0].Queued != 0 || h.Marks[0].Code != "start" || !h.BeginsAt.Equal(at) {
		t.Errorf("history %+v, %v", h, err)
	}
	if _, err := c.StatsHistory(t.Context(), StatsHistoryQuery{Step: 10 * time.Second}); err != nil {
		t.Error(err)
	}
	f, err := c.Findings(t.Context())
	want := []Finding{{Code: "queue_old", Severity: Info, Since: at, Count: 2, Text: "x", Facts: map[string]any{"oldest_at": "y"}, Link: "/v1/messages"}}
	if diff := cmp.Diff(want, f); err != nil || diff != "" {
		t.Errorf("findings: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"/v1/stats", "/v1/stats/history?since=2027-01-15T11%3A00%3A00Z&step=60s", "/v1/stats/history?step=10s", "/v1/findings"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAuditFollowsPages(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if r.URL.Query().Get("after") == "" {
			answer(w, 200, `{"items":[{"id":"x-2","at":"2027-01-15T12:00:00.000Z","what":"push","target":"m","result":"ok"}],"next_after":"x-2"}`)
			return
		}
		answer(w, 200, `{"items":[{"id":"x-1","at":"2027-01-15T11:00:00.000Z","what":"push","target":"m","result":"ok"}]}`)
	})
	var ids []string
	for e, err := range c.Audit(t.Context(), AuditQuery{Who: "backend", Target: "m"}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	for range c.Audit(t.Context(), AuditQuery{Limit: 1}) {
	}
	if diff := cmp.Diff([]string{"x-2", "x-1"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/v1/audit?limit=500&target=m&who=backend", "/v1/audit?after=x-2&limit=500&target=m&who=backend", "/v1/audit?limit=1"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
