package state

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// What was added is never called unknown, in whatever order it comes and
// however long ago it was.
func TestRecentMessagesNeverForgetWithoutSaying(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	r := emptyRecentMessages(recentGeneration)
	key := func(n uint64) []byte {
		return binary.BigEndian.AppendUint64(append(make([]byte, 0, 18), kindMessage, record.UUIDForm, 0, 0, 0, 0, 0, 0, 0, 0), n)
	}
	var added []uint64
	for n := range uint64(5 * recentGeneration) {
		at := 1000 + 2*n + 2*rnd.Uint64N(400) // ids come out of order within a span
		if k := key(at); r.unknown(k) {
			r.add(k)
			added = append(added, at)
		}
		if n%97 == 0 {
			if old := added[rnd.IntN(len(added))]; r.unknown(key(old)) {
				t.Fatalf("%d was added and is called unknown", old)
			}
		}
	}
	if len(r.young)+len(r.old) > 2*recentGeneration {
		t.Errorf("%d keys are kept", len(r.young)+len(r.old))
	}
	if !r.unknown(key(added[len(added)-1] + 10_001)) {
		t.Error("a new one is not called unknown: nothing is saved")
	}
}

// A remembered row is found by its client and sequence until it is removed or a later
// one takes its slot.
func TestRecentQueued(t *testing.T) {
	r := make(recentQueued, 4)
	want := func(o record.Ordinal, s gateway.Seq, size int64) {
		t.Helper()
		if row, ok := r.get(o, s); ok != (size > 0) || ok && row.size != size {
			t.Errorf("client %d, sequence %d: %d bytes, %v, want %d", o, s, row.size, ok, size)
		}
	}
	want(0, 0, 0)
	want(0, 4, 0)
	r.put(7, 5, queueRow{size: 50})
	r.put(8, 6, queueRow{size: 60})
	want(7, 5, 50)
	want(8, 5, 0)
	want(7, 9, 0) // the same slot
	r.remove(8, 5)
	want(7, 5, 50)
	r.put(7, 9, queueRow{size: 90})
	want(7, 5, 0)
	r.remove(7, 5)
	want(7, 9, 90)
	r.remove(7, 9)
	want(7, 9, 0)
	want(8, 6, 60)

	none := recentQueued{}
	none.put(1, 1, queueRow{size: 1})
	none.remove(1, 1)
	if _, ok := none.get(1, 1); ok {
		t.Error("a row is found without room for one")
	}
}
