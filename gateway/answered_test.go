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

// interrupted is a store in which something happens between a read and its result.
type interrupted struct {
	gateway.Store
	happens *func()
}

func (s interrupted) between() {
	if f := *s.happens; f != nil {
		*s.happens = nil
		f()
	}
}

func (s interrupted) Message(id gateway.MessageID) (gateway.Message, error) {
	defer s.between()
	return s.Store.Message(id)
}

func (s interrupted) Delivery(m gateway.MessageID, c gateway.ClientID) (gateway.Delivery, error) {
	defer s.between()
	return s.Store.Delivery(m, c)
}

func (s interrupted) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	defer s.between()
	return s.Store.Deliveries(q)
}

func (s interrupted) ClientDeliveries(q gateway.ClientDeliveryQuery) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
	defer s.between()
	return s.Store.ClientDeliveries(q)
}

func (s interrupted) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	defer s.between()
	return s.Store.Messages(q)
}

// A read during which the verdict of a sent delivery comes shows the verdict, or that it was
// sent.
func TestAReadDuringTheVerdict(t *testing.T) {
	for name, read := range map[string]func(g *gateway.Gateway, m gateway.Message) gateway.State{
		"message": func(g *gateway.Gateway, m gateway.Message) gateway.State {
			m, _ = g.Message(m.ID)
			return only(m.Counts)
		},
		"delivery": func(g *gateway.Gateway, m gateway.Message) gateway.State {
			d, _ := g.Delivery(m.ID, "a")
			return d.State
		},
		"messages": func(g *gateway.Gateway, _ gateway.Message) gateway.State {
			page, _ := g.Messages(gateway.MessageQuery{})
			return only(page.Items[0].Counts)
		},
		"deliveries": func(g *gateway.Gateway, m gateway.Message) gateway.State {
			page, _ := g.Deliveries(gateway.DeliveryQuery{Message: m.ID})
			return page.Items[0].State
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(memstore.Options{})
				t.Cleanup(func() { store.Close() })
				var happens func()
				g := gatewaytest.New(t, interrupted{store, &happens}, gateway.Config{})
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				m := push(t, g, "a", "one")
				synctest.Wait()
				if got := read(g, m); got != gateway.Sent {
					t.Fatalf("before, it is %v", got)
				}
				happens = func() {
					l.Session.Acked(m.Seq, false, gateway.AckOK, nil, time.Now())
					synctest.Wait()
				}
				if got := read(g, m); got != gateway.Acked {
					t.Errorf("it is %v, want acked", got)
				}
			})
		})
	}
}

// only is the state of the one delivery.
func only(c gateway.Counts) gateway.State {
	for st := gateway.Queued; st <= gateway.Unknown; st++ {
		if *c.Of(st) > 0 {
			return st
		}
	}
	return gateway.Queued
}

// In the counts of a message to many, too, an answered delivery stays sent until the store
// has its verdict.
func TestAnAnsweredDeliveryOfManyStaysSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, slowStore{store, time.Second}, gateway.Config{})
		gatewaytest.Connect(t, g, "acks", gatewaytest.Options{})
		gatewaytest.Connect(t, g, "reads", gatewaytest.Options{React: gatewaytest.FlushOnly})
		gatewaytest.Connect(t, g, "gone", gatewaytest.Options{}).Disconnect(gateway.ReasonConnectionLost)
		m := pushToAll(t, g)
		synctest.Wait()
		wantCounts(t, g, m, gateway.Counts{Total: 3, Queued: 1, Sent: 2})
		time.Sleep(2 * time.Second)
		wantCounts(t, g, m, gateway.Counts{Total: 3, Queued: 1, Sent: 1, Acked: 1})
	})
}

// When the connection ends, or a verdict is refused, nothing of an answered delivery is left
// in the counts.
func TestAnAnsweredDeliveryOfManyThatIsQueuedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &refusingStore{Store: slowStore{memstore.New(memstore.Options{}), time.Second}}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "ends", gatewaytest.Options{})
		gatewaytest.Connect(t, g, "b", gatewaytest.Options{})
		m := pushToAll(t, g)
		synctest.Wait()
		l.Disconnect(gateway.ReasonConnectionLost)
		wantCounts(t, g, m, gateway.Counts{Total: 2, Queued: 1, Sent: 1})
		time.Sleep(2 * time.Second)
		wantCounts(t, g, m, gateway.Counts{Total: 2, Acked: 2})
		store.refuses.Store(true)
		m = pushToAll(t, g)
		synctest.Wait()
		wantCounts(t, g, m, gateway.Counts{Total: 2, Queued: 2})
	})
}

func pushToAll(t *testing.T, g *gateway.Gateway) gateway.Message {
	t.Helper()
	rec, err := g.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{All: true}, Payload: []byte("all")})
	if err != nil {
		t.Fatal(err)
	}
	return rec.Message
}

func wantCounts(t *testing.T, g *gateway.Gateway, m gateway.Message, want gateway.Counts) {
	t.Helper()
	m, err := g.Message(m.ID)
	if err != nil || m.Counts != want {
		t.Errorf("the counts are %+v, %v; want %+v", m.Counts, err, want)
	}
}

