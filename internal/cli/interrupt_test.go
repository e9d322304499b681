package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// stuckGateway has one uplink, and gives no further answer until the test ends. asked gets
// each call that waits.
func stuckGateway(t *testing.T) (url string, asked chan string) {
	t.Helper()
	asked = make(chan string, 8)
	ended := make(chan struct{})
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/uplinks" && r.URL.Query().Get("after") == "0" {
			say(200, `{"items":[{"seq":5,"client":"truck-17","received_at":"2026-11-22T08:00:00.000Z","text":"21.5"}],"next_after":5,"more":false}`)(w, r)
			return
		}
		asked <- r.Method + " " + r.URL.Path
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(g.Close)
	t.Cleanup(func() { close(ended) })
	return g.URL, asked
}

// Followed uplinks are shown as they come, and an interrupt is their normal end.
func TestFollowedUplinksAreShownAtOnce(t *testing.T) {
	for _, output := range []string{"table", "json"} {
		url, asked := stuckGateway(t)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		out := newScreen()
		var errs bytes.Buffer
		code := make(chan int, 1)
		go func() {
			code <- Main(ctx, Program{Out: out, Err: &errs, Env: []string{}}, []string{"uplinks", "--follow", "-o", output, "--server", url})
		}()
		<-asked // the command waits for more
		out.mu.Lock()
		if text := out.text.String(); !strings.Contains(text, "21.5") {
			t.Errorf("%s: %q is shown while the command waits for more, want the uplink", output, text)
		}
		out.mu.Unlock()
		interrupt()
		if got := <-code; got != exitOK || errs.Len() > 0 {
			t.Errorf("%s: an interrupt ends it with %d and %q, want 0 and nothing", output, got, &errs)
		}
	}
}

// An interrupted push says that the message may be there, and other commands say that they
// were interrupted.
func TestAnInterruptIsSaid(t *testing.T) {
	for args, want := range map[string]string{
		"push truck-17 hello --wait 30s": "longwire: interrupted: the gateway may have the message",
		"push --all hello --wait 30s":    "longwire: interrupted: the gateway may have the message",
		"clients probe truck-17":         "longwire: interrupted\n",
		"messages ls":                    "longwire: interrupted\n",
	} {
		url, asked := stuckGateway(t)
		ctx, interrupt := context.WithCancel(t.Context())
		go func() {
			<-asked
			interrupt()
		}()
		var out, errs bytes.Buffer
		p := Program{In: strings.NewReader(""), Out: &out, Err: &errs, Env: []string{}}
		if code := Main(ctx, p, append(strings.Fields(args), "--server", url)); code != exitFailed || !strings.HasPrefix(errs.String(), want) {
			t.Errorf("%s = %d, %q, want %d, %q", args, code, &errs, exitFailed, want)
		}
		interrupt()
	}
}

// What follows goes on when the gateway was away, as tail does, and says so.
func TestWhatFollowsOutlivesALostGateway(t *testing.T) {
	for args, path := range map[string]string{"uplinks --follow --limit 2": "/v1/uplinks", "clients timeline truck-17 --follow": "/v1/clients/truck-17/timeline"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel() // both wait between their calls
			var calls atomic.Int32
			ctx, interrupt := context.WithCancel(t.Context())
			g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := calls.Add(1)
				switch {
				case n > 1 && n < 7 || r.URL.Path != path:
					panic(http.ErrAbortHandler)
				case path == "/v1/uplinks":
					say(200, fmt.Sprintf(`{"items":[{"seq":%d,"client":"truck-17","text":"value-%d"}],"next_after":%d,"more":false}`, n, n, n))(w, r)
				default:
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprintf(w, "retry: 1\n\nid: %d\ndata: {\"id\":\"%d\",\"what\":\"frame\",\"text\":\"value-%d\"}\n\n", n, n, n)
					if n >= 7 {
						w.(http.Flusher).Flush()
						interrupt()
						<-r.Context().Done()
					}
				}
			}))
			var out, errs bytes.Buffer
			code := Main(ctx, Program{Out: &out, Err: &errs, Env: []string{}}, append(strings.Fields(args), "--server", g.URL))
			if code != exitOK || !strings.Contains(out.String(), "value-1") || !strings.Contains(errs.String(), "longwire: stream lost (") {
				t.Errorf("%s = %d, %q, %q, want 0, the first entry, and that the stream was lost", args, code, out.String(), errs.String())
			}
			if calls.Load() < 7 {
				t.Errorf("%s asked %d times, want 7", args, calls.Load())
			}
			interrupt()
			g.Close()
		})
	}
}
