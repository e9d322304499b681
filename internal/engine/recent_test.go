package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// What was added is never called unknown, in whatever order it comes and
// however long ago it was.
func TestRecentMessagesNeverForgetWithoutSaying(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	r := emptyRecentMessages()
	key := func(n uint64) []byte {
		return binary.BigEndian.AppendUint64(append(make([]byte, 0, 18), kindMessage, idUUID, 0, 0, 0, 0, 0, 0, 0, 0), n)
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
