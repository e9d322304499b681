package gateway_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// Subscriptions at different places of one log read the same events, whether these are in the cache or not.
func TestSubscribersReadTheSameEvents(t *testing.T) {
	bubble(t, gateway.Config{EventBuffer: 16}, func(t *testing.T, g *gateway.Gateway) {
		link := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		const n = 100
		first, gap, err := g.Subscribe(0)
		if err != nil || !gap { // numbers begin above those of earlier processes
			t.Fatalf("gap %t, %v", gap, err)
		}
		var readers []*gateway.Subscription
		synctest.Wait()
		for i := range n {
			readers = append(readers, g.SubscribeNow())
			if err := link.Session.Received(t.Context(), uint64(i+1), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if i%3 == 0 { // the cache follows this one
				for first.Behind() > 0 {
					if _, err := first.Next(t.Context(), make([]gateway.Event, 0, 7)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for start, r := range readers {
			for i := start; i < n; {
				events, err := r.Next(t.Context(), make([]gateway.Event, 0, 5))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					if e.Type != gateway.EventMessageReceived || string(e.Uplink.Payload) != fmt.Sprint(i) {
						t.Fatalf("the reader from %d gets %+v, want uplink %d", start, e, i)
					}
					i++
				}
			}
			if r.Behind() > 0 {
				t.Errorf("the reader from %d is %d behind the end", start, r.Behind())
			}
		}
	})
}

// jumpyStore has events with these numbers.
type jumpyStore struct {
	gateway.Store
	numbers []uint64
	last    uint64 // that a reader may ask for
}

func (s jumpyStore) EventSpan() (forgotten, last uint64, err error) { return 0, s.last, nil }

func (s jumpyStore) Events(after uint64, _ int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	i, found := slices.BinarySearch(s.numbers, after)
	if found {
		i++
	}
	if i == len(s.numbers) {
		return buf, after, nil
	}
	return append(buf, gateway.Event{Seq: s.numbers[i]}), s.numbers[i], nil
}

// The first number of a log is a time, and a start after a crash raises the numbers by
// 2^40. Neither counts as events behind a cursor.
func TestEventsBehindPassesOverJumps(t *testing.T) {
	const first, crash = 1_796_041_773_026_965, 1 << 40
	var numbers []uint64
	for run := range uint64(3) {
		for i := range uint64(1000) {
			numbers = append(numbers, first+run*crash+i)
		}
	}
	last := numbers[len(numbers)-1]
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, jumpyStore{store, numbers, last}, gateway.Config{})
		for cursor, want := range map[uint64]uint64{
			0: 3000, first - 1: 3000, first: 2999, first + 999: 2000, first + 5000: 2000,
			first + crash: 1999, first + 2*crash - 1: 1000, first + 2*crash + 998: 1, last: 0, last + 1: 0,
		} {
			if got := g.EventsBehind(cursor); got != want {
				t.Errorf("behind %d there are %d, want %d", cursor, got, want)
			}
		}
		empty := gatewaytest.New(t, jumpyStore{store, nil, first}, gateway.Config{})
		if got := empty.EventsBehind(0); got != 0 {
			t.Errorf("a log without events has %d", got)
		}
	})
}

// An event that is larger than the cache is read like any other, and so is the next one.
func TestAnEventLargerThanTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{EventBufferBytes: 64 << 10})
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			l.Ack(p, gateway.AckOK, make([]byte, 100<<10))
		}})
		synctest.Wait()
		sub := g.SubscribeNow()
		for range 3 {
			if _, err := g.Push(t.Context(), gateway.PushRequest{To: gateway.Audience{Client: "a"}}); err != nil {
				t.Fatal(err)
			}
			for result := []byte(nil); len(result) != 100<<10; {
				events, err := sub.Next(t.Context(), make([]gateway.Event, 0, 1))
				if err != nil {
					t.Fatal(err)
				}
				result = events[0].Result
			}
		}
	})
}

// storeAhead has an event that the gateway has not heard of yet.
type storeAhead struct{ gateway.Store }

