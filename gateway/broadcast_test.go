package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func broadcast(t *testing.T, g *gateway.Gateway, r gateway.PushRequest) gateway.Message {
	t.Helper()
	r.Payload = []byte("hello")
	rec, err := g.Push(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Message
}

func connectMany(t *testing.T, g *gateway.Gateway, n int, group string) []*gatewaytest.Link {
	t.Helper()
	links := make([]*gatewaytest.Link, n)
	for i := range links {
		links[i] = gatewaytest.Connect(t, g, gateway.ClientID(fmt.Sprintf("%s-%03d", group, i)),
			gatewaytest.Options{Hello: gateway.Hello{Groups: []string{group}}})
	}
	synctest.Wait() // they have read their queues
	return links
}

func reached(links []*gatewaytest.Link) (n int) {
	for _, l := range links {
		n += len(l.Transmissions())
	}
	return n
}

// A pace of 20 a second is kept to the delivery, and others are not held up by
// it.
func TestBroadcastPace(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		links := connectMany(t, g, 100, "fleet")
		m := broadcast(t, g, gateway.PushRequest{To: gateway.Audience{All: true}, Rate: 20})
		synctest.Wait()
		for second := range 5 {
			if got, want := reached(links), 1+20*second; got != want {
				t.Fatalf("after %d s %d clients are reached, want %d", second, got, want)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if got, _ := g.Message(m.ID); got.Counts.Acked != 100 {
			t.Errorf("in the end: %+v", got.Counts)
		}
	})
}

// A message that a client gets in between follows the paced message: the order of
// one client is kept.
func TestPaceYieldsToOrder(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		links := connectMany(t, g, 50, "fleet")
		broadcast(t, g, gateway.PushRequest{To: gateway.Audience{All: true}, Rate: 1})
		synctest.Wait()
		waiting := slices.IndexFunc(links, func(l *gatewaytest.Link) bool { return len(l.Transmissions()) == 0 })
		push(t, g, gateway.ClientID(fmt.Sprintf("fleet-%03d", waiting)), "single")
		synctest.Wait()
		wantTexts(t, links[waiting], "hello", "single")
	})
}

func TestRateIsForMany(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		for name, r := range map[string]gateway.PushRequest{
			"negative": {To: gateway.Audience{All: true}, Rate: -1},
			"too fast": {To: gateway.Audience{All: true}, Rate: gateway.MaxRate + 1},
			"one":      {To: gateway.Audience{Client: "a"}, Rate: 1},
		} {
			if _, err := g.Push(context.Background(), r); gateway.CodeOf(err) != gateway.CodeValidation {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// askedStore counts the clients that are looked up for deliveries.
type askedStore struct {
	*memstore.Store
	asked map[gateway.ClientID]int
}

func (s *askedStore) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, gateway.Seq, error) {
	s.asked[q.Client]++
	return s.Store.Next(q, buf)
}

// A message to a few does not wake every session.
func TestAFewAreWokenByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &askedStore{memstore.New(memstore.Options{}), make(map[gateway.ClientID]int)}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{Workers: 1})
		connectMany(t, g, 200, "fleet")
		few := connectMany(t, g, 3, "depot")
		synctest.Wait()
		for name, to := range map[string]gateway.Audience{
			"group": {Group: "depot"},
			"list":  {Clients: []gateway.ClientID{"depot-000", "depot-001", "depot-002", "nobody"}},
		} {
			clear(store.asked)
			before := reached(few)
			broadcast(t, g, gateway.PushRequest{To: to})
			synctest.Wait()
			if got := reached(few) - before; got != 3 || len(store.asked) != 3 {
				t.Errorf("%s: %d are reached, %d are looked up; want 3 and 3", name, got, len(store.asked))
			}
		}
		clear(store.asked)
		broadcast(t, g, gateway.PushRequest{To: gateway.Audience{Group: "fleet"}})
		synctest.Wait()
		if got := len(store.asked); got < 200 {
			t.Errorf("most of the clients are members, and %d are looked up", got)
		}
	})
}

func TestPushToMany(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		hello := func(group string) gatewaytest.Options {
			return gatewaytest.Options{Hello: gateway.Hello{Groups: []string{group}}, React: gatewaytest.FlushOnly}
		}
		a := gatewaytest.Connect(t, g, "a", hello("fleet"))
		b := gatewaytest.Connect(t, g, "b", hello("fleet"))
		c := gatewaytest.Connect(t, g, "c", hello("depot"))
		c.Disconnect(gateway.ReasonClientClosed)

		send := func(r gateway.PushRequest) gateway.Message {
			t.Helper()
			rec, err := g.Push(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			m, err := g.Message(rec.Message.ID)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		fleet := send(gateway.PushRequest{To: gateway.Audience{Group: "fleet"}, Payload: []byte("fleet")})
		if fleet.Counts.Total != 2 || fleet.Counts.Sent != 2 {
			t.Errorf("fleet: %+v", fleet.Counts)
		}
		online := send(gateway.PushRequest{To: gateway.Audience{All: true}, OnlineOnly: true, Payload: []byte("online")})
		if online.Counts.Total != 2 {
			t.Errorf("online: %+v", online.Counts)
		}
		all := send(gateway.PushRequest{To: gateway.Audience{All: true}, Payload: []byte("all")})
		if all.Counts.Total != 3 || all.Counts.Sent != 2 || all.Counts.Queued != 1 {
			t.Errorf("all: %+v", all.Counts)
		}
		wantTexts(t, a, "fleet", "online", "all")
		wantTexts(t, b, "fleet", "online", "all")
		for _, l := range []*gatewaytest.Link{a, b} {
			for _, p := range l.Transmissions() {
				l.Ack(p, gateway.AckOK, nil)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if m, err := g.Await(ctx, fleet.ID); err != nil || !m.Completed() || m.Counts.Acked != 2 {
			t.Errorf("fleet: %+v, %v", m.Counts, err)
		}
		c = gatewaytest.Connect(t, g, "c", gatewaytest.Options{})
		if m, err := g.Await(ctx, all.ID); err != nil || m.Counts.Acked != 3 {
			t.Errorf("all: %+v, %v", m.Counts, err)
		}
		wantTexts(t, c, "all")
	})
}

// urgencies counts urgent outcomes.
type urgencies struct {
	gateway.Store
	urgent, all atomic.Int64
}

func (s *urgencies) Settle(o gateway.Outcome, urgent bool) error {
	s.all.Add(1)
	if urgent {
		s.urgent.Add(1)
	}
	return s.Store.Settle(o, urgent)
}

// A caller that waits for a push to many waits for the last answer. The others
// may share a write, even if each comes before the next recipient is sent to.
func TestOnlyTheLastAnswerIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &urgencies{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		connectMany(t, g, 20, "fleet")
		m := broadcast(t, g, gateway.PushRequest{To: gateway.Audience{All: true}, Rate: 10})
		if got, err := g.Await(t.Context(), m.ID); err != nil || got.Counts.Acked != 20 {
			t.Fatalf("it ends with %+v, %v", got.Counts, err)
		}
		if urgent, all := store.urgent.Load(), store.all.Load(); urgent != 1 || all != 20 {
			t.Errorf("%d of %d answers were stored at once, want 1 of 20", urgent, all)
		}
	})
}
