package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
)

// rows reads the rows of a database, or of a snapshot or a batch of one.
type rows struct{ pebble.Reader }

// Get returns a copy of the value of key, nil when there is none.
func (r rows) Get(key []byte) ([]byte, error) {
	v, closer, err := r.Reader.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read row %q: %w", key, err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

func (r rows) Iter(from, to []byte) (Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// written is the database below a record. catchUp returns when it has the changes of
// all earlier records.
type written struct {
	db      *pebble.DB
	catchUp func()
}

func (w written) Get(key []byte) ([]byte, error) {
	w.catchUp()
	return rows{w.db}.Get(key)
}

func (w written) Iter(from, to []byte) (Iterator, error) {
	w.catchUp()
	return rows{w.db}.Iter(from, to)
}

func (w written) Overlay(size int) Overlay {
	return &overlay{rows{w.db.NewIndexedBatchWithSize(size + batchrepr.HeaderLen)}, w.catchUp}
}

// overlay is an indexed batch, which never reaches the database.
type overlay struct {
	rows
	catchUp func()
}

func (o *overlay) batch() *pebble.Batch { return o.Reader.(*pebble.Batch) }

func (o *overlay) Get(key []byte) ([]byte, error) {
	o.catchUp()
	return o.rows.Get(key)
}

func (o *overlay) Iter(from, to []byte) (Iterator, error) {
	o.catchUp()
	return o.rows.Iter(from, to)
}

func (o *overlay) Add(kind ChangeKind, key, value []byte) error {
	switch kind {
	case ChangeSet:
		return o.batch().Set(key, value, nil)
	case ChangeDelete:
		return o.batch().Delete(key, nil)
	default:
		return o.batch().SingleDelete(key, nil)
	}
}

func (o *overlay) Close() error { return o.batch().Close() }

// batchOf returns a batch with the changes of a record, which have the batch's own
// encoding already.
func batchOf(db *pebble.DB, c *Changes) (*pebble.Batch, error) {
	b := db.NewBatchWithSize(batchrepr.HeaderLen + c.Size())
	data := c.AppendTo(b.Repr()[:batchrepr.HeaderLen])
	binary.LittleEndian.PutUint32(data[batchrepr.HeaderLen-4:], uint32(c.Count()))
	return b, b.SetRepr(data)
}
