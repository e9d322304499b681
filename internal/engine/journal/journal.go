// Package journal is the contract between the engine and what orders its records,
// and the journal of one node.
package journal

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
