package gateway_test

import (
	"sync"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// TestAReadFindsTheAttemptsWhileTheyMove: the transmissions of a queued delivery are never
// in no place, while sessions begin and end and hand them on.
func TestAReadFindsTheAttemptsWhileTheyMove(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	sent := make(chan bool, 1)
	l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		sent <- true
	}})
	m := push(t, g, "a", "one")
	<-sent
	l.Disconnect(gateway.ReasonConnectionLost)
	over := make(chan bool)
	var moves sync.WaitGroup
	moves.Go(func() { // nothing is transmitted: the devices pause
		for {
			select {
			case <-over:
				return
			default:
			}
			var last *gateway.Session
			for range 2 { // the second takes over
				s, _, err := g.Connect(t.Context(), gateway.Hello{Client: "a", Dialect: "v2"}, gatewaytest.NewLink(gatewaytest.Options{}))
				if err != nil {
					t.Error(err)
					return
				}
				last = s
			}
			last.Closed(gateway.ReasonConnectionLost)
		}
	})
	for range 200_000 {
		if d, ok := g.InFlight(&m); !ok || d.Attempts != 1 {
			t.Errorf("a read without the store has %d attempts, want 1", d.Attempts)
			break
		}
		if d := delivery(t, g, m.ID, "a"); d.Attempts != 1 {
			t.Errorf("a read has %d attempts, want 1", d.Attempts)
			break
		}
		if n := g.TransmissionsOf(&gateway.Delivery{Client: "a", Seq: m.Seq, CreatedAt: m.CreatedAt}); n.Attempts != 1 {
			t.Errorf("%d transmissions are found (known: %v), want 1", n.Attempts, n.Known)
			break
		}
	}
	close(over)
	moves.Wait()
}
