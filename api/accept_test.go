package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A caller gets the form that it wants most; of two that it wants as much, the one that it
// names; and server-sent events otherwise.
func TestTheFormOfAStream(t *testing.T) {
	h := newHarness(t)
	const events, lines, none = "text/event-stream", "application/x-ndjson", ""
	for accept, want := range map[string]string{
		"":                       events,
		"*/*":                    events,
		"text/*":                 events,
		"text/event-stream":      events,
		"text/event-stream;q=2":  events, // no quality
		"TEXT/Event-Stream; a=b": events,
		"application/x-ndjson, text/event-stream":              events,
		"application/x-ndjson":                                 lines,
		"application/x-ndjson, */*":                            lines,
		"application/*":                                        lines,
		"text/*;q=0.5, application/*":                          lines,
		"text/event-stream;q=0, application/x-ndjson":          lines,
		"text/event-stream;q=0, */*":                           lines,
		"text/event-stream ; q=0.1 , application/x-ndjson;q=1": lines,
		"application/json":                                     none,
		"text/event-stream;q=0":                                none,
		"*/*;q=0":                                              none,
		"text/html, application/x-ndjson;q=0.0":                none,
		",,":                                                   none,
	} {
		r := httptest.NewRequest("GET", "http://localhost/v1/events?follow=false", nil)
		r.Header.Set("Accept", accept)
		a := httptest.NewRecorder()
		h.handler.ServeHTTP(a, r)
		got, _, _ := strings.Cut(a.Header().Get("Content-Type"), ";")
		if a.Code == http.StatusNotAcceptable {
			got = none
		}
		if got != want {
			t.Errorf("Accept: %s is answered %d as %q, want %q", accept, a.Code, got, want)
		}
	}
}

// A caller that refuses a coding or a page does not get it.
func TestARefusedForm(t *testing.T) {
	h := newHarness(t)
	for _, c := range []struct{ target, header, value, in, want string }{
		{"/swagger/swagger-ui.css", "Accept-Encoding", "gzip", "Content-Encoding", "gzip"},
		{"/swagger/swagger-ui.css", "Accept-Encoding", "br, GZIP;q=0.5", "Content-Encoding", "gzip"},
		{"/swagger/swagger-ui.css", "Accept-Encoding", "gzip;q=0", "Content-Encoding", ""},
		{"/swagger/swagger-ui.css", "Accept-Encoding", "gzip;q=0, identity", "Content-Encoding", ""},
		{"/docs/problems/queue-full", "Accept", "text/html", "Content-Type", "text/html; charset=utf-8"},
		{"/docs/problems/queue-full", "Accept", "application/json, text/html;q=0", "Content-Type", "application/json"},
	} {
		if got := h.call("GET", c.target, "", c.header, c.value).want(200).header.Get(c.in); got != c.want {
			t.Errorf("%s with %s: %s is answered with %s %q, want %q", c.target, c.header, c.value, c.in, got, c.want)
		}
	}
}
