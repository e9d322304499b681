package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// reader is a caller of the event stream, block by block.
type reader struct {
	t      *testing.T
	blocks chan string
	cancel context.CancelFunc
	header http.Header
	ended  chan struct{}
}

// subscribe opens a stream in memory, without sockets, so that it works in
// virtual time too.
func (h *harness) subscribe(target string, headers ...string) *reader {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	rd := &reader{t: h.t, blocks: make(chan string, 1000), cancel: cancel, header: make(http.Header), ended: make(chan struct{})}
	r := newRequest(ctx, "GET", target, "")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	begun := make(chan struct{})
	go func() {
		defer close(rd.ended)
		h.handler.ServeHTTP(&pipeWriter{header: rd.header, w: pw, begun: sync.OnceFunc(func() { close(begun) })}, r)
		pw.Close()
	}()
	separator := "\n\n"
	if strings.Contains(r.Header.Get("Accept"), "ndjson") {
		separator = "\n"
	}
	go split(pr, separator, rd.blocks)
	h.t.Cleanup(func() { cancel(); <-rd.ended })
	<-begun
	return rd
}

func split(r io.Reader, separator string, blocks chan<- string) {
	defer close(blocks)
	sc := bufio.NewScanner(r)
	sc.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := strings.Index(string(data), separator); i >= 0 {
			return i + len(separator), data[:i], nil
		}
		return 0, nil, nil
	})
	for sc.Scan() {
		blocks <- sc.Text()
	}
}

// pipeWriter is a ResponseWriter whose reader reads while it writes.
type pipeWriter struct {
	header http.Header
	w      io.Writer
	begun  func() // called when the header is on its way
}

func (p *pipeWriter) Header() http.Header         { return p.header }
func (p *pipeWriter) WriteHeader(int)             {}
func (p *pipeWriter) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *pipeWriter) Flush()                      { p.begun() }

func (r *reader) block() string {
	r.t.Helper()
	select {
	case b, ok := <-r.blocks:
		if !ok {
			r.t.Fatal("the stream ended")
		}
		return b
	case <-time.After(time.Minute):
		r.t.Fatal("nothing came")
	}
	return ""
}

// event reads one server-sent event and checks that its lines agree.
func (r *reader) event() Event {
	r.t.Helper()
	block := r.block()
	var e Event
	_, data, ok := strings.Cut(block, "data: ")
	if !ok {
		r.t.Fatalf("no data in %q", block)
	}
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		r.t.Fatalf("%q: %v", data, err)
	}
	wantDescribed(r.t, data)
	if !strings.Contains(block, "event: "+e.Type+"\n") || e.Sequence != "" && !strings.HasPrefix(block, "id: "+e.Sequence+"\n") {
		r.t.Errorf("%q: id and event do not agree with the data", block)
	}
	if e.SpecVersion != "1.0" || e.Source == "" || !strings.HasPrefix(e.ID, "evt_") || e.Time == "" {
		r.t.Errorf("%+v is not a CloudEvents event", e)
	}
	return e
}

// wantDescribed holds an event against the description of its type.
func wantDescribed(t *testing.T, data string) {
	t.Helper()
	doc, err := openapi()
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatal(err)
	}
	if err := doc.Components.Schemas["Event"].Value.VisitJSON(v); err != nil {
		t.Errorf("%s is not as described: %v", data, err)
	}
	kind := doc.Components.Schemas["Event"].Value.Discriminator.Mapping[v["type"].(string)]
	described := doc.Components.Schemas[strings.TrimPrefix(kind.Ref, "#/components/schemas/")]
	if described == nil {
		t.Fatalf("there is no schema for %v", v["type"])
	}
	for member := range v["data"].(map[string]any) {
		if described.Value.Properties["data"].Value.Properties[member] == nil {
			t.Errorf("%s has data.%s, which its type does not describe", data, member)
		}
	}
}

