package state

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/batchrepr"
)

// The changes of a record are read back in whatever order rows are written and
// looked up, and reach the database as one batch.
func TestWritesAreReadBack(t *testing.T) {
	db := openDB(t)
	w := &writes{base: db}
	want := func(key, value string) {
		t.Helper()
		if got, err := w.get([]byte(key)); err != nil || string(got) != value {
			t.Errorf("%s reads %q, %v, want %q", key, got, err, value)
		}
	}
	w.set([]byte("q1"), []byte("one"))
	w.set([]byte("m1"), []byte("body"))
	want("q1", "one") // from here on the lane is indexed
	want("q2", "")
	w.set([]byte("q2"), []byte("two"))
	w.del([]byte("q1"))
	want("q1", "")
	want("q2", "two")
	want("m1", "body")
	w.set([]byte("m1"), []byte("body again"))
	changes, err := w.take()
	if err != nil {
		t.Fatal(err)
	}
	db.apply(t, &changes)
	w.drop()
	want("q1", "")
	want("q2", "two")
	want("m1", "body again")
	w.set([]byte("q3"), []byte("three"))
	var keys string
	err = w.each([]byte("q"), []byte("r"), func(k, _ []byte) (bool, error) {
		keys += string(k)
		return true, nil
	})
	if err != nil || keys != "q2q3" {
		t.Errorf("walk finds %q, %v, want q2 and q3", keys, err)
	}
	w.drop()
	want("q3", "")
}

// A row that was set once is removed as such, also for the record under way, and the
// changes have the encoding of a batch.
func TestDelOnce(t *testing.T) {
	db := openDB(t)
	w := &writes{base: db}
	k := queueKey(1, 2)
	w.set(k, []byte("row"))
	w.del([]byte("c"))
	w.delOnce(k)
	if v, err := w.get(k); v != nil || err != nil {
		t.Errorf("the record still sees %q, error %v", v, err)
	}
	changes, err := w.take()
	if err != nil {
		t.Fatal(err)
	}
	b := db.DB.NewBatch()
	_ = errors.Join(b.Set(k, []byte("row"), nil), b.SingleDelete(k, nil), b.Delete([]byte("c"), nil))
	if got := changes.AppendTo(nil); !bytes.Equal(got, b.Repr()[batchrepr.HeaderLen:]) || changes.Count() != 3 || changes.Size() != len(got) {
		t.Errorf("%d changes, encoded %x, want %x", changes.Count(), got, b.Repr()[batchrepr.HeaderLen:])
	}
}
