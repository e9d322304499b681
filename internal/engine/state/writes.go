package state

import (
	"encoding/binary"
	"errors"
)

// writes collects the changes of one record. They are kept apart by kind of row
// until the end, because a memtable takes rising keys at a fraction of the cost
// of keys in any order, and are not indexed until one of their kind is looked
// up, which a record of new messages never does.
type writes struct {
	base  Base
	lanes [laneCount]writeLane
}

// Lanes of changes: the kinds whose keys rise with time have their own.
const (
	laneMessage = iota
	laneExpiry
	laneQueued
	laneFinal
	laneRetention
	laneEvents
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
	case kindEvents:
		return laneEvents
	}
	return laneOther
}

// writeLane has the changes of some kinds of rows, in their order.
type writeLane struct {
	bytes []byte // encoded, see Changes
	n     int
	over  Overlay // has the changes too, from the first look-up on; else nil
	err   error   // of over
}

// maxKeptLane bounds the buffer that a lane keeps for the next record.
const maxKeptLane = 1 << 20

// ChangeKind is how a change of a row is marked.
type ChangeKind uint8

const (
	ChangeDelete     ChangeKind = 0
	ChangeSet        ChangeKind = 1
	ChangeDeleteOnce ChangeKind = 7 // of a row that was set once; see delOnce
)

// Changes are all changes of one record. Each is encoded as
//
//	kind u8 | length of the key uvarint | key | for ChangeSet: length of the value uvarint | value
//
// which is also the form that they have in a batch of Pebble. They are valid until
// the next record begins.
type Changes struct {
	lanes [laneCount][]byte
	n     int
}

// Count returns how many changes there are.
func (c *Changes) Count() int { return c.n }

// Size returns the length of all changes, bytes.
func (c *Changes) Size() (n int) {
	for _, l := range c.lanes {
		n += len(l)
	}
	return n
}

// AppendTo appends all changes to b.
func (c *Changes) AppendTo(b []byte) []byte {
	for _, l := range c.lanes {
		b = append(b, l...)
	}
	return b
}

// add encodes a change. It keeps no part of key and value.
func (l *writeLane) add(kind ChangeKind, key, value []byte) {
	b := binary.AppendUvarint(append(l.bytes, byte(kind)), uint64(len(key)))
	at := len(b)
	b = append(b, key...)
	if kind == ChangeSet {
		b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
	}
	l.bytes, l.n = b, l.n+1
	if l.over != nil {
		end := at + len(key)
		l.put(kind, b[at:end:end], b[len(b)-len(value):])
	}
}

func (l *writeLane) put(kind ChangeKind, key, value []byte) {
	if err := l.over.Add(kind, key, value); err != nil && l.err == nil {
		l.err = err
	}
}

// index lets the changes be read.
func (l *writeLane) index(base Base) {
	l.over = base.Overlay(len(l.bytes))
	for b := l.bytes; len(b) > 0; {
		var kind ChangeKind
		var key, value []byte
		kind, key, value, b = cutChange(b)
		l.put(kind, key, value)
	}
}

// cutChange splits the first change from the rest.
func cutChange(b []byte) (kind ChangeKind, key, value, rest []byte) {
	kind = ChangeKind(b[0])
	key, rest = cutBytes(b[1:])
	if kind == ChangeSet {
		value, rest = cutBytes(rest)
	}
	return kind, key, value, rest
}

// cutBytes splits bytes that begin with their length from the rest.
func cutBytes(b []byte) (v, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	return b[:n:n], b[n:]
}

func (w *writes) set(k, v []byte) { w.lanes[laneOf(k[0])].add(ChangeSet, k, v) }
func (w *writes) del(k []byte)    { w.lanes[laneOf(k[0])].add(ChangeDelete, k, nil) }

// delOnce removes a row that was set once, as those of kindQueued, kindExpiry and
// kindEvents are: their keys have a number, and none is given twice. The database drops such a row
// together with its removal, mostly before either reaches a table; a removal by del
// goes down to the last level. A row set twice would
// come back; the listener of the database reports it.
func (w *writes) delOnce(k []byte) { w.lanes[laneOf(k[0])].add(ChangeDeleteOnce, k, nil) }

// get returns a copy of the value of key as the record has left it so far, nil
// when there is none.
func (w *writes) get(key []byte) ([]byte, error) {
	r, err := w.reader(key[0])
	if err != nil {
		return nil, err
	}
	return r.Get(key)
}

// each calls fn with rows of one kind as the record has left them so far, in rising
// order until it returns false.
func (w *writes) each(from, to []byte, fn func(k, val []byte) (bool, error)) error {
	r, err := w.reader(from[0])
	if err != nil {
		return err
	}
	return each(r, from, to, false, fn)
}

// reader reads rows of one kind with the record's changes.
func (w *writes) reader(kind byte) (Reader, error) {
	l := &w.lanes[laneOf(kind)]
	if l.n == 0 {
		return w.base, nil
	}
	if l.over == nil {
		l.index(w.base)
	}
	return l.over, l.err
}

// take returns all changes.
func (w *writes) take() (c Changes, err error) {
	for i := range w.lanes {
		l := &w.lanes[i]
		c.lanes[i], c.n = l.bytes, c.n+l.n
		err = errors.Join(err, l.err, l.close())
	}
	return c, err
}

// drop forgets all changes.
func (w *writes) drop() {
	for i := range w.lanes {
		l := &w.lanes[i]
		_ = l.close()
		if cap(l.bytes) > maxKeptLane {
			l.bytes = nil
		}
		l.bytes, l.n, l.err = l.bytes[:0], 0, nil
	}
}

func (l *writeLane) close() (err error) {
	if l.over != nil {
		err, l.over = l.over.Close(), nil
	}
	return err
}
