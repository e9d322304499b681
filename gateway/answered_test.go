package gateway_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// slowStore has each verdict after a while.
type slowStore struct {
	gateway.Store
	after time.Duration
}

func (s slowStore) Settle(o gateway.Outcome, urgent bool) error {
	time.AfterFunc(s.after, func() { _ = s.Store.Settle(o, urgent) })
	return nil
}

func (s slowStore) TrySettle(o gateway.Outcome, urgent bool) bool {
	return s.Settle(o, urgent) == nil
}

// answered runs f with a message that the device has acked, whose verdict the store has after
// a second.
func answered(t *testing.T, f func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link, m gateway.Message)) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, slowStore{store, time.Second}, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		m := push(t, g, "a", "one")
		synctest.Wait()
		f(t, g, l, m)
	})
}

// An answered delivery stays sent until the store has its verdict; it never reads as one that
// has not left.
func TestAnAnsweredDeliveryStaysSent(t *testing.T) {
	answered(t, func(t *testing.T, g *gateway.Gateway, _ *gatewaytest.Link, m gateway.Message) {
		d := delivery(t, g, m.ID, "a")
		if d.State != gateway.Sent || d.Attempts != 1 || d.SentAt.IsZero() {
			t.Errorf("with its verdict on the way it is %v, %d attempts, sent at %v; want sent, 1 and a time", d.State, d.Attempts, d.SentAt)
		}
		if in, ok := g.InFlight(&m); !ok || in.State != gateway.Sent {
			t.Errorf("in flight: %v, %t; want sent", in.State, ok)
		}
		if st := g.Standing(&d); !st.InWindow || !st.Flushed || len(st.History) != 1 {
			t.Errorf("its place is %+v; want that of a flushed one", st)
		}
		time.Sleep(2 * time.Second)
		wantState(t, g, m, gateway.Acked, 1)
		if st := g.Standing(&d); st.InWindow || d.State != gateway.Queued {
			t.Errorf("the session still has it: %+v, %v", st, d.State)
		}
	})
}

// If the connection ends first, the transmissions of an answered delivery go on with the
// client: its next connection repeats the payload as a repeat.
func TestAnAnsweredDeliveryIsARepeatOnTheNextConnection(t *testing.T) {
	answered(t, func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link, m gateway.Message) {
		l.Disconnect(gateway.ReasonConnectionLost)
		if d := delivery(t, g, m.ID, "a"); d.State != gateway.Queued || d.Attempts != 1 {
			t.Errorf("after the connection it is %v, %d attempts; want queued, 1", d.State, d.Attempts)
		}
		time.Sleep(100 * time.Millisecond)
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		wantTexts(t, l, "one again")
		time.Sleep(2 * time.Second)
		wantState(t, g, m, gateway.Acked, 1)
	})
}
