//go:build unix

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toldEvent is an event as an outside reader decodes it.
type toldEvent struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Sequence string `json:"sequence"`
	Data     struct {
		Client    string `json:"client"`
		Reason    string `json:"reason"`
		Epoch     int    `json:"epoch"`
		MessageID string `json:"message_id"`
		Uplink    struct {
			Text string `json:"text"`
		} `json:"uplink"`
	} `json:"data"`
}

// events reads the events behind a cursor up to the newest one.
func (s *server) events(t testing.TB, query string) (all []toldEvent) {
	t.Helper()
	req, err := http.NewRequest("GET", s.url+"/v1/events?follow=false&"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var e toldEvent
		if line := lines.Bytes(); len(line) > 0 {
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			all = append(all, e)
		}
	}
	if err := lines.Err(); err != nil || res.StatusCode != 200 {
		t.Fatalf("events: %d, %v", res.StatusCode, err)
	}
	return all
}

// A reader that comes back after a kill -9 with the cursor of its last event misses
// nothing: neither what happened while it was away, nor that the clients of the killed
// process are offline. Events keep their ids.
func TestEventsSurviveAKill(t *testing.T) {
	data := t.TempDir()
	s := serve(t, "", data)
	k := nc(t, s.tcpAddr)
	k.types("REGISTER meter")
	k.sees("REGISTERED ")
	k.types("DATA 1 reading-1")
	k.sees("ACK 1")
	var seen []toldEvent
	waitWithin(t, 5*time.Second, "the first reading is told", func() bool {
		seen = s.events(t, "after=earliest")
		return len(seen) > 0 && seen[len(seen)-1].Type == "message.received"
	})
	cursor := seen[len(seen)-1].Sequence

	k.types("DATA 2 reading-2")
	k.sees("ACK 2")
	queued := s.push("sleeper", "?on_unknown=queue", "wake up")
	s.signal(t, syscall.SIGKILL)
	<-s.ended

	next := serve(t, "", data)
	again := nc(t, next.tcpAddr)
	again.types("REGISTER meter")
	again.sees("REGISTERED ")
	var told []string
	want := []string{"message.received reading-2", "message.queued_for_absent " + queued.ID, "client.disconnected server_stopped", "client.connected epoch 2"}
	waitWithin(t, 5*time.Second, "the events behind the cursor are read", func() bool {
		told = nil
		for _, e := range next.events(t, "after="+cursor) {
			switch e.Type {
			case "message.received":
				told = append(told, e.Type+" "+e.Data.Uplink.Text)
			case "message.queued_for_absent":
				told = append(told, e.Type+" "+e.Data.MessageID)
			case "client.disconnected":
				told = append(told, e.Type+" "+e.Data.Reason)
			case "client.connected":
				told = append(told, fmt.Sprint(e.Type, " epoch ", e.Data.Epoch))
			default:
				told = append(told, e.Type)
			}
		}
		return len(told) >= len(want)
	})
	if got := strings.Join(told, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("behind the cursor are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	for i, e := range next.events(t, "after=earliest") {
		if i < len(seen) && e.ID != seen[i].ID {
			t.Errorf("event %d has the id %s, %s before the kill", i, e.ID, seen[i].ID)
		}
	}
	if e := seen[0]; next.get("/v1/events/"+e.ID).code != 200 {
		t.Errorf("event %s cannot be read", e.ID)
	}
}
