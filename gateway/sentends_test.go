package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestAFrameThatIsFlushedAfterTheEndIsKnown: a delivery that is canceled while its frame is
// on the way was sent, and it stays so when the connection has ended.
func TestAFrameThatIsFlushedAfterTheEndIsKnown(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
		m := push(t, g, "a", "one")
		synctest.Wait()
		if _, err := g.Cancel(context.Background(), m.ID); err != nil {
			t.Fatal(err)
		}
		wantState(t, g, m, gateway.Canceled, 0)
		l.Sent(l.Transmissions()[0])
		wantState(t, g, m, gateway.Canceled, 1)
		l.Disconnect(gateway.ReasonConnectionLost)
		if d := wantState(t, g, m, gateway.Canceled, 1); d.SentAt.IsZero() {
			t.Error("the time of the transmission is lost")
		}
		if sent := g.TransmissionsOf(&gateway.Delivery{Client: "a", Seq: m.Seq, State: gateway.Canceled, CreatedAt: m.CreatedAt}); !sent.Known || sent.Attempts != 1 {
			t.Errorf("transmissions %+v, want one", sent)
		}
	})
}

// TestSendsOutliveAProcess: how often a canceled delivery was sent is known after a restart.
func TestSendsOutliveAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
		m := push(t, g, "a", "one")
		synctest.Wait()
		l.Sent(l.Transmissions()[0])
		if _, err := g.Cancel(context.Background(), m.ID); err != nil {
			t.Fatal(err)
		}
		want := wantState(t, g, m, gateway.Canceled, 1)
		l.Disconnect(gateway.ReasonConnectionLost)
		synctest.Wait()
		time.Sleep(time.Second)
		next := gatewaytest.New(t, store, gateway.Config{})
		d := wantState(t, next, m, gateway.Canceled, 1)
		if sent := next.TransmissionsOf(&d); !sent.Known || sent.Attempts != 1 || !sent.SentAt.Equal(want.SentAt) {
			t.Errorf("transmissions %+v, want one at %v", sent, want.SentAt)
		}
	})
}