func TestEventsAsTheyHappen(t *testing.T) {
	h := newHarness(t)
	r := h.subscribe("/v1/events")
	if got := r.block(); got != "retry: 2000" {
		t.Errorf("begins with %q, want the retry time", got)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", "Cache-Control": "no-store"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	link := h.device("a", answering(gateway.AckOK, "fine"))
	if e := r.event(); e.Type != "client.connected" || e.Subject != "a" || e.Data.Dialect != "v2" {
		t.Errorf("got %+v, want connected", e)
	}
	m := decode[Message](h.call("POST", "/v1/clients/a/messages?wait=5s", pushText("x")).want(200))
	if e := r.event(); e.Type != "message.acked" || e.Data.MessageID != m.ID || text(e.Data.Result) != "fine" || e.Data.Status != "acked" {
		t.Errorf("got %+v, want acked with the result", e)
	}
	if err := link.Session.Received(t.Context(), 9, []byte("21.5")); err != nil {
		t.Fatal(err)
	}
	if e := r.event(); e.Type != "message.received" || e.Data.Uplink == nil || text(e.Data.Uplink.Text) != "21.5" || e.Data.Uplink.Number != 9 {
		t.Errorf("got %+v, want the uplink", e)
	}
	link.Disconnect(gateway.ReasonHeartbeatTimeout)
	if e := r.event(); e.Type != "client.disconnected" || e.Data.Reason != "heartbeat_timeout" || e.Data.By != "gateway" {
		t.Errorf("got %+v, want disconnected with the reason", e)
	}
}

func TestEventFilters(t *testing.T) {
	h := newHarness(t)
	acked := h.subscribe("/v1/events?types=message.*", "Accept", ndjson)
	ofB := h.subscribe("/v1/events?client=b&types=client.connected,client.disconnected", "Accept", ndjson)
	h.device("a", gatewaytest.Options{})
	h.device("b", gatewaytest.Options{}).Disconnect(gateway.ReasonClientClosed)
	h.call("POST", "/v1/clients/a/messages?wait=5s", pushText("x")).want(200)
	var e Event
	json.Unmarshal([]byte(acked.block()), &e)
	if e.Type != "message.acked" {
		t.Errorf("message.*: %+v, want acked first", e)
	}
	for _, want := range []string{"client.connected", "client.disconnected"} {
		json.Unmarshal([]byte(ofB.block()), &e)
		if e.Type != want || e.Subject != "b" {
			t.Errorf("client=b: %+v, want %s", e, want)
		}
	}
	if got := ofB.header.Get("Content-Type"); got != ndjson {
		t.Errorf("content type %q, want %q", got, ndjson)
	}
}

func TestEventsResume(t *testing.T) {
	h := newHarnessOn(t, gateway.Config{EventBuffer: 64})
	first := h.subscribe("/v1/events")
	first.block()
	link := h.device("a", gatewaytest.Options{})
	seen := first.event()
	first.cancel()
	receive := func(i int) {
		t.Helper()
		if err := link.Session.Received(t.Context(), uint64(i+1), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		receive(i)
	}
	again := h.subscribe("/v1/events", "Last-Event-ID", seen.Sequence)
	again.block()
	for i := range 3 {
		if e := again.event(); text(e.Data.Uplink.Text) != fmt.Sprint(i) {
			t.Errorf("after resuming: %+v, want uplink %d", e, i)
		}
	}
	byQuery := h.subscribe("/v1/events?after=" + seen.Sequence)
	byQuery.block()
	if e := byQuery.event(); text(e.Data.Uplink.Text) != "0" {
		t.Errorf("by query: %+v, want the first uplink", e)
	}
	newest := h.subscribe("/v1/events")
	newest.block()
	for i := range 100 {
		receive(3 + i)
		newest.event()
	}
	whole := h.subscribe("/v1/events", "Last-Event-ID", seen.Sequence)
	whole.block()
	for i := range 103 {
		if e := whole.event(); text(e.Data.Uplink.Text) != fmt.Sprint(i) {
			t.Fatalf("behind the cache: %+v, want uplink %d", e, i)
		}
	}
	for _, position := range []string{"12345", "not-ours"} {
		late := h.subscribe("/v1/events", "Last-Event-ID", position)
		late.block()
		if e := late.event(); e.Type != "gap" || e.Sequence == "" {
			t.Errorf("from %s: %+v, want gap", position, e)
		}
		if e := late.event(); e.ID != seen.ID {
			t.Errorf("from %s, after the gap: %+v, want the oldest kept event", position, e)
		}
	}
}

// A cursor of an earlier data directory is no cursor of this log, which begins later.
func TestACursorFromBeforeTheLog(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	h := newHarness(t)
	h.handler = New(Config{Gateway: g})
	read := func(query string, headers ...string) (types []string) {
		r := newRequest(t.Context(), "GET", "/v1/events?follow=false"+query, "")
		r.Header.Set("Accept", ndjson)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := newRecorder()
		h.handler.ServeHTTP(w, r)
		for line := range strings.Lines(w.Body.String()) {
			if strings.Contains(line, "specversion") {
				types = append(types, decode[Event](answer{t: t, body: []byte(line)}).Type)
			}
		}
		return types
	}
	begun := time.Now()
	if got := read("&after=earliest"); len(got) > 0 || time.Since(begun) > keepAlive/2 {
		t.Errorf("an empty log is read in %v and has %q", time.Since(begun), got)
	}
	sub := g.SubscribeNow()
	gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	first, err := sub.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, withGap := []string{"client.connected"}, []string{"gap", "client.connected"}
	for _, c := range []struct {
		query, last string
		want        []string
	}{
		{"", "12345", withGap}, {"", "not-ours", withGap}, {"&after=12345", "", withGap},
		{fmt.Sprint("&after=", first[0].Seq-1), "", all}, {fmt.Sprint("&after=", first[0].Seq), "", nil},
		{"&after=0", "", all}, {"&after=earliest", "", all}, {"&since=1h", "", all}, {"", "", nil},
		{"", "earliest", all}, {"", "0", all}, {"", "now", nil}, {"&since=1h", "now", nil},
	} {
		if got := read(c.query, "Last-Event-ID", c.last); !slices.Equal(got, c.want) {
			t.Errorf("%q with Last-Event-ID %q: %q, want %q", c.query, c.last, got, c.want)
		}
	}
}

func TestSlowReaderIsToldOfOverflow(t *testing.T) {
	store := memstore.New(memstore.Options{MaxEvents: 8})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	link := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	s := newServer(Config{Gateway: g})
	view := s.views.View(apikey.Anyone, tenant.Request{})
	st := stream{server: s, view: &view, w: newRecorder(), sub: view.SubscribeNow()}
	st.wire = http.NewResponseController(st.w)
	for i := range 20 {
		if err := link.Session.Received(t.Context(), uint64(i+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.next(t.Context(), nil); err != gateway.ErrOverflow {
		t.Errorf("got %v, want the stream to end", err)
	}
	if got := st.w.(interface{ Result() *http.Response }).Result(); got != nil {
		body, _ := io.ReadAll(got.Body)
		if !strings.Contains(string(body), "event: overflow\n") {
			t.Errorf("told %q, want overflow", body)
		}
	}
}

// What an event omits is read from the store.
func TestEventsOfLargeUplinksAreWhole(t *testing.T) {
	h := newHarness(t)
	r := h.subscribe("/v1/events?types=message.received")
	r.block() // retry
	link := h.device("a", gatewaytest.Options{})
	for i, size := range []int{1 << 10, 20 << 10} {
		payload := strings.Repeat("x", size)
		if err := link.Session.Received(t.Context(), uint64(i+1), []byte(payload)); err != nil {
			t.Fatal(err)
		}
		if u := r.event().Data.Uplink; u == nil || text(u.Text) != payload || u.Seq == 0 {
			t.Errorf("the event of an uplink of %d bytes does not have them", size)
		}
	}
}

func TestSilentStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		r := h.subscribe("/v1/events?types=message.acked")
		r.block()
		began := time.Now()
		if got := r.block(); !strings.HasSuffix(got, ": keep-alive") || time.Since(began) != 15*time.Second {
			t.Errorf("after %s: %q, want a comment after 15s", time.Since(began), got)
		}
		h.device("a", gatewaytest.Options{}) // an event that the filter hides
		if got := r.block(); !strings.HasPrefix(got, "id: ") || !strings.HasSuffix(got, "\n: keep-alive") {
			t.Errorf("got %q, want a comment with the position", got)
		}
		r.cancel()
		synctest.Wait()
		<-r.ended
	})
}

// A reader knows that it is connected before anything happens.
func TestStreamsBeginAtOnce(t *testing.T) {
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			began := time.Now()
			h.subscribe("/v1/events?types=message.acked", "Accept", accept)
			if waited := time.Since(began); waited != 0 {
				t.Errorf("%s: the header comes after %s, want at once", accept, waited)
			}
		})
	}
}

