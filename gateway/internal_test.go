package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestDirectoryIsASortedSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var d directory
	want := map[ClientID]bool{}
	for range 20_000 {
		id := ClientID(fmt.Sprintf("c%04d", rnd.IntN(5000)))
		if rnd.IntN(3) > 0 {
			if got := d.add(id); got == want[id] {
				t.Fatalf("add(%s) = %v", id, got)
			}
			want[id] = true
		} else {
			if got := d.remove(id); got != want[id] {
				t.Fatalf("remove(%s) = %v", id, got)
			}
			delete(want, id)
		}
	}
	var sorted []ClientID
	for id := range want {
		sorted = append(sorted, id)
	}
	slices.Sort(sorted)
	if got := d.from("", false, len(sorted)+1, nil); !slices.Equal(got, sorted) || d.len() != len(sorted) {
		t.Fatalf("the directory holds %d ids (len %d), want %d", len(got), d.len(), len(sorted))
	}
	for range 200 {
		start := ClientID(fmt.Sprintf("c%04d", rnd.IntN(5100)))
		for _, after := range []bool{false, true} {
			at, found := slices.BinarySearch(sorted, start)
			if found && after {
				at++
			}
			exp := sorted[at:min(at+7, len(sorted))]
			if got := d.from(start, after, 7, nil); !slices.Equal(got, exp) {
				t.Fatalf("from(%s, %v) = %v, want %v", start, after, got, exp)
			}
		}
	}
}

func TestEventRingIsBoundedAndSaysSo(t *testing.T) {
	g := &Gateway{events: newEventRing(100, 1000, 1e6)}
	slow, _ := g.Subscribe(0)
	for range 250 {
		g.events.add(Event{Type: EventClientConnected})
	}
	if _, err := slow.Next(context.Background(), nil); !errors.Is(err, ErrOverflow) {
		t.Fatalf("a slow reader finds %v", err)
	}
	got, err := slow.Next(context.Background(), make([]Event, 0, 1000))
	if err != nil || len(got) != 100 {
		t.Fatalf("after that it reads %d events, %v", len(got), err)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Seq != got[i-1].Seq+1 {
			t.Fatalf("event %d follows %d", got[i].Seq, got[i-1].Seq)
		}
	}
	if _, gap := g.Subscribe(got[0].Seq - 5); !gap {
		t.Error("no gap is told to a reader that resumes before the oldest")
	}
	if _, gap := g.Subscribe(got[0].Seq - 1); gap {
		t.Error("a gap is told to a reader that resumes right before the oldest")
	}
	if _, gap := g.Subscribe(got[99].Seq + 1); !gap {
		t.Error("no gap is told to a reader with a number of another stream")
	}
	// The payload bytes are bounded too.
	for range 50 {
		g.events.add(Event{Type: EventMessageReceived, Uplink: &Uplink{Payload: make([]byte, 300)}})
	}
	if n := g.events.last + 1 - g.events.first; n != 3 {
		t.Errorf("%d events of 300 bytes are kept within 1,000", n)
	}
	g.events.close()
	end, _ := g.Subscribe(0)
	if _, err := end.Next(context.Background(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestClientIDs(t *testing.T) {
	long := make([]byte, 129)
	for i := range long {
		long[i] = 'a'
	}
	for id, want := range map[string]bool{"2": true, "a.b_c:d@e-F9": true, string(long[:128]): true,
		"": false, "a b": false, "ä": false, "a/b": false, "a\x00": false, string(long): false} {
		if got := ClientID(id).Valid(); got != want {
			t.Errorf("%q valid = %v", id, got)
		}
	}
}
