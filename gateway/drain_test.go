package gateway_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// Draining ends every wait at once, with the current state of the message.
func TestDrainEndsEveryWait(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "deaf", gatewaytest.Options{React: gatewaytest.FlushOnly, Window: 2})
		to := gateway.Audience{Client: "deaf"}
		stored := push(t, g, "deaf", "takes a place in the window")
		synctest.Wait()

		start := time.Now()
		var waits sync.WaitGroup
		waits.Go(func() {
			m, err := g.Await(context.Background(), stored.ID)
			if err != nil || m.Completed() {
				t.Errorf("await: %+v, %v, want the message as it stands", m, err)
			}
		})
		var sentErr, queuedErr error
		waits.Go(func() { _, sentErr = online(g, "deaf", "sent", time.Minute) })
		synctest.Wait()
		waits.Go(func() { _, queuedErr = online(g, "deaf", "finds no room", time.Minute) })
		waits.Go(func() {
			rec, err := g.PushAndAwait(context.Background(), gateway.PushRequest{To: to, Payload: []byte("y")}, time.Minute)
			if err != nil || rec.Message.Completed() || rec.Message.ID == "" {
				t.Errorf("push and await: %+v, %v, want the message as it stands", rec, err)
			}
		})
		synctest.Wait()
		g.Drain()
		waits.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("the waits ended after %v, want at once", took)
		}
		if e, _ := errors.AsType[*gateway.Error](sentErr); e == nil || e.Code != gateway.CodeAckTimeout || e.Reason != gateway.ReasonDraining {
			t.Errorf("an online call that was sent: %v, want %s with the reason %s", sentErr, gateway.CodeAckTimeout, gateway.ReasonDraining)
		}
		if gateway.CodeOf(queuedErr) != gateway.CodeDraining {
			t.Errorf("an online call that was not sent: %v, want %s", queuedErr, gateway.CodeDraining)
		}
		if n := g.Stats().InFlight; n != 1 {
			t.Errorf("%d in flight, want the stored one: its ack still counts", n)
		}
		if m, err := g.Await(context.Background(), stored.ID); err != nil || m.Completed() || time.Since(start) != 0 {
			t.Errorf("a wait that begins later: %+v, %v, after %v; want at once", m, err, time.Since(start))
		}
	})
}

// A call in the window whose frame is not flushed yet may reach the device. Its
// error must not say that nothing was sent.
func TestAnOnlineCallInTheWindowMayArrive(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "slow", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
		_, err := online(g, "slow", "x", time.Second)
		if e, _ := errors.AsType[*gateway.Error](err); e == nil || e.Reason != gateway.ReasonAckTimeout {
			t.Errorf("%v, want the reason %s", err, gateway.ReasonAckTimeout)
		}
	})
}
