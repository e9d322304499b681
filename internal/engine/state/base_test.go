package state

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// testDB is a database in memory below a machine.
type testDB struct{ *pebble.DB }

func openDB(t *testing.T) testDB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return testDB{db}
}

// apply takes the changes of a record.
func (db testDB) apply(t *testing.T, c *Changes) {
	t.Helper()
	b := db.NewBatch()
	data := c.AppendTo(append([]byte(nil), b.Repr()...))
	binary.LittleEndian.PutUint32(data[8:], uint32(c.Count()))
	if err := errors.Join(b.SetRepr(data), b.Commit(pebble.NoSync)); err != nil {
		t.Fatal(err)
	}
}

func (db testDB) Get(key []byte) ([]byte, error) { return testRows{db.DB}.Get(key) }

func (db testDB) Iter(from, to []byte) (Iterator, error) { return testRows{db.DB}.Iter(from, to) }

func (db testDB) Overlay(int) Overlay {
	b := db.NewIndexedBatch()
	return testOverlay{testRows{b}, b}
}

type testRows struct{ pebble.Reader }

func (r testRows) Get(key []byte) ([]byte, error) {
	v, closer, err := r.Reader.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, v...), closer.Close()
}

func (r testRows) Iter(from, to []byte) (Iterator, error) {
	return r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
}

type testOverlay struct {
	testRows
	batch *pebble.Batch
}

func (o testOverlay) Add(kind ChangeKind, key, value []byte) error {
	switch kind {
	case ChangeSet:
		return o.batch.Set(key, value, nil)
	case ChangeDelete:
		return o.batch.Delete(key, nil)
	}
	return o.batch.SingleDelete(key, nil)
}

func (o testOverlay) Close() error { return o.batch.Close() }

// quiet is a log of the database that is not kept.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}
