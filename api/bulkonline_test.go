package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// inBubble runs a test in virtual time, with the API over the in-memory store.
func inBubble(t *testing.T, g gateway.Config, f func(*testing.T, *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{t: t, store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { h.store.Close() })
		h.gateway = gatewaytest.New(t, h.store, g)
		h.handler = New(Config{Gateway: h.gateway})
		f(t, h)
	})
}

func onlineLine(id, text string) string {
	return fmt.Sprintf(`{"to":{"client":%q},"text":%q,"mode":"online"}`, id, text) + "\n"
}

// Each line waits as long as a push of its own would, and no longer.
func TestBulkOnlineLinesTimeOutByThemselves(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		h.device("deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		h.device("slow", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			time.Sleep(1500 * time.Millisecond)
			l.Ack(p, gateway.AckOK, nil)
		}})
		start := time.Now()
		results, summary := h.bulk("/v1/messages/bulk?wait=2s", onlineLine("deaf", "1")+onlineLine("slow", "2")+onlineLine("ghost", "3")+onlineLine("deaf", "4"))
		var got []int
		for _, r := range results {
			got = append(got, r.Status)
		}
		if want := []int{504, 200, 404, 504}; !slices.Equal(got, want) || time.Since(start) != 2*time.Second {
			t.Errorf("answers %v after %v, want %v after 2s", got, time.Since(start), want)
		}
		if summary.Accepted != 1 || summary.Failed != 3 || !summary.Done {
			t.Errorf("summary %+v", summary)
		}
	})
}

// A bulk request takes some of a client's places, in order, and leaves the rest
// to other callers.
func TestBulkLeavesAClientToOthers(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		l := h.device("a", gatewaytest.Options{Window: 1, React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			time.Sleep(10 * time.Millisecond)
			l.Ack(p, gateway.AckOK, nil)
		}})
		var body strings.Builder
		var want []string
		for i := range 200 { // more than may wait for one client
			body.WriteString(onlineLine("a", fmt.Sprint(i)))
			want = append(want, fmt.Sprint(i))
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			started := time.Now()
			h.in(t).call("POST", "/v1/clients/a/messages", `{"text":"other","mode":"online"}`).want(200)
			if waited := time.Since(started); waited > (bulkPerClient+1)*10*time.Millisecond {
				t.Errorf("another caller waited %v for its turn", waited)
			}
		}()
		_, summary := h.bulk("/v1/messages/bulk?wait=10s", body.String())
		if summary.Accepted != 200 {
			t.Fatalf("summary %+v", summary)
		}
		var got []string
		for _, p := range l.Transmissions() {
			if string(p.Payload) != "other" {
				got = append(got, string(p.Payload))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the client got %v", got)
		}
	})
}

// What was read of a request is carried out, also when its caller has left or
// closed its direction; its waits end soon after that.
func TestBulkCallerWhoLeaves(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		l := h.device("deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		ctx, leave := context.WithCancel(context.Background())
		body, send := io.Pipe()
		r := newRequest(ctx, "POST", "/v1/messages/bulk?wait=60s", "")
		r.Body = body
		r.Header.Set("Content-Type", ndjson)
		w, ended := newRecorder(), make(chan struct{})
		go func() { defer close(ended); h.handler.ServeHTTP(w, r) }()
		for i := range 10 {
			io.WriteString(send, onlineLine("deaf", fmt.Sprint(i)))
		}
		synctest.Wait()
		start := time.Now()
		leave()
		send.CloseWithError(io.ErrUnexpectedEOF)
		synctest.Wait()
		if n := len(l.Transmissions()); n != 10 || h.gateway.Stats().InFlight != 10 {
			t.Errorf("%d are under way after the caller has left, want 10", h.gateway.Stats().InFlight)
		}
		<-ended
		if n := h.gateway.Stats().InFlight; n != 0 || time.Since(start) != halfClosedWait {
			t.Errorf("%d deliveries wait %v later, want none after halfClosedWait", n, time.Since(start))
		}
		if got := w.Body.String(); strings.Count(got, `"status":504,"problem"`) != 10 || !strings.Contains(got, `{"done":false,"lines":10,`) || !strings.Contains(got, "incomplete-body") {
			t.Errorf("the answer is %s", got)
		}
	})
}

// An answer waits for others only while they can come: a caller who sends line
// by line has each answer at once.
func TestBulkAnswersLineByLineAtOnce(t *testing.T) {
	inBubble(t, gateway.Config{}, func(t *testing.T, h *harness) {
		h.device("a", gatewaytest.Options{})
		body, send := io.Pipe()
		answers := &writes{got: make(chan string, 10), header: make(http.Header)}
		r := newRequest(context.Background(), "POST", "/v1/messages/bulk", "")
		r.Body = body
		r.Header.Set("Content-Type", ndjson)
		go h.handler.ServeHTTP(answers, r)
		for i := range 3 {
			start := time.Now()
			io.WriteString(send, onlineLine("a", "x"))
			if line := <-answers.got; !strings.Contains(line, fmt.Sprintf(`{"line":%d,"status":200,`, i+1)) || time.Since(start) != 0 {
				t.Errorf("line %d is answered after %v: %s", i+1, time.Since(start), line)
			}
		}
		send.Close()
		if line := <-answers.got; !strings.HasPrefix(line, `{"done":true,"lines":3,`) {
			t.Errorf("the end is %s", line)
		}
	})
}

// writes gives away each write of an answer.
type writes struct {
	header http.Header
	got    chan string
}

func (w *writes) Header() http.Header { return w.header }
func (w *writes) WriteHeader(int)     {}
func (w *writes) Flush()              {}
func (w *writes) Write(b []byte) (int, error) {
	w.got <- string(b)
	return len(b), nil
}
