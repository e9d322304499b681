package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProbeAsksOnceAndReadsTheAnswer(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/clients/a:1/probe" {
			t.Errorf("%s %s", r.Method, r.URL.RequestURI())
		}
		answer(w, 200, `{"id":"a:1","presence":"online","rtt_ms":41.5,"asked":true,"last_seen_at":"2026-11-22T08:00:00.000Z"}`)
	})
	got, err := c.Probe(t.Context(), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	want := &Probe{ID: "a:1", Presence: PresenceOnline, RTTMS: 41.5, Asked: true, LastSeenAt: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTooManyProbesIsAProblemWithItsCode(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600") // longer than the client waits
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(429)
		w.Write([]byte(`{"type":"/docs/problems/too-many-probes","title":"Too many probes","status":429}`))
	})
	_, err := c.Probe(t.Context(), "a")
	if p, ok := errors.AsType[*Problem](err); !ok || p.Code() != CodeTooManyProbes {
		t.Errorf("got %v", err)
	}
}
