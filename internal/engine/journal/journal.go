// Package journal is the contract between the engine and what orders its records,
// and the journal of one node.
package journal

import (
	"context"
	"errors"
)

// Shared is a journal to which several processes append. It orders their records and
// promises nothing else: each process decides with the state which records count, see
// Writer, so that a journal may lose, delay, repeat and reorder all that it is given.
//
// Positions begin with 1 and rise by one. Behind one position all followers read the
// same record.
type Shared interface {
	// Name returns the name of the sequence space. A journal that was made anew has
	// another one, because its positions mean other records.
	Name() string

	// Append hands a record over. A nil error does not mean that it is stored: it may be
	// lost, come late, come twice, or come behind a later one. An error means unknown.
	// Append does not keep the slice.
	Append(ctx context.Context, record []byte) error

	// Follow calls fn with each record behind position from, in order, and waits for more
	// until ctx ends or fn fails; it returns that error. The slice belongs to fn. If the
	// journal does not have the next record and will not get it, the error wraps
	// ErrTrimmed or ErrEnds.
	Follow(ctx context.Context, from uint64, fn func(pos uint64, record []byte) error) error

	// Trim allows the journal to drop the records up to and including upTo.
	Trim(upTo uint64) error
}

var (
	// ErrTrimmed reports that the record behind a position was dropped: the follower
	// needs a newer state to start from.
	ErrTrimmed = errors.New("the journal has dropped the next record")
	// ErrEnds reports that the journal ends before a position that was read from it. It
	// has lost records, so its next ones are of another history than the follower's.
	ErrEnds = errors.New("the journal ends before the position")
)

// Log is a journal: it orders records and makes them durable. The engine appends from one
// goroutine, applies each record in the order of positions, and stores the
// position with the state that it leads to, in one atomic batch.
//
// A journal that keeps the records outside the state's own files (a replicated
// log) has Durable true: the state's batch is then not synced, and start-up
// replays what the state has not seen. Records of several writers may be
// interleaved; a record that comes twice is dropped by apply, by writer,
// incarnation and sequence.
type Log interface {
	// Append gives the record a place and returns its position, which is above
	// all earlier ones. When Durable, it returns only once the record is on
	// stable storage. An error means unknown: the record may be in the log.
	Append(record []byte) (pos uint64, err error)

	// Replay calls fn with every record behind position from, in order.
	Replay(from uint64, fn func(pos uint64, record []byte) error) error

	// Trim allows the journal to drop records up to and including upTo: the
	// state that contains them is on stable storage.
	Trim(upTo uint64) error

	// Durable reports whether Append makes records durable by itself. When
	// false the record exists only as the state's synced batch, and Append is
	// given nil: there is no need to encode it.
	Durable() bool
}
