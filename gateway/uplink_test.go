package gateway_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// uplinkStore takes uplinks the way a test wants.
type uplinkStore struct {
	gateway.Store
	refuse func(number uint64) error // nil takes all
	hold   chan struct{}             // when set, an uplink is stored once it can be read
}

func (s *uplinkStore) AppendUplink(ctx context.Context, u gateway.Uplink) (uint64, error) {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return 0, gateway.ErrUnavailable
		}
	}
	if s.refuse != nil {
		if err := s.refuse(u.Number); err != nil {
			return 0, err
		}
	}
	return s.Store.AppendUplink(ctx, u)
}

// uplinkBubble is bubble with a store that the test can make refuse uplinks.
func uplinkBubble(t *testing.T, f func(t *testing.T, g *gateway.Gateway, store *uplinkStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		faulty := &uplinkStore{Store: store}
		f(t, gatewaytest.New(t, faulty, gateway.Config{}), faulty)
	})
}

func send(t *testing.T, l *gatewaytest.Link, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		if err := l.Session.Received(context.Background(), n, []byte{byte(n)}); err != nil {
			t.Fatalf("uplink %d: %v", n, err)
		}
	}
}

func wantUplinks(t *testing.T, g *gateway.Gateway, want ...uint64) {
	t.Helper()
	if got := storedUplinks(t, g); !slices.Equal(got, want) {
		t.Errorf("stored are %v, want %v", got, want)
	}
}

func storedUplinks(t rapid.TB, g *gateway.Gateway) (numbers []uint64) {
	t.Helper()
	page, err := g.Uplinks("", 0, gateway.MaxListLimit)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Items {
		numbers = append(numbers, u.Number)
	}
	return numbers
}

func TestUplinksAreStoredInAnyOrderOfTheirNumbers(t *testing.T) {
	for name, tc := range map[string]struct{ sent, stored []uint64 }{
		"a falling number":             {[]uint64{5, 7, 6}, []uint64{5, 7, 6}},
		"repeats":                      {[]uint64{5, 5, 7, 6, 7, 6, 5}, []uint64{5, 7, 6}},
		"the wrap of the counter":      {[]uint64{math.MaxUint64 - 1, math.MaxUint64, 1, 2, math.MaxUint64, 1}, []uint64{math.MaxUint64 - 1, math.MaxUint64, 1, 2}},
		"a jump and its repeat":        {[]uint64{1, 1 << 40, 1 << 40}, []uint64{1, 1 << 40}},
		"a backlog after the alarm":    {[]uint64{10_000, 1, 2, 2, 3, 10_001, 10_000}, []uint64{10_000, 1, 2, 3, 10_001}},
		"no numbers":                   {[]uint64{0, 0, 3, 0}, []uint64{0, 0, 3, 0}},
		"255 between":                  {append(rising(1, 256), 1), rising(1, 256)},
		"256 between: it is forgotten": {append(rising(1, 257), 1), append(rising(1, 257), 1)},
	} {
		t.Run(name, func(t *testing.T) {
			uplinkBubble(t, func(t *testing.T, g *gateway.Gateway, _ *uplinkStore) {
				send(t, gatewaytest.Connect(t, g, "a", gatewaytest.Options{}), tc.sent...)
				wantUplinks(t, g, tc.stored...)
			})
		})
	}
}

func rising(from, to uint64) (numbers []uint64) {
	for n := from; n <= to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// A disk that was full for a moment leaves a hole below a number that was
// stored. The repeat fills it.
func TestUplinkThatWasAnsweredRetryLaterIsStoredWhenItIsRepeated(t *testing.T) {
	uplinkBubble(t, func(t *testing.T, g *gateway.Gateway, store *uplinkStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		send(t, l, 1, 2)
		store.refuse = func(uint64) error { return gateway.ErrUnavailable }
		if err := l.Session.Received(context.Background(), 3, nil); !errors.Is(err, gateway.ErrUnavailable) {
			t.Fatalf("a full disk: %v", err)
		}
		store.refuse = nil
		send(t, l, 4, 3, 3)
		wantUplinks(t, g, 1, 2, 4, 3)
	})
}

func TestRepeatOfAnUplinkUnderWayGetsItsAnswer(t *testing.T) {
	for name, want := range map[string]error{"stored": nil, "refused": gateway.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			uplinkBubble(t, func(t *testing.T, g *gateway.Gateway, store *uplinkStore) {
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
				store.hold = make(chan struct{})
				store.refuse = func(uint64) error { return want }
				var answers [3]error
				var all sync.WaitGroup
				for i := range answers {
					all.Go(func() { answers[i] = l.Session.Received(context.Background(), 7, nil) })
				}
				synctest.Wait()
				impatient, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := l.Session.Received(impatient, 7, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a repeat that cannot wait is answered %v", err)
				}
				l.Disconnect(gateway.ReasonConnectionLost) // the answer is still one
				close(store.hold)
				all.Wait()
				for _, err := range answers {
					if !errors.Is(err, want) {
						t.Errorf("answered %v, want %v", answers, want)
					}
				}
				if want == nil {
					wantUplinks(t, g, 7)
				} else {
					wantUplinks(t, g)
				}
			})
		})
	}
}

