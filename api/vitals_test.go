package api

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/vitals"
)

// TestRatesOfTheLastMinute: sixty pushes, acked, are one a second, and a minute later none.
func TestRatesOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var recorder *vitals.Recorder
		h := newHarness(t, func(c *Config) {
			recorder = vitals.Of(c.Gateway, nil)
			c.Vitals = recorder
		})
		tick := func(seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				recorder.Tick()
			}
		}
		tick(10)
		l := h.device("truck", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			time.AfterFunc(40*time.Millisecond, func() { l.Ack(p, gateway.AckOK, nil) })
		}})
		for range 60 {
			h.call("POST", "/v1/clients/truck/messages", `{"text":"x"}`).want(202)
		}
		if err := l.Session.Received(t.Context(), 1, []byte("up")); err != nil {
			t.Fatal(err)
		}
		tick(50)
		s := decode[Stats](h.call("GET", "/v1/stats", "").want(200))
		if r := s.Rates; r.OverSeconds != 60 || r.Pushes != 1 || *r.Deliveries != 1 || r.Acks != 1 || r.Uplinks != 1./60 || r.Connects != 1./60 {
			t.Errorf("rates %+v, want one push, delivery and ack a second, and one uplink and connect a minute", r)
		}
		if a := s.AckLatency; a == nil || a.P50 < 40 || a.P50 > 46 || a.P99 < 40 || a.P99 > 46 {
			t.Errorf("latency %+v, want 40 ms, up to an eighth more", s.AckLatency)
		}
		if s.OldestQueuedAt != "" || s.Online != 1 || s.Settled["acked"] != 60 {
			t.Errorf("stats %+v", s)
		}
		tick(61)
		s = decode[Stats](h.call("GET", "/v1/stats", "").want(200))
		if r := s.Rates; r.Pushes != 0 || r.Acks != 0 || s.AckLatency != nil {
			t.Errorf("rates %+v and latency %+v of a quiet minute", r, s.AckLatency)
		}
		hist := decode[StatsHistory](h.call("GET", "/v1/stats/history?since=1h", "").want(200))
		if hist.Step != "10s" || len(hist.Points) != 12 || hist.Points[1].Accepted != 60 || hist.Points[1].Acked != 60 || hist.Points[1].P99 == nil || *hist.Points[1].Queued != 0 {
			t.Errorf("history %+v", hist)
		}
		if len(hist.Marks) != 1 || hist.Marks[0].Code != "start" || hist.BeginsAt != hist.Marks[0].At {
			t.Errorf("marks %+v, begins %s; want the start alone", hist.Marks, hist.BeginsAt)
		}
		coarse := decode[StatsHistory](h.call("GET", "/v1/stats/history?since=1h&step=60s", "").want(200))
		if coarse.Step != "60s" || len(coarse.Points) != 2 || coarse.Points[0].Accepted != 60 || coarse.Points[1].Accepted != 0 {
			t.Errorf("minutes %+v", coarse)
		}
		if all := decode[StatsHistory](h.call("GET", "/v1/stats/history", "").want(200)); all.Step != "60s" {
			t.Errorf("step %s without since, want 60s", all.Step)
		}
		h.call("GET", "/v1/stats/history?step=5s", "").wantProblem(400, "invalid-parameter")
	})
}

// TestATenantGetsTheNumbersOfItsClients: and none of the process or of other tenants.
func TestATenantGetsTheNumbersOfItsClients(t *testing.T) {
	w := newWorld(t)
	acking := answering(gateway.AckOK, "")
	w.device("a-1", acking)
	w.device("b-1", acking)
	// The feed has an uplink soon after the device has its ack: those of the world are passed on first.
	for end := time.Now().Add(10 * time.Second); decode[Stats](w.as("unlimited", "GET", "/v1/stats", "").want(200)).Uplinks < uint64(len(tenants)) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	first := decode[Stats](w.as("a", "GET", "/v1/stats", "").want(200)) // counting begins
	if first.Online != 1 || first.Accepted != 0 {
		t.Errorf("stats %+v, want one client online and nothing counted yet", first)
	}
	l := w.device("a-2", acking)
	w.device("b-2", acking)
	for _, id := range []string{"a-1", "b-1", "b-2"} {
		w.as("unlimited", "POST", "/v1/clients/"+id+"/messages?wait=5s", `{"text":"x"}`).want(200)
	}
	if err := l.Session.Received(t.Context(), 1, []byte("up")); err != nil {
		t.Fatal(err)
	}
	w.device("a-3", acking).Disconnect(gateway.ReasonClientClosed)
	for end := time.Now().Add(10 * time.Second); decode[Stats](w.as("a", "GET", "/v1/stats", "").want(200)).Uplinks == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // the feed has the uplink soon after the device has its ack
	}
	a := w.as("a", "GET", "/v1/stats", "").want(200)
	s := decode[Stats](a)
	if s.Online != 2 || s.Accepted != 1 || s.Settled["acked"] != 1 || s.Uplinks != 1 || s.Connects != 2 {
		t.Errorf("stats of a tenant %+v", s)
	}
	if s.AckLatency == nil {
		t.Error("a tenant's stats have no latency of its ack")
	}
	for _, name := range []string{`"store"`, `"disk"`, `"oldest_queued_at"`, `"in_flight"`, `"delivered"`, `"disconnects"`, `"event_streams"`, `"takeovers"`, `"expired"`} {
		if strings.Contains(string(a.body), name) {
			t.Errorf("a tenant's stats have %s: %s", name, a.body)
		}
	}
	if b := decode[Stats](w.as("b", "GET", "/v1/stats", "").want(200)); b.Online != 2 {
		t.Errorf("stats of the other tenant %+v, want its two clients online", b)
	}
	h := decode[StatsHistory](w.as("b", "GET", "/v1/stats/history", "").want(200))
	if len(h.Marks) != 1 || h.Marks[0].Code != "begin" {
		t.Errorf("marks %+v, want the beginning of the tenant's counts", h.Marks)
	}
	w.key("narrow", apikey.Spec{Scopes: apikey.MetricsRead, Limit: apikey.Limit{Prefix: "a-1"}})
	if n := decode[Stats](w.as("narrow", "GET", "/v1/stats", "").want(200)); n.Online != 1 {
		t.Errorf("stats of a longer prefix %+v, want its one client", n)
	}
}
