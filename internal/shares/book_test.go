package shares

import (
	"math/rand/v2"
	"testing"
)

func TestTheOwnerWithTheMostGivesWayFirst(t *testing.T) {
	var b Book[string, int]
	for i, owner := range []string{"honest", "hoarder", "hoarder", "other", "hoarder"} {
		b.Enter(owner, i)
	}
	var order []int
	for p := b.Hoarder(); p != nil; p = b.Hoarder() {
		order = append(order, p.Holder)
		b.Leave(p)
	}
	if want := []int{1, 2, 0, 3, 4}; len(order) != 5 || order[0] != want[0] || order[1] != want[1] || order[2] != want[2] {
		t.Errorf("gave way in the order %v, want %v", order, want)
	}
	if b.Len() != 0 || len(b.owners) != 0 {
		t.Errorf("%d places of %d owners are left", b.Len(), len(b.owners))
	}
}

// Whatever comes and goes, the book agrees with a plain count.
func TestBookAgreesWithACount(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b Book[int, int]
	held := map[int][]*Place[int, int]{}
	for step := range 20_000 {
		owner := r.IntN(1 + r.IntN(30))
		if places := held[owner]; len(places) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(places))
			b.Leave(places[i])
			held[owner] = append(places[:i:i], places[i+1:]...)
		} else {
			held[owner] = append(places, b.Enter(owner, step))
		}
		most, sum := 0, 0
		for owner, places := range held {
			most, sum = max(most, len(places)), sum+len(places)
			if b.Of(owner) != len(places) || len(places) > 0 && b.Oldest(owner) != places[0] {
				t.Fatalf("step %d: owner %d has %d places, want %d", step, owner, b.Of(owner), len(places))
			}
		}
		if p := b.Hoarder(); b.Len() != sum || sum > 0 && (b.Of(p.owner.name) != most || held[p.owner.name][0] != p) {
			t.Fatalf("step %d: %d places, want %d; the hoarder is not one with %d", step, b.Len(), sum, most)
		}
	}
}
