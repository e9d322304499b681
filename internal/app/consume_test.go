package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/test/loopback"
)

// The Go client consumes what devices send: over failures of its handler, over a restart of
// the gateway, and over its own end, without a loss and without a repeat of what it acked.
func TestConsumeAgainstTheRealAPI(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.TCP.Addr, cfg.HTTP.Addr = loopback.FreeAddr(t), loopback.FreeAddr(t)
	a := start(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := backend(t, a)
	if k, err := c.CreateConsumer(ctx, "orders", client.ConsumerSpec{Types: []string{"message.received"}, Prefix: "meter-", Start: "earliest"}); err != nil || k.Name != "orders" || k.Prefix != "meter-" {
		t.Fatalf("%+v, %v", k, err)
	}
	d, err := device.New(device.Config{Addr: cfg.TCP.Addr, ID: "meter-1"})
	if err != nil {
		t.Fatal(err)
	}
	go d.Run(ctx)
	send := func(from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			if err := d.Send(ctx, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(1, 5)

	var seen []string
	consume := func(last string, each func(text string) error) {
		t.Helper()
		ctx, stop := context.WithCancelCause(ctx)
		done := errors.New("all of them are handled")
		err := c.Consume(ctx, "orders", client.ConsumeOptions{Max: 2, Retry: client.Retry{Base: time.Millisecond, Max: 100 * time.Millisecond}},
			func(_ context.Context, ev client.Event) error {
				text := *ev.Data.Uplink.Text
				if err := each(text); err != nil {
					return err
				}
				if seen = append(seen, text); text == last {
					stop(done)
				}
				return nil
			})
		if err != done {
			t.Fatalf("Consume ends with %v", err)
		}
	}
	failures := 0
	consume("3", func(text string) error {
		if text == "2" && failures < 3 {
			failures++
			return errors.New("not now")
		}
		return nil
	})
	consume("7", func(text string) error { // the next process
		if text == "4" { // the gateway restarts during its first event
			a.Stop(context.WithoutCancel(ctx))
			a = start(t, cfg)
			send(6, 7)
		}
		return nil
	})
	if got := strings.Join(seen, " "); got != "1 2 3 4 5 6 7" || failures != 3 {
		t.Errorf("handled %s after %d failures, want 1 2 3 4 5 6 7", got, failures)
	}
	b, err := c.Pull(ctx, "orders", client.Pull{Max: 10}) // the lease is free at once
	if err != nil || len(b.Events) != 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	if k, err := c.Ack(ctx, "orders", b.Through, b.Lease); err != nil || k.Cursor != b.Through || k.Holder == "" {
		t.Errorf("%+v, %v", k, err)
	}
	_, err = c.Pull(ctx, "orders", client.Pull{})
	wantProblem(t, err, http.StatusConflict, client.CodeLeaseHeld)
	if all, err := c.Consumers(ctx); err != nil || len(all) != 1 || all[0].Name != "orders" {
		t.Errorf("%+v, %v", all, err)
	}
	if k, err := c.Consumer(ctx, "orders"); err != nil || !slices.Equal(k.Types, []string{"message.received"}) {
		t.Errorf("%+v, %v", k, err)
	}
	if err := c.DeleteConsumer(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, c.Consume(ctx, "orders", client.ConsumeOptions{}, nil), http.StatusNotFound, client.CodeConsumerNotFound)
}
