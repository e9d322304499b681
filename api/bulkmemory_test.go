package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestRefusedLinesAreForgotten: however large what is wrong with a line is, its
// answer is small, for it may have to wait for those before it.
func TestRefusedLinesAreForgotten(t *testing.T) {
	h := newHarness(t)
	const mega = 1 << 20
	for name, line := range map[string]string{
		"key":           `{"to":{"client":"a"},"text":"x","key":"` + strings.Repeat("k", mega) + `"}`,
		"member":        `{"to":{"client":"a"},"text":"x","` + strings.Repeat("é", mega/2) + `":1}`,
		"number":        `{"to":{"all":true},"text":"x","online_only":` + strings.Repeat("1", mega) + `}`,
		"metadata name": `{"to":{"client":"a"},"text":"x","metadata":{"` + strings.Repeat("m", mega) + `":""}}`,
		"label":         `{"to":{"labels":{"` + strings.Repeat("l", mega) + `":""}},"text":"x"}`,
		"client":        `{"to":{"client":"` + strings.Repeat("c", mega) + `"},"text":"x"}`,
		"clients":       `{"to":{"clients":["!"` + strings.Repeat(`,"!"`, 999) + `]},"text":"x"}`,
		"group":         `{"to":{"group":"` + strings.Repeat("g", mega) + `"},"text":"x"}`,
		"mode":          `{"to":{"all":true},"text":"x","mode":"` + strings.Repeat("m", mega) + `"}`,
	} {
		a := h.call("POST", "/v1/messages/bulk", line, "Content-Type", ndjson).want(200)
		if !strings.Contains(string(a.body), `"failed":1`) || len(a.body) > 12<<10 {
			t.Errorf("%s: %d bytes answer it, want a refusal of at most 12 KiB: %.200s", name, len(a.body), a.body)
		}
	}
}

// TestPayloadsUnderWayAreBounded: a line is not begun while those before it hold
// all that a bulk request is counted as.
func TestPayloadsUnderWayAreBounded(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		const devices, each = 3, 8
		var links []*gatewaytest.Link
		held := make(chan struct{})
		for i := range devices {
			links = append(links, h.device(gateway.ClientID(fmt.Sprint("c", i)), gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
				l.Sent(p)
				<-held
				l.Ack(p, gateway.AckOK, nil)
			}}))
		}
		var body strings.Builder
		for i := range devices * each {
			body.WriteString(onlineLine(fmt.Sprint("c", i%devices), strings.Repeat("x", gateway.MaxPayload)))
		}
		done := make(chan BulkSummary)
		go func() {
			_, summary := h.bulk("/v1/messages/bulk?wait=60s", body.String())
			done <- summary
		}()
		synctest.Wait()
		begun := 0
		for _, l := range links {
			begun += len(l.Transmissions())
		}
		if want := bulkPayloads / gateway.MaxPayload; begun != want {
			t.Errorf("%d lines of %d bytes are under way, want %d", begun, gateway.MaxPayload, want)
		}
		close(held)
		if summary := <-done; summary.Accepted != devices*each || !summary.Done {
			t.Errorf("summary %+v, want all accepted in the end", summary)
		}
	})
}

// stuck is a caller that takes nothing until it is let go.
type stuck struct {
	header http.Header
	free   chan struct{}
}

func (s *stuck) Header() http.Header         { return s.header }
func (s *stuck) WriteHeader(int)             {}
func (s *stuck) Flush()                      {}
func (s *stuck) Write(b []byte) (int, error) { <-s.free; return len(b), nil }

// endless is a body of one line over and over; it counts them.
type endless struct {
	line  string
	lines atomic.Int64
}

func (e *endless) Read(b []byte) (int, error) {
	e.lines.Add(1)
	return copy(b, e.line), nil
}

// TestAnswersThatNobodyTakesAreBounded: a caller who sends and does not read is
// no longer read either.
func TestAnswersThatNobodyTakesAreBounded(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		w := &stuck{header: make(http.Header), free: make(chan struct{})}
		body := &endless{line: `{"to":{"client":"!"},"text":"x"}` + "\n"}
		ctx, leave := context.WithCancel(t.Context())
		r := newRequest(ctx, "POST", "/v1/messages/bulk", "")
		r.Body = readCloser{body}
		r.Header.Set("Content-Type", ndjson)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { recover() }() // the answer is cut
			h.handler.ServeHTTP(w, r)
		}()
		synctest.Wait()
		// Each answer has more than 200 bytes. Some are with the writer already.
		if n := body.lines.Load(); n > (bulkPending+1<<20)/200 {
			t.Errorf("%d lines were read while none was answered, want those that %d bytes of answers are for", n, bulkPending)
		}
		leave()
		close(w.free)
		<-ended
	})
}
