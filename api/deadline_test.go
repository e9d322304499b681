package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// wire is a connection's deadlines as a handler sets them, and what it found
// when it wrote and read.
type wire struct {
	*httptest.ResponseRecorder
	read, write time.Time
	writes      []time.Duration // how long each write might have taken
}

func (w *wire) SetReadDeadline(t time.Time) error  { w.read = t; return nil }
func (w *wire) SetWriteDeadline(t time.Time) error { w.write = t; return nil }

func (w *wire) Write(b []byte) (int, error) {
	w.writes = append(w.writes, time.Until(w.write))
	return w.ResponseRecorder.Write(b)
}

// paced is a body of which a line comes every so often.
type paced struct {
	wire  *wire
	lines []string
	every time.Duration
	reads []time.Duration // how long each read might have taken
}

func (p *paced) Read(b []byte) (int, error) {
	p.reads = append(p.reads, time.Until(p.wire.read))
	time.Sleep(p.every)
	n := copy(b, p.lines[0])
	if p.lines = p.lines[1:]; len(p.lines) == 0 {
		p.lines = []string{""}
		return n, http.ErrBodyReadAfterClose
	}
	return n, nil
}

func all(t *testing.T, what string, got []time.Duration, want time.Duration, least int) {
	t.Helper()
	if len(got) < least {
		t.Errorf("%d %s, want at least %d", len(got), what, least)
	}
	for i, d := range got {
		if d != want {
			t.Errorf("%s %d of %d might take %v, want %v", what, i+1, len(got), d, want)
		}
	}
}

// TestABulkRequestHasADeadlineForEachStep: in reading and in writing, each time
// anew, for the whole may take as long as it likes.
func TestABulkRequestHasADeadlineForEachStep(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		h.known("a")
		w := &wire{ResponseRecorder: httptest.NewRecorder()}
		line := `{"to":{"client":"a"},"text":"x"}` + "\n"
		body := &paced{wire: w, lines: strings.SplitAfter(strings.Repeat(line, 3), "\n"), every: bulkTimeout - time.Second}
		r := newRequest(t.Context(), "POST", "/v1/messages/bulk", "")
		r.Body = readCloser{body}
		r.Header.Set("Content-Type", ndjson)
		h.handler.ServeHTTP(w, r)
		all(t, "reads", body.reads, bulkTimeout, 3)
		all(t, "writes", w.writes, bulkTimeout, 3)
	})
}

// TestAStreamHasADeadlineForEachWrite, however long it lasts.
func TestAStreamHasADeadlineForEachWrite(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		w := &wire{ResponseRecorder: httptest.NewRecorder()}
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); h.handler.ServeHTTP(w, newRequest(ctx, "GET", "/v1/events", "")) }()
		time.Sleep(10 * keepAlive)
		h.device("a", gatewaytest.Options{})
		synctest.Wait()
		leave()
		<-ended
		all(t, "writes", w.writes, streamTimeout, 11)
	})
}
