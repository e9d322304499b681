package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Package state reads rows and returns changes; package disk needs three of its rows.
// This file is all that joins them and the database.

// rows reads the rows of a database or of a batch.
type rows struct{ pebble.Reader }

func (r rows) Get(key []byte) ([]byte, error) {
	v, closer, err := r.Reader.Get(key)
	return copied(key, v, closer, err)
}

func (r rows) Iter(from, to []byte) (state.Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// snapshot is rows for a snapshot: with its own type the options of an iterator need
// no memory.
type snapshot struct{ snap *pebble.Snapshot }

func (s snapshot) Get(key []byte) ([]byte, error) {
	v, closer, err := s.snap.Get(key)
	return copied(key, v, closer, err)
}

func (s snapshot) Iter(from, to []byte) (state.Iterator, error) {
	it, err := s.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	return it, nil
}

// copied returns a copy of the value that a look-up of key has found, nil for none.
func copied(key, value []byte, closer io.Closer, err error) ([]byte, error) {
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read row %q: %w", key, err)
	}
	out := append(make([]byte, 0, len(value)), value...)
	return out, closer.Close()
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

func (w written) Iter(from, to []byte) (state.Iterator, error) {
	w.catchUp()
	return rows{w.db}.Iter(from, to)
}

func (w written) Overlay(size int) state.Overlay {
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

func (o *overlay) Iter(from, to []byte) (state.Iterator, error) {
	o.catchUp()
	return o.rows.Iter(from, to)
}

func (o *overlay) Add(kind state.ChangeKind, key, value []byte) error {
	switch kind {
	case state.ChangeSet:
		return o.batch().Set(key, value, nil)
	case state.ChangeDelete:
		return o.batch().Delete(key, nil)
	default:
		return o.batch().SingleDelete(key, nil)
	}
}

func (o *overlay) Close() error { return o.batch().Close() }

// batchOf returns a batch with the changes of a record, which have the batch's own
// encoding already.
func batchOf(db *pebble.DB, c *state.Changes) (*pebble.Batch, error) {
	b := db.NewBatchWithSize(batchrepr.HeaderLen + c.Size())
	data := c.AppendTo(b.Repr()[:batchrepr.HeaderLen])
	binary.LittleEndian.PutUint32(data[batchrepr.HeaderLen-4:], uint32(c.Count()))
	return b, b.SetRepr(data)
}

// rowsOfState is what package disk has to know of rows.
type rowsOfState struct{}

func (rowsOfState) Stand(db *pebble.DB) (disk.Stand, error) {
	m, err := state.NewMachine(written{db, func() {}}, state.CachesEmpty) // all that a start reads
	if err != nil {
		return disk.Stand{}, err
	}
	return standOf(&m.State), nil
}

func (rowsOfState) Raised(db *pebble.DB, to record.Numbers) (key, value []byte, err error) {
	s, err := state.ReadStanding(rows{db})
	s.Raise(to)
	key, value = s.Row()
	return key, value, err
}

func (rowsOfState) Migrate(db *pebble.DB, b *pebble.Batch) error {
	s, err := state.ReadStanding(rows{db})
	if err != nil {
		return err
	}
	key, value := s.Row()
	return errors.Join(b.Set(key, value, nil), b.DeleteRange(state.OldWriters[0], state.OldWriters[1], nil))
}

func (rowsOfState) Message(key []byte) (gateway.MessageID, bool) { return state.MessageOf(key) }

func standOf(s *state.Standing) disk.Stand {
	return disk.Stand{Pos: s.Pos, At: s.At, Given: record.Numbers{Seq: uint64(s.Seq), Useq: s.Useq, Event: s.Event}}
}
