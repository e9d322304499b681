//go:build !race

package gateway

import (
	"context"
	"math"
	"testing"
	"time"
)

func wantAllocs(t *testing.T, what string, most float64, f func()) {
	t.Helper()
	for range 600 {
		f() // fills the pools and the event ring
	}
	least := math.Inf(1) // a collection on a busy machine empties the pools in between
	for range 10 {
		least = min(least, testing.AllocsPerRun(200, f))
	}
	if least > most {
		t.Errorf("%s takes %v allocations, want at most %v", what, least, most)
	}
}

// The only allocation of an online delivery is the text of its id.
func TestOnlineDeliveryAllocations(t *testing.T) {
	g, _ := echoing(t)
	r := OnlineRequest{Client: "a", Payload: []byte("hello"), Wait: time.Second}
	wantAllocs(t, "an online delivery", 1, func() {
		if _, err := g.PushOnline(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	})
}

// From the store to the link, to the ack and to the event: nothing.
func TestStoredDeliveryAllocations(t *testing.T) {
	g, store := echoing(t)
	r := PushRequest{To: Audience{Client: "a"}, Payload: store.payload}
	s := g.hub.session("a")
	wantAllocs(t, "a stored delivery", 1, func() { // the text of the id
		if _, err := g.Push(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		s.awaitIdle()
		store.tell()
	})
	if store.settled.Delivery.State != Acked {
		t.Error("nothing was acked")
	}
}

func BenchmarkOnlineDelivery(b *testing.B) {
	g, _ := echoing(b)
	r := OnlineRequest{Client: "a", Payload: []byte("hello"), Wait: time.Second}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.PushOnline(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStoredDelivery(b *testing.B) {
	g, store := echoing(b)
	r := PushRequest{To: Audience{Client: "a"}, Payload: store.payload}
	s := g.hub.session("a")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Push(context.Background(), r); err != nil {
			b.Fatal(err)
		}
		s.awaitIdle()
		store.tell()
	}
}
