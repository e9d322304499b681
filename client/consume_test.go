package client

import (
	"context"
	"encoding/json"
	"errors"
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
)

// fakeConsumer is a gateway with one consumer, in virtual time. Its log has events 1 to n.
type fakeConsumer struct {
	mu     sync.Mutex
	n      int
	acked  int
	leases int
	until  time.Time // of the last lease
	calls  []string  // acks
	refuse func(r *http.Request) (status int, body string)
}

func (f *fakeConsumer) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := httptest.NewRecorder()
	if f.refuse != nil {
		if status, body := f.refuse(r); status != 0 {
			answer(w, status, body)
			return w.Result(), nil
		}
	}
	lease := fmt.Sprint("lease", f.leases)
	if r.Method == http.MethodGet {
		if r.URL.Query().Get("lease") != lease {
			if time.Now().Before(f.until) {
				answer(w, 409, `{"type":"/docs/problems/lease-held","title":"Held","status":409}`)
				return w.Result(), nil
			}
			f.leases++
			lease = fmt.Sprint("lease", f.leases)
		}
		if f.acked == f.n {
			f.mu.Unlock()
			sleep(r.Context(), consumeWait)
			f.mu.Lock()
		}
		b := Batch{Lease: lease, Through: fmt.Sprint(f.n)}
		for i := f.acked + 1; i <= f.n; i++ {
			b.Events = append(b.Events, Event{ID: fmt.Sprint("evt_", i), Sequence: fmt.Sprint(i), Type: EventMessageReceived})
		}
		f.until = time.Now().Add(30 * time.Second)
		body, _ := json.Marshal(b)
		answer(w, 200, string(body))
		return w.Result(), nil
	}
	var a consumerAck
	body, _ := io.ReadAll(r.Body)
	json.Unmarshal(body, &a)
	if a.Lease != lease || time.Now().After(f.until) {
		answer(w, 409, `{"type":"/docs/problems/lease-held","title":"Held","status":409}`)
		return w.Result(), nil
	}
	f.calls = append(f.calls, a.Through)
	var through int
	fmt.Sscan(a.Through, &through)
	f.acked, f.until = max(f.acked, through), time.Now().Add(30*time.Second)
	if a.Release {
		f.leases, f.until = f.leases+1, time.Time{}
	}
	answer(w, 200, `{"name":"c"}`)
	return w.Result(), nil
}

// consuming runs f in virtual time with a client of a fake gateway that has n events.
func consuming(t *testing.T, n int, f func(t *testing.T, g *fakeConsumer, c *Client)) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeConsumer{n: n}
		c, err := New("http://gateway.test", WithHTTPClient(&http.Client{Transport: g}))
		if err != nil {
			t.Fatal(err)
		}
		f(t, g, c)
	})
}

