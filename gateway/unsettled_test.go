package gateway_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// refusingStore refuses verdicts while it is set to.
type refusingStore struct {
	gateway.Store
	refuses atomic.Bool
}

func (s *refusingStore) Settle(o gateway.Outcome, urgent bool) error {
	if s.refuses.Load() {
		return gateway.ErrUnavailable
	}
	return s.Store.Settle(o, urgent)
}

func (s *refusingStore) TrySettle(o gateway.Outcome, urgent bool) bool {
	return !s.refuses.Load() && s.Store.TrySettle(o, urgent)
}

// refused runs f with a delivery of which the device has had one transmission, and whose
// verdict the store has just refused.
func refused(t *testing.T, f func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link, m gateway.Message)) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingStore{Store: memstore.New(memstore.Options{})}
		store.refuses.Store(true)
		t.Cleanup(func() { store.Store.(*memstore.Store).Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		m := push(t, g, "a", "one")
		synctest.Wait()
		store.refuses.Store(false)
		f(t, g, l, m)
	})
}

// TestARefusedVerdictIsARepeatOnTheNextConnection: the device has handled the payload, and
// is told so by DUP also if the connection ends before the payload comes again on it.
func TestARefusedVerdictIsARepeatOnTheNextConnection(t *testing.T) {
	refused(t, func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link, m gateway.Message) {
		before := delivery(t, g, m.ID, "a")
		l.Disconnect(gateway.ReasonConnectionLost)
		l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		wantTexts(t, l, "one again")
		wantState(t, g, m, gateway.Acked, 2)
		if before.State != gateway.Queued || before.Attempts != 1 {
			t.Errorf("before, it was %v after %d attempts, want queued after 1", before.State, before.Attempts)
		}
		if n := g.Stats().InFlight; n != 0 {
			t.Errorf("%d deliveries are in flight, want none", n)
		}
	})
}

// TestARefusedVerdictComesAgain: the payload comes again on the same connection.
func TestARefusedVerdictComesAgain(t *testing.T) {
	refused(t, func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link, m gateway.Message) {
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantTexts(t, l, "one", "one again")
		wantState(t, g, m, gateway.Acked, 2)
	})
}
