package engine

import (
	"github.com/cockroachdb/pebble/v2"
)

// writes collects the changes of one record. They are kept apart by kind of row
// until the end, because a memtable takes rising keys at a fraction of the cost
// of keys in any order, and are not indexed until one of their kind is looked
// up, which a record of new messages never does.
type writes struct {
	db *pebble.DB
	// catchUp returns when the database has the changes of all earlier records;
	// nil when it always has.
	catchUp func()
	lanes   [laneCount]*pebble.Batch // nil: no change
}

// Lanes of changes: the kinds whose keys rise with time have their own.
const (
	laneMessage = iota
	laneExpiry
	laneQueued
	laneFinal
	laneRetention
	laneOther
	laneCount
)

func laneOf(kind byte) int {
	switch kind {
	case kindMessage:
		return laneMessage
	case kindExpiry:
		return laneExpiry
	case kindQueued:
		return laneQueued
	case kindFinal:
		return laneFinal
	case kindRetention:
		return laneRetention
	}
	return laneOther
}

// laneBytes is what a lane has room for from the start; it grows.
const laneBytes = 32 << 10

func (w *writes) lane(kind byte) *pebble.Batch {
	l := &w.lanes[laneOf(kind)]
	if *l == nil {
		*l = w.db.NewBatchWithSize(laneBytes)
	}
	return *l
}

// A batch takes every change: its errors are of closed batches only.
func (w *writes) set(k, v []byte) { _ = w.lane(k[0]).Set(k, v, nil) }
func (w *writes) del(k []byte)    { _ = w.lane(k[0]).Delete(k, nil) }

// delOnce removes a row that was set once, as those of kindQueued and kindExpiry are:
// their keys have a sequence, and none is given twice. The database drops such a row
// together with its removal, mostly before either reaches a table; a removal by del
// goes down to the last level. A row set twice would
// come back; the listener of the database reports it.
func (w *writes) delOnce(k []byte) { _ = w.lane(k[0]).SingleDelete(k, nil) }

// get returns a copy of the value of key as the record has left it so far, nil
// when there is none.
func (w *writes) get(key []byte) ([]byte, error) {
	r, err := w.reader(key[0])
	if err != nil {
		return nil, err
	}
	return get(r, key)
}

// iter walks rows of one kind as the record has left them so far.
func (w *writes) iter(from, to []byte) (*pebble.Iterator, error) {
	r, err := w.reader(from[0])
	if err != nil {
		return nil, err
	}
	return r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
}

// reader reads rows of one kind with the record's changes.
func (w *writes) reader(kind byte) (pebble.Reader, error) {
	if w.catchUp != nil {
		w.catchUp()
	}
	l := &w.lanes[laneOf(kind)]
	if *l == nil {
		return w.db, nil
	}
	if !(*l).Indexed() {
		indexed := w.db.NewIndexedBatchWithSize(max(laneBytes, (*l).Len()))
		if err := indexed.Apply(*l, nil); err != nil {
			return nil, err
		}
		_ = (*l).Close()
		*l = indexed
	}
	return *l, nil
}

// take returns all changes as one batch and begins anew.
func (w *writes) take() (*pebble.Batch, error) {
	size := 0
	for _, l := range w.lanes {
		if l != nil {
			size += l.Len()
		}
	}
	all := w.db.NewBatchWithSize(size)
	for _, l := range w.lanes {
		if l == nil {
			continue
		}
		if err := all.Apply(l, nil); err != nil {
			return nil, err
		}
	}
	w.drop()
	return all, nil
}

// drop forgets all changes.
func (w *writes) drop() {
	for i, l := range w.lanes {
		if l != nil {
			_ = l.Close()
			w.lanes[i] = nil
		}
	}
}
