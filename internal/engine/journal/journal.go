// Package journal is the contract between engines and the log that orders the records
// of several of them.
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