// A handler that takes minutes keeps its lease.
func TestConsumeRenewsTheLease(t *testing.T) {
	consuming(t, 2, func(t *testing.T, g *fakeConsumer, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		err := c.Consume(ctx, "c", ConsumeOptions{}, func(_ context.Context, ev Event) error {
			time.Sleep(2 * time.Minute)
			if seen = append(seen, ev.ID); len(seen) == 2 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || !slices.Equal(seen, []string{"evt_1", "evt_2"}) || g.leases != 2 {
			t.Errorf("saw %q with %d leases, %v", seen, g.leases-1, err)
		}
		if g.acked != 2 || !g.until.IsZero() {
			t.Errorf("acked %d, lease until %v: the last event is not acked or the lease not given back", g.acked, g.until)
		}
	})
}

// An event whose handler fails is handled again after growing pauses. The events before it
// are acked, and those behind it wait.
func TestConsumeRepeatsAFailedEvent(t *testing.T) {
	consuming(t, 3, func(t *testing.T, g *fakeConsumer, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		var pauses []time.Duration
		begun := time.Now()
		o := ConsumeOptions{Retry: Retry{Max: 4 * time.Second}, Failed: func(ev Event, err error, pause time.Duration) {
			if ev.ID != "evt_2" || err.Error() != "not now" {
				t.Errorf("failed: %s, %v", ev.ID, err)
			}
			pauses = append(pauses, pause)
		}}
		c.Consume(ctx, "c", o, func(_ context.Context, ev Event) error {
			seen = append(seen, ev.ID)
			if ev.ID == "evt_2" && len(seen) < 6 {
				if len(seen) == 3 && g.acked != 1 {
					t.Errorf("acked %d during the repeats, want 1", g.acked)
				}
				return errors.New("not now")
			}
			if ev.ID == "evt_3" {
				cancel()
			}
			return nil
		})
		if want := "evt_1 evt_2 evt_2 evt_2 evt_2 evt_2 evt_3"; strings.Join(seen, " ") != want || g.acked != 3 {
			t.Errorf("saw %q, acked %d", seen, g.acked)
		}
		for i, ceiling := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second} {
			if i >= len(pauses) || pauses[i] < ceiling/2 || pauses[i] > ceiling {
				t.Errorf("pauses %v", pauses)
			}
		}
		if took := time.Since(begun); took > 12*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// After a restart the gateway knows no lease. Consume takes a new one, and does not repeat
// the events that it has handled.
func TestConsumeGoesOnAfterARestartOfTheGateway(t *testing.T) {
	consuming(t, 4, func(t *testing.T, g *fakeConsumer, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		away := time.Time{}
		g.refuse = func(*http.Request) (int, string) {
			if time.Now().Before(away) {
				return 503, `{"type":"/docs/problems/draining","title":"Draining","status":503}`
			}
			return 0, ""
		}
		var seen []string
		waited := 0
		o := ConsumeOptions{AckEvery: 1, Waiting: func(error, time.Duration) { waited++ }}
		c.Consume(ctx, "c", o, func(_ context.Context, ev Event) error {
			seen = append(seen, ev.ID)
			if len(seen) == 2 { // the gateway ends before the ack
				g.mu.Lock()
				defer g.mu.Unlock()
				away = time.Now().Add(5 * time.Second)
				g.until, g.leases = time.Time{}, g.leases+1
			}
			if len(seen) == 4 {
				cancel()
			}
			return nil
		})
		if want := "evt_1 evt_2 evt_3 evt_4"; strings.Join(seen, " ") != want || g.acked != 4 || waited < 2 {
			t.Errorf("saw %q, acked %d after %d pauses", seen, g.acked, waited)
		}
	})
}

// A second process waits for the lease of the first one and then continues.
func TestConsumeIsAStandByForAnother(t *testing.T) {
	consuming(t, 3, func(t *testing.T, g *fakeConsumer, c *Client) {
		first, stop := context.WithCancel(t.Context())
		second, end := context.WithCancel(t.Context())
		var seen []string
		take := func(who string) func(context.Context, Event) error {
			return func(_ context.Context, ev Event) error {
				time.Sleep(time.Minute)
				if seen = append(seen, who+" "+ev.ID); len(seen) == 2 {
					stop()
				}
				if len(seen) == 3 {
					end()
				}
				return nil
			}
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Consume(first, "c", ConsumeOptions{}, take("first")) }()
		synctest.Wait()
		c.Consume(second, "c", ConsumeOptions{}, take("second"))
		<-ended
		if want := "first evt_1, first evt_2, second evt_3"; strings.Join(seen, ", ") != want {
			t.Errorf("handled %q, want %q", strings.Join(seen, ", "), want)
		}
	})
}

// Consume ends with an answer that a repeat would not change, and tells of a gap.
func TestConsumeEndsWithAProblem(t *testing.T) {
	consuming(t, 0, func(t *testing.T, g *fakeConsumer, c *Client) {
		pulls := 0
		g.refuse = func(r *http.Request) (int, string) {
			if r.Method != http.MethodGet {
				return 0, ""
			}
			if pulls++; pulls == 1 {
				g.leases, g.until = 1, time.Now().Add(time.Minute)
				return 200, `{"items":[],"through":"7","lease":"lease1","gap":true}`
			}
			return 404, `{"type":"/docs/problems/consumer-not-found","title":"No such consumer","status":404}`
		}
		var seen []EventType
		err := c.Consume(t.Context(), "c", ConsumeOptions{}, func(_ context.Context, ev Event) error {
			seen = append(seen, ev.Type)
			return nil
		})
		if p, ok := errors.AsType[*Problem](err); !ok || p.Code() != CodeConsumerNotFound {
			t.Errorf("ended with %v", err)
		}
		if !slices.Equal(seen, []EventType{EventGap}) || len(g.calls) == 0 || g.calls[0] != "7" {
			t.Errorf("saw %q, acked %q", seen, g.calls)
		}
	})
}

// The caller learns that the events which it has handled come again.
func TestConsumeReportsThatTheLastAckFailed(t *testing.T) {
	consuming(t, 2, func(t *testing.T, g *fakeConsumer, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		g.refuse = func(r *http.Request) (int, string) {
			if r.Method == http.MethodGet {
				return 0, ""
			}
			return 503, `{"type":"/docs/problems/store-unavailable","title":"No disk","status":503}`
		}
		err := c.Consume(ctx, "c", ConsumeOptions{AckEvery: 10}, func(_ context.Context, ev Event) error {
			if ev.ID == "evt_2" {
				cancel()
			}
			return nil
		})
		if p, ok := errors.AsType[*Problem](err); !errors.Is(err, context.Canceled) || !ok || p.Code() != CodeUnavailable {
			t.Errorf("ended with %v, want both context canceled and the problem of the ack", err)
		}
	})
	consuming(t, 0, func(t *testing.T, g *fakeConsumer, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		g.refuse = func(r *http.Request) (int, string) {
			if r.Method == http.MethodGet {
				return 0, ""
			}
			return 503, `{"type":"/docs/problems/store-unavailable","title":"No disk","status":503}`
		}
		if err := c.Consume(ctx, "c", ConsumeOptions{}, nil); err != context.DeadlineExceeded {
			t.Errorf("without an event that is not acked it ended with %v", err)
		}
	})
}

// A gateway that answers at once, as during its drain, is not asked in a loop.
func TestConsumePausesWhenTheGatewayDoesNotWait(t *testing.T) {
	consuming(t, 0, func(t *testing.T, g *fakeConsumer, c *Client) {
		pulls := 0
		g.refuse = func(r *http.Request) (int, string) {
			pulls++
			return 200, `{"items":[],"through":"0","lease":"l"}`
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c.Consume(ctx, "c", ConsumeOptions{}, func(context.Context, Event) error { return nil })
		if pulls < 3 || pulls > 20 {
			t.Errorf("%d calls in 30 s", pulls)
		}
	})
}
