//go:build unix

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	t.Run("streams", streamsSurviveAKill)
}

// Several readers, by server-sent events and by NDJSON and with different selections, follow
// the log while the gateway is killed twice. Each resumes behind its last event, and gets
// each event that it selects exactly once.
func streamsSurviveAKill(t *testing.T) {
	data := t.TempDir()
	s := serve(t, "", data)
	var readers []*follower
	for _, query := range []string{"", "types=message.received", "client=meter", "prefix=met", "types=client.*,message.queued_for_absent"} {
		readers = append(readers, &follower{t: t, query: query}, &follower{t: t, query: query, lines: true})
	}
	for round := range 3 {
		k := nc(t, s.tcpAddr)
		k.types("REGISTER meter")
		k.sees("REGISTERED ")
		for _, f := range readers {
			f.follow(s)
		}
		for i := range 100 {
			k.types(fmt.Sprintf("DATA %d reading-%d", 100*round+i+1, i))
			if i%10 == 0 {
				s.push(fmt.Sprintf("sleeper-%d-%d", round, i), "?on_unknown=queue", "wake up")
			}
		}
		for i := range 100 {
			k.sees(fmt.Sprintf("ACK %d", 100*round+i+1))
		}
		if round == 2 {
			break
		}
		s.signal(t, syscall.SIGKILL) // the readers are anywhere
		<-s.ended
		for _, f := range readers {
			<-f.ended
		}
		s = serve(t, "", data)
	}
	for _, f := range readers {
		var want []string
		for _, e := range s.events(t, "after=earliest&"+f.query) {
			want = append(want, e.ID)
		}
		if len(want) < 30 {
			t.Fatalf("the log has %d events for %q", len(want), f.query)
		}
		var got []string
		waitWithin(t, 20*time.Second, "a reader of "+f.query+" has caught up", func() bool {
			got = f.ids()
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("NDJSON %t, %q: %d events in %d streams, want the %d of the log, each once", f.lines, f.query, len(got), f.streams, len(want))
		}
	}
}

// follower reads the log over one stream after another.
type follower struct {
	t       *testing.T
	query   string
	lines   bool // NDJSON
	streams int
	ended   chan struct{} // closed at the end of the last stream

	mu     sync.Mutex
	seen   []string // ids
	cursor string
}

func (f *follower) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// follow opens a stream behind the last event, or at the begin of the log.
func (f *follower) follow(s *server) {
	f.t.Helper()
	target := s.url + "/v1/events?" + f.query
	if f.cursor == "" {
		target += "&after=earliest"
	}
	req, err := http.NewRequestWithContext(f.t.Context(), "GET", target, nil) // it ends before the cleanups
	if err != nil {
		f.t.Fatal(err)
	}
	if f.cursor != "" {
		req.Header.Set("Last-Event-ID", f.cursor)
	}
	if f.lines {
		req.Header.Set("Accept", "application/x-ndjson")
	}
	res, err := s.http.Transport.RoundTrip(req) // without a time limit
	if err != nil || res.StatusCode != 200 {
		f.t.Fatalf("open a stream: %v, %v", res, err)
	}
	f.streams++
	f.ended = make(chan struct{})
	ended := f.ended
	f.t.Cleanup(func() { <-ended; res.Body.Close() })
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			text := in.Text()
			if !f.lines {
				var isData bool
				if text, isData = strings.CutPrefix(text, "data: "); !isData {
					continue
				}
			}
			var e toldEvent
			if text == "" || json.Unmarshal([]byte(text), &e) != nil || e.ID == "" {
				continue // a comment, or a line that the kill has cut
			}
			f.mu.Lock()
			f.seen, f.cursor = append(f.seen, e.ID), e.Sequence
			f.mu.Unlock()
		}
	}()
}
