package gateway_test

import (
	"slices"
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

// failingStore loses what it has not written, and is open again when the test says so.
type failingStore struct {
	gateway.Store
	loses    atomic.Bool
	waits    chan struct{} // Settle waits for it, if set, and is refused
	observer gateway.Observer
}

func (s *failingStore) Observe(o gateway.Observer) {
	s.observer = o
	s.Store.Observe(o)
}

func (s *failingStore) Settle(o gateway.Outcome, urgent bool) error {
	if s.waits != nil {
		<-s.waits
		return gateway.ErrUnavailable
	}
	if s.loses.Load() {
		return nil
	}
	return s.Store.Settle(o, urgent)
}

func (s *failingStore) TrySettle(o gateway.Outcome, urgent bool) bool {
	return s.waits == nil && s.Settle(o, urgent) == nil
}

func (s *failingStore) reopen() { s.observer.Changed([]gateway.Change{&gateway.Reopened{}}) }

func failing(t *testing.T, f func(t *testing.T, g *gateway.Gateway, s *failingStore)) {
	synctest.Test(t, func(t *testing.T) {
		s := &failingStore{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { s.Close() })
		f(t, gatewaytest.New(t, s, gateway.Config{}), s)
	})
}

// A store that fails may lose verdicts that it has taken. Their deliveries come again on the
// same connection, when it is open again; they do not stay sent until their time is over.
func TestALostVerdictComesAgain(t *testing.T) {
	failing(t, func(t *testing.T, g *gateway.Gateway, s *failingStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1})
		s.loses.Store(true)
		one, all := push(t, g, "a", "one"), pushToAll(t, g)
		synctest.Wait()
		s.loses.Store(false)
		s.reopen()
		wantTexts(t, l, "one", "all", "one again", "all again")
		wantState(t, g, one, gateway.Acked, 2)
		wantCounts(t, g, all, gateway.Counts{Total: 1, Acked: 1})
		if n := g.Stats().InFlight; n != 0 {
			t.Errorf("%d deliveries are in flight, want none", n)
		}
	})
}

// A refused verdict holds up a strict device no longer than the store fails.
func TestARefusedVerdictComesAgainWhenTheStoreIsOpen(t *testing.T) {
	failing(t, func(t *testing.T, g *gateway.Gateway, s *failingStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1})
		s.waits = make(chan struct{})
		push(t, g, "a", "one")
		synctest.Wait()
		close(s.waits)
		synctest.Wait()
		s.waits = nil
		push(t, g, "a", "two")
		wantTexts(t, l, "one")
		s.reopen()
		wantTexts(t, l, "one", "one again", "two")
	})
}

// A connection ends while the store has not taken the device's verdict, and then it refuses
// that: the transmission counts.
func TestAVerdictIsRefusedAfterTheConnection(t *testing.T) {
	for name, again := range map[string]bool{"takeover": true, "kick": false} {
		t.Run(name, func(t *testing.T) {
			failing(t, func(t *testing.T, g *gateway.Gateway, s *failingStore) {
				gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
				s.waits = make(chan struct{})
				m, all := push(t, g, "a", "one"), pushToAll(t, g)
				synctest.Wait()
				if !again {
					if err := g.Disconnect(t.Context(), "a", gateway.DisconnectOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				var l *gatewaytest.Link
				if again {
					l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				}
				synctest.Wait()
				close(s.waits)
				synctest.Wait()
				s.waits = nil
				if !again {
					l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				}
				wantTexts(t, l, "one again", "all again")
				if d := delivery(t, g, m.ID, "a"); d.State != gateway.Sent || d.Attempts != 2 {
					t.Errorf("it is %v after %d attempts, want sent after 2", d.State, d.Attempts)
				}
				wantCounts(t, g, all, gateway.Counts{Total: 1, Sent: 1})
			})
		})
	}
}

// A verdict is refused after the delivery has got another end: the delivery is not in flight.
func TestAVerdictIsRefusedAfterTheEnd(t *testing.T) {
	failing(t, func(t *testing.T, g *gateway.Gateway, s *failingStore) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		s.waits = make(chan struct{})
		m := push(t, g, "a", "one")
		synctest.Wait()
		if _, err := g.Cancel(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		close(s.waits)
		synctest.Wait()
		s.waits = nil
		if n := g.Stats().InFlight; n != 0 {
			t.Errorf("%d deliveries are in flight, want none", n)
		}
	})
}

// A device that wants a delivery later gets it then, and not when the wait for a store would
// have ended that was open again before.
func TestARetryLaterAfterARefusedVerdict(t *testing.T) {
	failing(t, func(t *testing.T, g *gateway.Gateway, s *failingStore) {
		code, begun := gateway.AckOK, time.Now()
		var at []time.Duration
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			at = append(at, time.Since(begun))
			l.Sent(p)
			l.Ack(p, code, nil)
		}})
		s.waits = make(chan struct{})
		close(s.waits)
		push(t, g, "a", "one")
		synctest.Wait()
		code, s.waits = gateway.AckRetry, nil
		s.reopen()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []time.Duration{0, 0, time.Second, 3 * time.Second, 7 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("it came at %v, want %v", at, want)
		}
	})
}
