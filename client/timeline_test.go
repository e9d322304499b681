package client

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const entryText = `{"id":"17","at":"2026-11-22T08:00:00.000001Z","source":"memory","what":"frame","direction":"in","frame":"ack","bytes":3,"number":"e7","code":"ok","hex":"060200"}`

func TestATimelineIsReadAndFollowed(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if r.URL.Query().Get("follow") != "true" {
			answer(w, 200, `{"client":"a b","now":"2026-11-22T08:00:01Z","items":[`+entryText+`],"before":"17","dropped":true,"traced_until":"2026-11-22T08:10:00Z"}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		id := "17"
		if r.Header.Get("Last-Event-ID") == "17" {
			id = "18"
		}
		io.WriteString(w, "retry: 20\n\nid: "+id+"\nevent: frame\ndata: "+strings.Replace(entryText, "17", id, 1)+"\n\nevent: overflow\ndata: {}\n\n")
	})
	at := time.Date(2026, 11, 22, 8, 0, 0, 1000, time.UTC)
	entry := TimelineEntry{ID: "17", At: at, Source: "memory", What: "frame", Direction: "in", Frame: "ack", Bytes: 3, Number: "e7", Code: "ok", Hex: "060200"}
	got, err := c.Timeline(t.Context(), "a b", TimelineQuery{Message: "msg_1", Before: "18", Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	want := &Timeline{Client: "a b", Now: time.Date(2026, 11, 22, 8, 0, 1, 0, time.UTC), Items: []TimelineEntry{entry}, Before: "17", Dropped: true,
		TracedUntil: time.Date(2026, 11, 22, 8, 10, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if raw := got.Items[0].Raw(); string(raw) != "\x06\x02\x00" {
		t.Errorf("the bytes are %q", raw)
	}
	var followed []string
	for e, err := range c.FollowTimeline(t.Context(), "a b", TimelineQuery{}) {
		if followed = append(followed, e.ID); err != nil {
			t.Fatalf("after the entries %q: %v", followed, err)
		}
		if e.ID == "18" {
			break
		}
	}
	if diff := cmp.Diff([]string{"17", "", "18"}, followed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/v1/clients/a%20b/timeline?before=18&limit=5&message=msg_1", "/v1/clients/a%20b/timeline?follow=true",
		"/v1/clients/a%20b/timeline?follow=true"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestTraces(t *testing.T) {
	const trace = `{"client":"a","key":"key_1","name":"support","started_at":"2026-11-22T08:00:00Z","ends_at":"2026-11-22T08:05:00Z","frames":2,"bytes":9}`
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(body))
		switch r.Method {
		case "POST":
			answer(w, 200, trace)
		case "DELETE":
			w.WriteHeader(204)
		default:
			answer(w, 200, `{"items":[`+trace+`]}`)
		}
	})
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	want := Trace{Client: "a", Key: "key_1", Name: "support", StartedAt: at, EndsAt: at.Add(5 * time.Minute), Frames: 2, Bytes: 9}
	made, err := c.StartTrace(t.Context(), "a", 5*time.Minute)
	if err != nil || *made != want {
		t.Errorf("%+v, %v", made, err)
	}
	if all, err := c.Traces(t.Context()); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("%+v, %v", all, err)
	}
	if err := c.EndTrace(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{`POST /v1/clients/a/trace {"for":"5m0s"}`, "GET /v1/traces ", "DELETE /v1/clients/a/trace "}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}