func TestTwoConnectionsOfOneClientUseTheSameNumbers(t *testing.T) {
	uplinkBubble(t, func(t *testing.T, g *gateway.Gateway, _ *uplinkStore) {
		old := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		send(t, old, 1, 2)
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		send(t, l, 1, 2)
		send(t, old, 3, 1) // the replaced connection is not closed yet
		send(t, l, 3)
		wantUplinks(t, g, 1, 2, 1, 2, 3, 3)
	})
}

// An uplink that is acked ok is stored, whatever its number and whatever the
// store has refused before; its repeat right after is not stored again.
func TestUplinkNumbersModel(t *testing.T) {
	store := memstore.New(memstore.Options{})
	defer store.Close()
	faulty := &uplinkStore{Store: store}
	g := gatewaytest.New(t, faulty, gateway.Config{})
	var after uint64
	rapid.Check(t, func(rt *rapid.T) {
		links := []*gatewaytest.Link{gatewaytest.Connect(t, g, "a", gatewaytest.Options{}), gatewaytest.Connect(t, g, "b", gatewaytest.Options{})}
		base := rapid.SampledFrom([]uint64{1, 1 << 20, 1 << 63, math.MaxUint64 - 200}).Draw(rt, "base")
		stored := [2]map[uint64]bool{{}, {}}
		var last [2]uint64 // acked
		rt.Repeat(map[string]func(*rapid.T){"send": func(rt *rapid.T) {
			who := rapid.IntRange(0, 1).Draw(rt, "device")
			n := last[who]
			if !rapid.Bool().Draw(rt, "repeat") {
				n = number(rt, base)
			}
			faulty.refuse = func(uint64) error { return nil }
			if rapid.IntRange(0, 3).Draw(rt, "full") == 0 {
				faulty.refuse = func(uint64) error { return gateway.ErrUnavailable }
			}
			err := links[who].Session.Received(context.Background(), n, nil)
			page, listErr := g.Uplinks("", after, gateway.MaxListLimit)
			if listErr != nil {
				rt.Fatal(listErr)
			}
			for _, u := range page.Items {
				stored[who][u.Number] = true
				after = u.Seq
			}
			if err == nil && !stored[who][n] {
				rt.Fatalf("%d is acked and not stored", n)
			}
			if n != 0 && n == last[who] && (err != nil || len(page.Items) != 0) {
				rt.Fatalf("the repeat of %d stores %d, and is answered %v", n, len(page.Items), err)
			}
			if err == nil {
				last[who] = n
			}
		}})
		for _, l := range links {
			l.Disconnect(gateway.ReasonClientClosed)
		}
	})
}

// number is one that a device may send, near others.
func number(rt *rapid.T, base uint64) uint64 {
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 0:
		return rapid.Uint64().Draw(rt, "any")
	case 1:
		return 0
	case 2:
		return base - rapid.Uint64Range(0, 1000).Draw(rt, "below")
	}
	return base + rapid.Uint64Range(0, 300).Draw(rt, "above")
}

// A device with large uplinks takes no more of the event ring than others do.
func TestLargeUplinksLeaveTheEventsOfOthers(t *testing.T) {
	g := gatewaytest.New(t, memstore.New(memstore.Options{}), gateway.Config{EventBufferBytes: 64 << 10})
	noisy, quiet := gatewaytest.Connect(t, g, "noisy", gatewaytest.Options{}), gatewaytest.Connect(t, g, "quiet", gatewaytest.Options{})
	seen := g.SubscribeNow()
	if err := quiet.Session.Received(t.Context(), 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	var first []gateway.Event
	for len(first) == 0 || first[0].Type != gateway.EventMessageReceived {
		var err error
		if first, err = seen.Next(t.Context(), make([]gateway.Event, 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if err := noisy.Session.Received(t.Context(), uint64(i+1), make([]byte, 200<<10)); err != nil {
			t.Fatal(err)
		}
	}
	sub, gap, err := g.Subscribe(first[0].Seq - 1)
	if err != nil {
		t.Fatal(err)
	}
	var events []gateway.Event
	for len(events) < 2 {
		more, err := sub.Next(t.Context(), make([]gateway.Event, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, more...)
	}
	if gap || events[0].Client != "quiet" || string(events[0].Uplink.Payload) != "x" {
		t.Fatalf("gap %t, %+v; want the event of quiet first", gap, events)
	}
	if u := events[1].Uplink; !u.Omitted || u.Payload != nil {
		t.Errorf("the event of a large uplink has %d bytes of payload, omitted %t; want none, true", len(u.Payload), u.Omitted)
	}
}
