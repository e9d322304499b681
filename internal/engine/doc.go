// Package engine is the durable store of the gateway: one deterministic state
// machine over Pebble, fed by records.
//
//	event → queue (group commit) → record → apply → Pebble
//
// A record is one group commit: everything that waited while the previous
// fsync ran. Decisions that need state (idempotency, queue limits, first final
// state wins, the audience of a message) are taken inside apply, in log order,
// and give each event its result. Ids and times are fixed by the writer, so
// that the same log gives the same state, byte for byte.
//
// On one node the journal is Pebble's write-ahead log: the changes that a
// record makes and the position it has are one synced batch. Over a shared journal,
// see package journal, a record is applied when it is read back, like all others.
//
// # Rooms
//
//	record/     events, records and their encoding: the wire format of the log
//	state/      rows and rules; pure: record in, changes, results and feed out
//	journal/    a log that several processes share: the contract, and their protocol
//	disk/       the files of a store: judge, make, repair, hold and open it
//	memstore/   the same port in memory
//	enginetest/ the suite that every store passes
//	journaltest/ a journal that misbehaves, and nodes over it
//
// The engine itself joins them:
//
//	store.go, undurable.go, stuck.go   calls that become events
//	queue.go, committer.go             events that become records: group commit
//	pipeline.go, reopen.go             records on their way to the disk; a failed disk
//	engine.go, options.go, enter.go    start and end; the process becomes the writer
//	follow.go                          the records of a shared journal
//	view.go, reads.go, rows.go         what readers see, and the rows for package state
//	expiry.go, space.go, stats.go      the sweeper, the room on the disk, figures
//	backup.go, verify.go, repair.go    stores that are copied, checked or mended
//
// # Views
//
// Pebble shows a batch to readers before it is synced. The engine's readers
// therefore never read the database itself but a view: a snapshot that is
// published only after the sync. A state that was read is on disk.
//
// # Starting
//
// The file MARK lies outside the database and lists the least that it must have.
// disk.Survey compares the two before anything is written, and refuses a store that
// has less.
//
// # What happens when the disk fails
//
// The first failed write or sync of a log or manifest seals the database: from
// then on nothing reaches the directory through it, all callers of the batch get
// ErrUnavailable, and the engine opens the directory again as a start-up would
// until that succeeds. See disk/seal.go and reopen.go.
package engine