// A read during which verdicts of a message to many come counts none of its deliveries as one
// that has not left.
func TestAReadDuringVerdictsOfMany(t *testing.T) {
	for name, read := range map[string]func(g *gateway.Gateway, m gateway.Message) gateway.Counts{
		"message": func(g *gateway.Gateway, m gateway.Message) gateway.Counts {
			m, _ = g.Message(m.ID)
			return m.Counts
		},
		"messages": func(g *gateway.Gateway, _ gateway.Message) gateway.Counts {
			page, _ := g.Messages(gateway.MessageQuery{})
			return page.Items[0].Counts
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(memstore.Options{})
				t.Cleanup(func() { store.Close() })
				var happens func()
				g := gatewaytest.New(t, interrupted{store, &happens}, gateway.Config{})
				a := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				b := gatewaytest.Connect(t, g, "b", gatewaytest.Options{React: gatewaytest.FlushOnly})
				m := pushToAll(t, g)
				synctest.Wait()
				for acked, l := range []*gatewaytest.Link{a, b} {
					happens = func() {
						l.Session.Acked(m.Seq, false, gateway.AckOK, nil, time.Now())
						synctest.Wait()
					}
					if got, want := read(g, m), (gateway.Counts{Total: 2, Sent: 1 - acked, Acked: 1 + acked}); got != want {
						t.Errorf("the counts are %+v, want %+v", got, want)
					}
				}
			})
		})
	}
}

// A delivery that is canceled while the device's answer is on its way to the store was sent.
func TestACanceledDeliveryWasSentAlsoIfItIsAnswered(t *testing.T) {
	answered(t, func(t *testing.T, g *gateway.Gateway, _ *gatewaytest.Link, m gateway.Message) {
		if _, err := g.Cancel(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		if d := delivery(t, g, m.ID, "a"); d.State != gateway.Canceled || d.Attempts != 1 || d.SentAt.IsZero() {
			t.Errorf("it is %v after %d attempts, sent at %v; want canceled after 1", d.State, d.Attempts, d.SentAt)
		}
		time.Sleep(2 * time.Second)
		if d := delivery(t, g, m.ID, "a"); d.LateAckAt.IsZero() || d.Attempts != 1 {
			t.Errorf("its late ack came at %v, after %d attempts", d.LateAckAt, d.Attempts)
		}
	})
}

// heldFeed is a store that lets nobody hear of its changes while it is held, although they
// can be read.
type heldFeed struct {
	gateway.Store
	observer gateway.Observer
	held     chan struct{} // nil if it is not
	last     uint64        // event
}

func (s *heldFeed) Observe(o gateway.Observer) {
	s.observer = o
	s.Store.Observe(s)
}

func (s *heldFeed) Changed(list []gateway.Change) {
	for _, c := range list {
		if e, ok := c.(*gateway.EventsLogged); ok {
			s.last = e.Last
		}
	}
	if s.held != nil {
		<-s.held
	}
	s.observer.Changed(list)
}

func (s *heldFeed) EventSpan() (forgotten, last uint64, err error) {
	forgotten, last, err = s.Store.EventSpan()
	return forgotten, max(s.last, last), err
}

// A read between the moment at which a verdict can be read, and that at which the sessions
// hear of it, counts its delivery once.
func TestAReadBeforeTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &heldFeed{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { feed.Close() })
		var happens func()
		g := gatewaytest.New(t, interrupted{feed, &happens}, gateway.Config{})
		l := gatewaytest.Connect(t, g, "acks", gatewaytest.Options{React: gatewaytest.FlushOnly})
		gatewaytest.Connect(t, g, "reads", gatewaytest.Options{React: gatewaytest.FlushOnly})
		gatewaytest.Connect(t, g, "gone", gatewaytest.Options{}).Disconnect(gateway.ReasonConnectionLost)
		m := pushToAll(t, g)
		synctest.Wait()
		feed.held = make(chan struct{})
		l.Session.Acked(m.Seq, false, gateway.AckOK, nil, time.Now())
		synctest.Wait()
		time.AfterFunc(time.Millisecond, func() { close(feed.held) })
		wantCounts(t, g, m, gateway.Counts{Total: 3, Queued: 1, Sent: 1, Acked: 1})
	})
}

// A read at the moment at which an online call with a key ends shows its outcome, and not
// that the gateway was restarted.
func TestAReadAtTheEndOfACallWithAKey(t *testing.T) {
	for name, read := range map[string]func(g *gateway.Gateway) gateway.State{
		"messages": func(g *gateway.Gateway) gateway.State {
			page, _ := g.Messages(gateway.MessageQuery{})
			return only(page.Items[0].Counts)
		},
		"deliveries": func(g *gateway.Gateway) gateway.State {
			page, _ := g.ClientDeliveries(gateway.ClientDeliveryQuery{Client: "a"})
			return page.Items[0].State
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(memstore.Options{})
				t.Cleanup(func() { store.Close() })
				var happens func()
				g := gatewaytest.New(t, interrupted{store, &happens}, gateway.Config{})
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				go once(g, "a", time.Minute)
				synctest.Wait()
				if got := read(g); got != gateway.Queued {
					t.Errorf("during the call it is %v", got)
				}
				happens = func() {
					l.Ack(l.Transmissions()[0], gateway.AckOK, nil)
					synctest.Wait()
				}
				if got := read(g); got != gateway.Acked {
					t.Errorf("it is %v, want acked", got)
				}
			})
		})
	}
}
