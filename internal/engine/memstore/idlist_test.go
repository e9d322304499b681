package memstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/longwire/longwire/gateway"
)

// The list against a plain sorted slice, through growth and shrinkage.
func TestIDList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var l idList
	var want []gateway.ClientID
	for step := range 20_000 {
		id := gateway.ClientID(fmt.Sprint(rnd.IntN(4000)))
		at, there := slices.BinarySearch(want, id)
		grow := step < 10_000
		switch {
		case there && (!grow || rnd.IntN(10) == 0):
			l.remove(id)
			want = slices.Delete(want, at, at+1)
		case !there && (grow || rnd.IntN(10) == 0):
			l.insert(id)
			want = slices.Insert(want, at, id)
		case !there:
			l.remove(id) // an id that is not in the list
		}
		if step%500 != 0 {
			continue
		}
		if got := slices.Collect(l.from("")); !slices.Equal(got, want) {
			t.Fatalf("step %d: %d ids, want %d", step, len(got), len(want))
		}
		from, _ := slices.BinarySearch(want, id)
		if got := slices.Collect(l.from(id)); !slices.Equal(got, want[from:]) {
			t.Fatalf("step %d: from %s: %d ids, want %d", step, id, len(got), len(want)-from)
		}
		for _, c := range l.chunks {
			if len(c) == 0 || len(c) > chunkLen {
				t.Fatalf("step %d: a chunk of %d", step, len(c))
			}
		}
	}
	for _, id := range want {
		l.remove(id)
	}
	if len(l.chunks) != 0 {
		t.Errorf("%d chunks of nothing", len(l.chunks))
	}
}
