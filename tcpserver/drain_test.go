package tcpserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

// draining starts a drain and returns its result.
func (w *world) draining(limit time.Duration, o DrainOptions) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		done <- w.srv.Drain(ctx, o)
	}()
	synctest.Wait()
	return done
}

func TestDrainTellsEveryDeviceToComeBackAtItsOwnTime(t *testing.T) {
	inBubble(t, func(w *world) {
		var all []*device
		for i := range 50 {
			all = append(all, w.register(fmt.Sprint("d", i)))
		}
		done := w.draining(20*time.Second, DrainOptions{RetrySpread: 10 * time.Second})
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		times := map[int]bool{}
		for _, d := range all {
			var code, retry int
			var reason string
			if _, err := fmt.Sscanf(d.heard(), "CLOSE %d %d %s", &code, &retry, &reason); err != nil {
				t.Fatalf("last words %q: %v", d.heard(), err)
			}
			if code != 3000 || reason != "shutdown" || retry > 10_000 {
				t.Errorf("closed with %d %s, retry after %d ms", code, reason, retry)
			}
			times[retry] = true
		}
		if len(times) < 30 {
			t.Errorf("%d different retry times for 50 devices, want them spread", len(times))
		}
		if got := w.srv.Stats(); got.Closed["shutdown"] != 50 || got.Open != 0 {
			t.Errorf("closed %d, open %d, want 50, 0", got.Closed["shutdown"], got.Open)
		}
	})
}

func TestDrainWaitsForAcks(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		s := w.gw.session("d")
		s.deliver(1, "x")
		synctest.Wait()
		d.forget()
		done := w.draining(20*time.Second, DrainOptions{RetrySpread: -1, AckWait: 2 * time.Second})
		w.pass(time.Second)
		d.wantHeard("")
		if err := s.deliver(2, "y"); !errors.Is(err, gateway.ErrLinkBusy) {
			t.Errorf("deliver while draining = %v, want ErrLinkBusy", err)
		}
		d.say("ACK 1")
		d.wantHeard("CLOSE 3000 0 shutdown\n")
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
		w.wantSaid("d: start", "d: sent 1", `d: acked 1 code 0 ""`, "d: closed shutdown")
	})
}

func TestDrainDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		w.gw.session("d").deliver(1, "x")
		synctest.Wait()
		d.forget()
		done := w.draining(20*time.Second, DrainOptions{RetrySpread: -1, AckWait: 2 * time.Second})
		w.pass(2*time.Second - 1)
		d.wantHeard("")
		w.pass(1)
		d.wantHeard("CLOSE 3000 0 shutdown\n")
		if err := <-done; err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
}

func TestDrainCutsOffWhenItsTimeIsUp(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1") // reads nothing, so that it never sees CLOSE
		d.say("REGISTER d")
		start := time.Now()
		done := w.draining(500*time.Millisecond, DrainOptions{})
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want DeadlineExceeded", err)
		}
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("Drain took %v, want 500ms", took)
		}
		w.wantSaid("d: start", "d: closed shutdown")
		d.nc.Close()
	})
}

func TestDrainWithNobodyThereIsQuick(t *testing.T) {
	inBubble(t, func(w *world) {
		if err := <-w.draining(time.Second, DrainOptions{}); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if took := time.Since(w.start); took != 0 {
			t.Errorf("Drain took %v, want nothing", took)
		}
	})
}

func TestUnregisteredConnectionsAreDrainedToo(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dial()
		d.wantHeard("") // it is accepted
		if err := <-w.draining(20*time.Second, DrainOptions{}); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if d.closedAt() < 0 || strings.Contains(d.heard(), "PING") {
			t.Errorf("connection still open after the drain")
		}
	})
}

// A call that waits for the store ends with the drain's time, too.
func TestDrainDoesNotWaitForTheStore(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onReceived = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		d := w.register("d")
		d.say("DATA 1 x")
		start := time.Now()
		if err := <-w.draining(3*time.Second, DrainOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want DeadlineExceeded", err)
		}
		if took := time.Since(start); took > 3*time.Second+tick {
			t.Errorf("Drain took %v, want 3s", took)
		}
	})
}