func (storeAhead) EventSpan() (forgotten, last uint64, err error) { return 0, 1, nil }

func (storeAhead) Events(_ uint64, _ int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	return append(buf, gateway.Event{Seq: 1}, gateway.Event{Seq: 2}), 2, nil
}

// A cursor at the end of the log stands behind all that any reader has got.
func TestTheEndIsBehindWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, storeAhead{store}, gateway.Config{})
		sub, _, err := g.Subscribe(0)
		if err != nil {
			t.Fatal(err)
		}
		events, err := sub.Next(t.Context(), make([]gateway.Event, 0, 8))
		if err != nil || len(events) != 2 {
			t.Fatalf("read %d events, %v", len(events), err)
		}
		if got := g.SubscribeNow().Position(); got != 2 {
			t.Errorf("a new cursor at the end stands at %d, want 2", got)
		}
	})
}

// A reader of what the store has forgotten is told so, and goes on with the rest.
func TestSubscribersAreToldOfAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{MaxEvents: 20})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{EventBuffer: 1})
		link := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		synctest.Wait()
		slow, begin := g.SubscribeNow(), g.LastEvent()
		for i := range 100 {
			if err := link.Session.Received(t.Context(), uint64(i+1), nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, err := slow.Next(t.Context(), nil); !errors.Is(err, gateway.ErrOverflow) {
			t.Fatalf("a slow reader finds %v", err)
		}
		events, err := slow.Next(t.Context(), make([]gateway.Event, 0, 200))
		if err != nil || len(events) < 20 || events[len(events)-1].Seq != g.LastEvent() {
			t.Fatalf("after that it reads %d events, %v", len(events), err)
		}
		for _, c := range []struct {
			after uint64
			gap   bool
		}{{begin, true}, {events[0].Seq - 1, false}, {g.LastEvent(), false}, {g.LastEvent() + 1, true}} {
			if _, gap, err := g.Subscribe(c.after); gap != c.gap || err != nil {
				t.Errorf("behind %d: gap %t, %v", c.after, gap, err)
			}
		}
		if e, ok, err := g.Event(events[3].Seq); !ok || err != nil || e.Seq != events[3].Seq {
			t.Errorf("event %d is %+v, %t, %v", events[3].Seq, e, ok, err)
		}
		if e, ok, err := g.Event(begin); ok || err != nil {
			t.Errorf("a forgotten event is %+v, %v", e, err)
		}
		end := g.SubscribeNow()
		g.Stop()
		if _, err := end.Next(t.Context(), nil); !errors.Is(err, gateway.ErrClosed) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

// forgetful is a store that forgets events while it is asked for some.
type forgetful struct {
	gateway.Store
	forget func()
}

func (s *forgetful) Events(after uint64, limit int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	if f := s.forget; f != nil {
		s.forget = nil
		f()
	}
	return s.Store.Events(after, limit, buf)
}

// A reader notices events that the store forgets during the read.
func TestEventsForgottenDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &forgetful{Store: memstore.New(memstore.Options{MaxEvents: 8})}
		t.Cleanup(func() { s.Close() })
		g := gatewaytest.New(t, s, gateway.Config{})
		link := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		n := uint64(0)
		send := func(more uint64) {
			for end := n + more; n < end; {
				n++
				if err := link.Session.Received(t.Context(), n, fmt.Append(nil, n)); err != nil {
					t.Error(err)
				}
			}
		}
		sub := g.SubscribeNow()
		send(3)
		synctest.Wait()
		s.forget = func() { send(20) }
		var got []string
		for sub.Behind() > 0 {
			events, err := sub.Read(t.Context(), make([]gateway.Event, 0, 2))
			if errors.Is(err, gateway.ErrOverflow) {
				got = append(got, "overflow")
			} else if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				got = append(got, string(e.Uplink.Payload))
			}
		}
		if len(got) == 0 || got[0] != "overflow" || got[len(got)-1] != "23" {
			t.Errorf("the reader gets %q, want an overflow before the events that are kept", got)
		}
	})
}
