package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEventReader(t *testing.T) {
	const stream = ": hello\nretry: 1500\n\nid: 1\nevent: a\ndata: one\n\n" +
		"id: 2\r\nevent: b\r\ndata: two\r\ndata:  lines\r\n\r\n" +
		"event: nothing\n\ndata:no space\nunknown: x\n\nid: 3\ndata: cut off"
	want := []string{"1|a|one", "2|b|two\n lines", "||no space"}
	read := func(r io.Reader) (got []string, retry time.Duration) {
		er := newEventReader(r, func() {})
		for {
			f, err := er.next()
			if err != nil {
				if err != io.EOF {
					t.Fatal(err)
				}
				return got, er.retry
			}
			got = append(got, f.id+"|"+f.name+"|"+string(f.data))
		}
	}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(stream), "bytewise": iotest.OneByteReader(strings.NewReader(stream))} {
		got, retry := read(r)
		if d := cmp.Diff(want, got); d != "" || retry != 1500*time.Millisecond {
			t.Errorf("%s: retry %s\n%s", name, retry, d)
		}
	}
}

// An event goes on as the CloudEvent that it came as: longwire tail hands it to programs.
func TestEventStaysACloudEvent(t *testing.T) {
	const line = `{"specversion":"1.0","id":"evt_1","type":"message.received","source":"/longwire","subject":"a",` +
		`"time":"2026-11-29T23:50:11.063Z","sequence":"17","datacontenttype":"application/json","data":{"client":"a","new":1}}`
	var ev Event
	if err := json.Unmarshal([]byte(line), &ev); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(ev); err != nil || string(got) != line {
		t.Errorf("the event became %s, %v, want %s", got, err, line)
	}
}

func TestEventReaderBoundsALine(t *testing.T) {
	for _, stream := range []string{
		"data: " + strings.Repeat("x", maxLine+1),
		strings.Repeat("data: "+strings.Repeat("x", 64<<10)+"\n", 32),
	} {
		if _, err := newEventReader(strings.NewReader(stream), func() {}).next(); !errors.Is(err, errLineTooLong) {
			t.Errorf("error = %v, want %v", err, errLineTooLong)
		}
	}
}

func FuzzEventReader(f *testing.F) {
	f.Add([]byte("id: 1\nevent: a\ndata: one\n\n:c\n\nretry: 5\n\n"))
	f.Add([]byte("\r\n\r\ndata\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newEventReader(bytes.NewReader(stream), func() {})
		for n := 0; ; n++ {
			if _, err := r.next(); err != nil {
				return
			}
			if n > len(stream) {
				t.Fatal("more events than bytes")
			}
		}
	})
}

// stream writes events numbered from..to as the gateway does.
func stream(w http.ResponseWriter, from, to int) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "retry: 1\n\n")
	for n := from; n <= to; n++ {
		fmt.Fprintf(w, "id: %d\nevent: client.connected\ndata: {\"id\":\"evt_%d\",\"type\":\"client.connected\",\"subject\":\"a\"}\n\n", n, n)
	}
}

func TestEventsResumeBehindTheLastOne(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		switch len(asked) {
		case 1:
			stream(w, 1, 2)
		case 2:
			answer(w, 503, `{"type":"/docs/problems/draining","title":"Draining","status":503}`)
		case 3:
			stream(w, 3, 3)
			io.WriteString(w, "event: overflow\ndata: {}\n\nid: 4\ndata: {\"never\":\"read\"}\n\n")
		case 4:
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: gap\ndata: {\"type\":\"gap\",\"data\":{\"detail\":\"gone\"}}\n\nid: 8\n: keep-alive\n\n")
			stream(w, 9, 9)
		case 5:
			stream(w, 1, 0)
			io.WriteString(w, "id: 40\n: a filter has passed over thirty events\n\nid: 41\ndata: {\"cut\":")
		default:
			answer(w, 401, `{"type":"/docs/problems/unauthenticated","title":"Unauthenticated","status":401}`)
		}
	})
	var got []string
	var last error
	lost := 0
	q := EventQuery{Types: []string{"client.*"}, Reconnecting: func(error, time.Duration) { lost++ }}
	for ev, err := range c.Events(t.Context(), q) {
		if err != nil {
			last = err
			continue
		}
		got = append(got, string(ev.Type)+" "+ev.Position)
	}
	want := []string{"client.connected 1", "client.connected 2", "client.connected 3", "gap 3", "client.connected 9"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"", "2", "2", "3", "9", "40"}, asked); d != "" {
		t.Errorf("Last-Event-ID: %s", d)
	}
	if p, ok := errors.AsType[*Problem](last); !ok || p.Status != 401 || lost != 5 {
		t.Errorf("ended with %v after %d losses, want the 401 after 5", last, lost)
	}
}

func TestEventsEndWithTheCaller(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		stream(w, 1, 3)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	n := 0
	for range c.Events(t.Context(), EventQuery{}) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for ev, err := range c.Events(ctx, EventQuery{}) {
		if last = err; ev.Position == "3" {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended with %v, want context.Canceled", last)
	}
}

func TestEventsRefuseAForeignAnswer(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, `{}`) })
	for _, err := range c.Events(t.Context(), EventQuery{}) {
		if _, ok := errors.AsType[*notGatewayError](err); !ok {
			t.Errorf("error = %v", err)
		}
	}
}

// silentTransport answers with a stream that says one thing and then nothing.
type silentTransport struct{ opened int }

func (s *silentTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.opened++
	pr, pw := io.Pipe()
	go func() {
		io.WriteString(pw, ": hello\n\n")
		<-r.Context().Done()
		pw.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: pr, Request: r}, nil
}

func TestASilentStreamIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &silentTransport{}
		c, err := New("http://gateway.test", WithHTTPClient(&http.Client{Transport: tr}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), silence+time.Second)
		defer cancel()
		var why []string
		for range c.Events(ctx, EventQuery{Reconnecting: func(err error, _ time.Duration) { why = append(why, err.Error()) }}) {
		}
		if tr.opened != 2 || len(why) != 1 || !strings.Contains(why[0], "silent") {
			t.Errorf("opened %d times, lost because %q; want 2 and one silence", tr.opened, why)
		}
	})
}
