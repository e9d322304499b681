package api

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/internal/gatewaytest"
)

// A time before all others selects everything since, and one after all others nothing:
// programs send their first and last time for "always" and "never".
func TestTheFirstAndTheLastTime(t *testing.T) {
	synctest.Test(t, firstAndLastTime)
}

func firstAndLastTime(t *testing.T) {
	h := newHarness(t)
	a := h.device("a", gatewaytest.Options{})
	sendUp(t, a, 1, "x")
	h.call("POST", "/v1/clients/a/messages", "x", "Content-Type", "text/plain").want(202)
	synctest.Wait() // all events are in the log
	first := []string{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00%2B14:00", "1600-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "30000d"}
	last := []string{"2262-04-12T00:00:00Z", "2300-01-01T00:00:00Z", "9999-12-31T23:59:59Z"}
	for _, c := range []struct {
		target string
		item   string // part of an answer with items
	}{
		{"/v1/messages?since=", `"status"`},
		{"/v1/uplinks?since=", `"seq"`},
		{"/v1/clients?since=", `"presence"`},
		{"/v1/clients/a/timeline?since=", `"what"`},
		{"/v1/clients/a/messages?since=", `"status"`},
	} {
		for _, at := range first {
			if got := h.call("GET", c.target+at, "").want(200); !strings.Contains(string(got.body), c.item) {
				t.Errorf("%s%s has nothing", c.target, at)
			}
		}
		for _, at := range last {
			if got := h.call("GET", c.target+at, "").want(200); strings.Contains(string(got.body), c.item) {
				t.Errorf("%s%s has items: %s", c.target, at, got.body)
			}
		}
	}
	events := func(since string) string {
		r := httptest.NewRequest("GET", "http://localhost/v1/events?follow=false&since="+since, nil)
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		return w.Body.String()
	}
	for _, at := range first {
		if got := events(at); !strings.Contains(got, "client.connected") {
			t.Errorf("the events since %s: %q", at, got)
		}
	}
	for _, at := range last {
		if to, _ := timeBefore(at, time.Now()); to.UnixNano() < time.Now().UnixNano() { // as the store keeps times
			t.Errorf("%s is %v in the store", at, time.Unix(0, to.UnixNano()))
		}
		if got := events(at); strings.Contains(got, "event: ") {
			t.Errorf("the events since %s: %q", at, got)
		}
	}
	for _, until := range []string{"/v1/uplinks?until=", "/v1/clients/a/timeline?until="} {
		if got := h.call("GET", until+first[0], "").want(200); strings.Contains(string(got.body), `"session"`) {
			t.Errorf("%s%s has items: %s", until, first[0], got.body)
		}
		if got := h.call("GET", until+last[2], "").want(200); !strings.Contains(string(got.body), `"session"`) {
			t.Errorf("%s%s has nothing", until, last[2])
		}
	}
	newest := decode[Consumer](h.call("PUT", "/v1/consumers/now", `{"start":"now"}`).want(201)).Cursor
	for _, at := range last {
		if c := decode[Consumer](h.call("PUT", "/v1/consumers/"+at[:4], `{"start":"`+at+`"}`).want(201)); c.Cursor != newest {
			t.Errorf("a consumer that starts at %s has the cursor %s, want %s", at, c.Cursor, newest)
		}
	}
	if c := decode[Consumer](h.call("PUT", "/v1/consumers/first", `{"start":"`+first[0]+`"}`).want(201)); c.Cursor == newest {
		t.Errorf("a consumer that starts at %s begins with the next event", first[0])
	}
}
