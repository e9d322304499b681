package state

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
	Value() []byte
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
