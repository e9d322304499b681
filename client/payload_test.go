package client

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPayloadsAreRawBytes(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		fmt.Fprintf(w, "%s\xff", r.URL.Path)
	})
	if b, err := c.MessagePayload(t.Context(), "msg_1"); err != nil || string(b) != "/v1/messages/msg_1/payload\xff" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := c.UplinkPayload(t.Context(), 7); err != nil || string(b) != "/v1/uplinks/7/payload\xff" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestUplinksNewestFirst(t *testing.T) {
	var queries []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		switch r.URL.Query().Get("before") {
		case "":
			answer(w, 200, `{"items":[{"seq":9,"payload_bytes":4,"preview":"21.5"},{"seq":8}],"next_after":9,"next_before":8,"more":true}`)
		case "8":
			answer(w, 200, `{"items":[],"next_after":7,"next_before":3,"more":true}`)
		default:
			answer(w, 200, `{"items":[{"seq":2}],"next_after":2,"more":false}`)
		}
	})
	var seqs []uint64
	for u, err := range c.Uplinks(t.Context(), UplinkQuery{NewestFirst: true, Fields: []string{"payload_bytes", "preview"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Seq == 9 && (*u.PayloadBytes != 4 || *u.Preview != "21.5") {
			t.Errorf("%+v", u)
		}
		seqs = append(seqs, u.Seq)
	}
	if d := cmp.Diff([]uint64{9, 8, 2}, seqs); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("fields=payload_bytes%2Cpreview&limit=500&order=desc", queries[0]); d != "" {
		t.Error(d)
	}
}

func TestListsHaveAPlaceAndAnOrder(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RawQuery
		answer(w, 200, `{"items":[]}`)
	})
	since := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	for range c.Clients(t.Context(), ClientQuery{From: "a", Descending: true, IP: "203.0.113.0/24", Dialect: "v2", Since: since, QueuedOlderThan: time.Minute}) {
	}
	if want := "dialect=v2&from=a&ip=203.0.113.0%2F24&limit=500&order=desc&queued_older_than=1m0s&since=2026-11-30T00%3A00%3A00Z"; got != want {
		t.Errorf("clients: %s, want %s", got, want)
	}
	for range c.Messages(t.Context(), MessageQuery{OldestFirst: true, Before: "msg_1", Fields: []string{"status"}}) {
	}
	if want := "before=msg_1&fields=status&limit=500&order=asc"; got != want {
		t.Errorf("messages: %s, want %s", got, want)
	}
}