func TestStreamsEndWhenTheServerDrains(t *testing.T) {
	h := newHarness(t)
	srv := NewServer(Config{Gateway: h.gateway, MaxStreams: 1})
	h.handler = srv.Handler
	r := h.subscribe("/v1/events")
	h.call("GET", "/v1/events", "").wantProblem(429, problem.RateLimited)
	r.block() // how soon to come back
	srv.BeginDrain()
	if got := r.block(); !strings.HasSuffix(got, ": end of stream") {
		t.Errorf("the stream ends with %q, want a comment", got)
	}
	<-r.ended
}

func TestEventIDsAreStableAndDistinct(t *testing.T) {
	g := newHarness(t).gateway
	s, again := newServer(Config{Gateway: g}).eventForm(nil), newServer(Config{Gateway: g}).eventForm(nil)
	at := time.UnixMilli(1_763_800_000_123)
	seen := make(map[string]bool)
	for seq := uint64(1_763_800_000_000_000); seq < 1_763_800_000_001_000; seq++ {
		id := s.id(seq, at)
		if id != again.id(seq, at) || seen[id] || len(id) != 40 || id[18] != '7' {
			t.Fatalf("%s: want a stable, new UUIDv7", id)
		}
		if n, ok := again.number(id); !ok || n != seq {
			t.Fatalf("%s is of event %d, %t; want %d", id, n, ok, seq)
		}
		seen[id] = true
	}
}

// A finite read ends at the newest event, also if the last events are not selected.
func TestAFiniteReadDoesNotWaitForSelectedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.known("a")
		h.known("b")
		synctest.Wait()
		begun := time.Now()
		for query, want := range map[string]int{"": 4, "&client=a": 2, "&types=message.received": 0} {
			r := httptest.NewRequest("GET", "http://localhost/v1/events?after=earliest&follow=false"+query, nil)
			r.Header.Set("Accept", "application/x-ndjson")
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			if got := strings.Count(w.Body.String(), `"specversion"`); got != want {
				t.Errorf("%q has %d events, want %d: %s", query, got, want, w.Body)
			}
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("the answers took %v", d)
		}
	})
}
