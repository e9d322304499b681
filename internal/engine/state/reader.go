package state

import (
	"errors"

	"github.com/longwire/longwire/internal/engine/record"
)

// Reader reads rows.
type Reader interface {
	// Get returns a copy of the value of key, nil when there is none.
	Get(key []byte) ([]byte, error)
	// Iter returns an iterator over the rows of [from, to). The caller closes it.
	Iter(from, to []byte) (Iterator, error)
}

// Iterator walks rows in the order of their keys. It stands on a row after a move
// that returned true. Key and value are valid until the next move.
type Iterator interface {
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	Key() []byte
	ValueAndErr() ([]byte, error)
	// Error returns why a move returned false, nil at the end of the rows.
	Error() error
	Close() error
}

// Base is the database as all records before the one under way have left it.
type Base interface {
	Reader
	// Overlay returns the database with room for changes of about size bytes.
	Overlay(size int) Overlay
}

// Overlay reads a database with changes that have not reached it.
type Overlay interface {
	Reader
	// Add puts one more change on top; value is nil but for ChangeSet.
	Add(kind ChangeKind, key, value []byte) error
	Close() error
}

// getter reads the value of a key: a View, or a Machine with the record under way.
type getter interface {
	get(key []byte) ([]byte, error)
}

// readRow returns the row at key, nil if there is none.
func readRow[T any](rows getter, key []byte, decode func(key, v []byte) (T, error)) (*T, error) {
	v, err := rows.get(key)
	if err != nil || v == nil {
		return nil, err
	}
	row, err := decode(key, v)
	return &row, err
}

// rowOrZero is readRow of a row whose zero value is absent.
func rowOrZero[T any](rows getter, key []byte, decode func(key, v []byte) (T, error)) (row T, err error) {
	p, err := readRow(rows, key, decode)
	if p != nil {
		row = *p
	}
	return row, err
}

// missing says that a row is not there that another one promises.
func missing(key []byte) error { return record.Corrupt(key, record.ErrMissing) }

// each calls fn with the rows of [from, to) in rising or falling order until it
// returns false. Key and value are valid during the call only.
func each(rows Reader, from, to []byte, falling bool, fn func(k, val []byte) (bool, error)) error {
	it, err := rows.Iter(from, to)
	if err != nil {
		return err
	}
	first, next := it.First, it.Next
	if falling {
		first, next = it.Last, it.Prev
	}
	var more bool
	for ok := first(); ok; ok = next() {
		var val []byte
		if val, err = it.ValueAndErr(); err != nil {
			break
		}
		if more, err = fn(it.Key(), val); err != nil || !more {
			break
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}
