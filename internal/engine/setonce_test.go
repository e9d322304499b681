package engine

import (
	"errors"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// A removal of a row that was set once removes it. The database reports one that was
// set twice.
func TestRowsAreSetOnce(t *testing.T) {
	t.Parallel()
	for _, sets := range []int{0, 1, 2} {
		t.Run(strconv.Itoa(sets), func(t *testing.T) {
			t.Parallel() // waits for a compaction
			inst := openTest(t, Options{SweepEvery: -1}).inst
			k := []byte("q of no client")
			commit := func(change func(b *pebble.Batch) error) {
				b := inst.DB.NewBatch()
				if err := errors.Join(change(b), b.Commit(pebble.Sync)); err != nil {
					t.Fatal(err)
				}
			}
			for range sets {
				commit(func(b *pebble.Batch) error { return b.Set(k, []byte("row"), nil) })
			}
			commit(func(b *pebble.Batch) error { return b.SingleDelete(k, nil) })
			if err := errors.Join(inst.DB.Flush(), inst.DB.Compact(t.Context(), []byte{0}, []byte{255}, false)); err != nil {
				t.Fatal(err)
			}
			if v, err := (rows{inst.DB}).Get(k); sets < 2 && v != nil || err != nil {
				t.Errorf("set %d times: %q is left, error %v", sets, v, err)
			}
			if got := inst.Trouble() != nil; got != (sets == 2) {
				t.Errorf("set %d times: the instance says %v", sets, inst.Trouble())
			}
		})
	}
}
