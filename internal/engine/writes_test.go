package engine

import (
	"errors"
	"testing"
)

// delOnce removes a row that was set once, and the database says so when it was not.
func TestDelOnceIsForRowsSetOnce(t *testing.T) {
	for _, sets := range []int{0, 1, 2} {
		inst := openTest(t, Options{SweepEvery: -1}).inst
		k := queueKey(1, 2)
		commit := func(change func(w *writes)) {
			w := &writes{base: written{inst.DB, func() {}}}
			change(w)
			commitWrites(t, inst.DB, w)
		}
		for range sets {
			commit(func(w *writes) { w.set(k, []byte("row")) })
		}
		commit(func(w *writes) {
			w.delOnce(k)
			if v, err := w.get(k); v != nil || err != nil {
				t.Errorf("the record still sees %q, error %v", v, err)
			}
		})
		if err := errors.Join(inst.DB.Flush(), inst.DB.Compact(t.Context(), []byte{0}, []byte{255}, false)); err != nil {
			t.Fatal(err)
		}
		if v, err := (rows{inst.DB}).Get(k); sets < 2 && v != nil || err != nil {
			t.Errorf("set %d times: %q is left, error %v", sets, v, err)
		}
		if got := inst.Trouble() != nil; got != (sets == 2) {
			t.Errorf("set %d times: the instance says %v", sets, inst.Trouble())
		}
	}
}
