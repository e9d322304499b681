package gateway

import (
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
			end, found := slices.BinarySearch(sorted, start)
			if found && !after {
				end++
			}
			exp = slices.Clone(sorted[max(0, end-700):end])
			slices.Reverse(exp)
			if got := d.back(start, after, 700, nil); !slices.Equal(got, exp) {
				t.Fatalf("back(%s, %v) = %v, want %v", start, after, got, exp)
			}
		}
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
