package hostile

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// Callers that stay: streams, waits and bulk requests.
func TestHostileStreams(t *testing.T) {
	alone(t, func(t *testing.T) {
		under(t, nil, []behaviour{
			{"more event streams than there may be", hoardStreams},
			{"forged positions in the event stream", forgedPositions},
			{"waits that pile up", hoardWaits},
			{"a bulk request whose answers nobody reads", unreadBulk},
			{"more lines than a bulk request may have", endlessBulk},
		})
		under(t, func(c *config.Config) {
			keyed(c)
			c.HTTP.MaxStreams, c.HTTP.MaxStreamsPerKey = 12, 4
		}, []behaviour{
			{"more event streams than one key may have", hoardStreamsOfOneKey},
			{"more event streams than there may be, of many keys", hoardStreamsOfManyKeys},
		})
	})
}

const eventsRequest = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"

// stream opens an event stream and reads its head.
func (s *site) stream() *wire {
	s.Helper()
	w := s.wire()
	if err := w.send(eventsRequest); err != nil {
		s.Fatal(err)
	}
	return w
}

func (w *wire) statusLine() string {
	w.s.Helper()
	line, err := w.r.ReadString('\n')
	if err != nil {
		w.s.Fatalf("want a response: %v", err)
	}
	return strings.TrimSpace(line)
}

func hoardStreams(t *testing.T, s *site) {
	const most = 128 // http.max_streams
	var open []*wire
	for range most {
		open = append(open, s.stream())
	}
	for _, w := range open {
		if line := w.statusLine(); line != "HTTP/1.1 200 OK" {
			t.Fatalf("a stream within the bound: %s", line)
		}
	}
	refused := s.ask("GET", "/v1/events", "", "Accept", "text/event-stream")
	s.wantProblem(refused, 429, "rate-limited")
	if refused.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.wantServed()
	for _, w := range open {
		w.Close()
	}
	s.eventually("a place is free again", func() bool {
		w := s.stream()
		defer w.Close()
		return w.statusLine() == "HTTP/1.1 200 OK"
	})
}

// streamOf opens an event stream with a key, and wants it served.
func (s *site) streamOf(secret string) *wire {
	s.Helper()
	w := s.wire()
	_ = w.send(strings.Replace(eventsRequest, "\r\n\r\n", "\r\nConnection: close\r\nAuthorization: Bearer "+secret+"\r\n\r\n", 1))
	if line := w.statusLine(); line != "HTTP/1.1 200 OK" {
		s.Fatalf("a stream within the bounds: %s", line)
	}
	return w
}

func hoardStreamsOfOneKey(t *testing.T, s *site) {
	_, greedy := s.makeKey("", everything...)
	var open []*wire
	for range 4 { // http.max_streams_per_key
		open = append(open, s.streamOf(greedy))
	}
	refused := s.with(greedy, "GET", "/v1/events", "")
	s.wantProblem(refused, 429, "rate-limited")
	if !strings.Contains(refused.body, "the API key has 4") {
		t.Errorf("got %s, want the bound of the key", refused.body)
	}
	_, other := s.makeKey("", everything...)
	open = append(open, s.streamOf(other))
	for _, w := range open {
		w.Close()
	}
}

// Each is below its own limit, and together they are at that of the server.
func hoardStreamsOfManyKeys(t *testing.T, s *site) {
	var open []*wire
	for range 4 {
		_, secret := s.makeKey("", everything...)
		for range 3 { // of 4
			open = append(open, s.streamOf(secret))
		}
	}
	_, another := s.makeKey("", everything...)
	refused := s.with(another, "GET", "/v1/events", "")
	s.wantProblem(refused, 429, "rate-limited")
	if !strings.Contains(refused.body, "12 event streams are open") {
		t.Errorf("got %s, want the bound of the server", refused.body)
	}
	s.wantServed()
	open[0].Close()
	s.eventually("a place is free again", func() bool {
		w := s.wire()
		defer w.Close()
		_ = w.send(strings.Replace(eventsRequest, "\r\n\r\n", "\r\nAuthorization: Bearer "+another+"\r\n\r\n", 1))
		return w.statusLine() == "HTTP/1.1 200 OK"
	})
	for _, w := range open {
		w.Close()
	}
}

// unreadStream opens an event stream, fills it and reads nothing. What nobody
// reads is not kept, for the ring of events has its bound; one who reads gets
// all there is. The stream is cut off after 10 s: wait waits for that.
func (s *site) unreadStream() (wait func()) {
	s.Helper()
	slow, reader := s.stream(), s.stream()
	reader.statusLine()
	before := s.measure()
	got := make(chan int, 1)
	go func() { got <- reader.countUplinks() }()
	p := s.register("noisy")
	const events = 60
	payload := strings.Repeat("e", 150<<10)
	s.stored(events * len(payload))
	for i := range events { // 12 MB on the stream: more than the socket buffers take
		if err := p.send(frame(tData, number(uint64(i+1))+payload)); err != nil {
			s.Fatal(err)
		}
		p.want(tAck)
	}
	s.wantServed()
	p.Close()
	if n := <-got; n == 0 {
		s.Error("the reader who reads got no event")
	}
	reader.Close()
	before.heap += s.memtable
	s.memtable = 0
	s.eventually("memory is as before", func() bool { return s.measure().heap <= before.heap+heapTolerance })
	return func() {
		s.Helper()
		s.eventually("the slow reader is cut off", func() bool { return slow.send("x") != nil })
	}
}

// countUplinks counts them up to the end of the stream, or until a device has
// gone.
func (w *wire) countUplinks() (n int) {
	for {
		line, err := w.r.ReadString('\n')
		if err != nil || strings.Contains(line, `"type":"client.disconnected"`) {
			return n
		}
		if strings.Contains(line, `"type":"message.received"`) {
			n++
		}
	}
}

func forgedPositions(t *testing.T, s *site) {
	for _, id := range []string{"18446744073709551615", "-1", "x", "0", strings.Repeat("9", 1000)} {
		w := s.wire()
		_ = w.send(strings.Replace(eventsRequest, "\r\n\r\n", "\r\nLast-Event-ID: "+id+"\r\n\r\n", 1))
		if line := w.statusLine(); line != "HTTP/1.1 200 OK" {
			t.Errorf("Last-Event-ID %s: %s", clip(id), line)
		}
		w.Close()
	}
	s.wantProblem(s.ask("GET", "/v1/events?types=../../etc", ""), 400, "invalid-parameter")
	s.wantProblem(s.ask("GET", "/v1/events?client=a%0ab", ""), 400, "invalid-parameter")
}

// A wait costs its goroutine until it ends or the caller leaves.
func hoardWaits(t *testing.T, s *site) {
	p := s.register("silent") // takes what it gets and acks nothing
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	const n = 100
	before := s.metric("longwire_messages_accepted_total")
	for range n {
		waiting.Go(func() {
			a, err := s.try(ctx, "POST", "/v1/clients/silent/messages?wait=60s", "x", "Content-Type", "text/plain")
			if err == nil {
				t.Errorf("a wait was answered %d %s", a.status, a.body)
			}
		})
	}
	s.eventually("all wait", func() bool { return s.metric("longwire_messages_accepted_total") >= before+n })
	s.wantServed()
	cancel()
	waiting.Wait()
	p.Close()
	if a := s.ask("DELETE", "/v1/clients/silent?purge=true", ""); a.status >= 300 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
}

const bulkHead = "POST /v1/messages/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"

// One byte of request makes a hundred of answer: when nobody reads them, the
// gateway stops to read the request.
func unreadBulk(t *testing.T, s *site) {
	w := s.wire()
	_ = w.socket().SetReadBuffer(4 << 10)
	if err := w.send(bulkHead); err != nil {
		t.Fatal(err)
	}
	lines := strings.Repeat("{\n", 1000)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(lines), lines)
	_ = w.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
	sent := 0
	for w.send(chunk) == nil {
		sent += 1000
	}
	s.wantServed()
	if now := s.measure(); now.heap > 48<<20 {
		t.Errorf("%d lines were sent and %d MiB are in use", sent, now.heap>>20)
	}
	w.Close()
}

func endlessBulk(t *testing.T, s *site) {
	const most = 100_000 // api.Config.MaxBulkLines
	w := s.wire()
	go func() {
		_ = w.send(bulkHead)
		lines := strings.Repeat("\n", 10_000)
		for w.send(fmt.Sprintf("%x\r\n%s\r\n", len(lines), lines)) == nil {
		}
	}()
	a := w.answer()
	if !strings.Contains(a.body, `"done":false`) || !strings.Contains(a.body, fmt.Sprintf("at most %d lines", most)) {
		t.Errorf("got %s, want the bulk request cut off", clip(a.body))
	}
	w.Close()
}
