package journal

import (
	"bytes"
	"slices"
	"time"
)

// Bounds of the records that a writer has under way: appended, and not read back. A
// record that is larger goes alone.
const (
	MaxUnderWay      = 4
	MaxUnderWayBytes = 2 << 20
)

// Patience is how long the records under way may take until the next one is read back.
// Then the process calls Writer.Again.
const Patience = 2 * time.Second

// Record is a record as a follower reads it.
type Record struct {
	Pos    uint64
	Writer uint64 // the data directory that it comes from
	Boot   uint64 // the process
	N      uint64 // its number, from 1
	Bytes  []byte
}

// Verdict is the state's decision about a record. The numbers are those of package
// state.
type Verdict uint8

const (
	Applied Verdict = iota
	Repeat          // applied before
	Hole            // a record of the boot before it has not come
	Fenced          // of a boot that is not the writer's current one
)

// Todo is the next step of a process that has read a record.
type Todo uint8

const (
	// Ignore: there is nothing to do.
	Ignore Todo = iota
	// Answer: the oldest kept record of the process is applied, and its callers are
	// answered now.
	Answer
	// Resend: Send returns records again.
	Resend
	// Reopen: another boot has opened. The process makes its opening again, with the same
	// boot and the state's current boot as After, and hands it to Writer.Reopen.
	Reopen
	// Leave: another process has this writer's identity. This one answers all that it
	// owes with unknown, closes its devices and ends.
	Leave
)

// Writer is one process's side of the protocol by which several processes share a
// journal. It numbers the records of a boot, and decides which of them are appended
// when, and which are known to be applied. It has no goroutine and no clock: the
// process appends the records that Send returns, and passes on the records that it
// follows. The rules:
//
//   - A record is kept, its bytes unchanged, until it is read back applied. Two records
//     with one number and different events would let the state take the one and the
//     process answer for the other.
//   - Only then is it answered for. That the journal has stored it means nothing: behind
//     a hole or a fence a stored record changes nothing.
//   - After a hole, or without progress, all records that are not known to be applied are
//     appended again, in order. The state takes only the next number, so a lost record
//     would hold up all later ones for ever.
//   - The opening goes alone. Its After may be out of date, and records behind it would
//     then be appended in vain.
//   - A boot that was current and is no more never comes back: the process leaves, because
//     its successor may already have answered for records in its place. A boot that was
//     not current yet has answered for nothing, and may try again.
//   - A record under the process's own boot that it has not made, or has made with other
//     bytes, means that its memory was copied, as with a snapshot of a virtual machine.
//     Then the process leaves too.
//
// A Writer is a value: a copy is independent of the original.
type Writer struct {
	writer, boot uint64

	kept    [][]byte // records applied+1, applied+2, …
	sent    int      // how many of kept are under way
	applied uint64   // number of the last record that was read back applied
	mended  uint64   // number of the record that a hole was last answered with
	entered bool     // the boot was the writer's current one
	left    bool
	pos     uint64 // of the last record that was read
}

// NewWriter returns the Writer of a process that has drawn boot. Its first record is
// the opening of the boot, made of the state at position pos.
func NewWriter(writer, boot, pos uint64) *Writer {
	return &Writer{writer: writer, boot: boot, pos: pos}
}

// Next returns the number of the record that Add takes next.
func (w *Writer) Next() uint64 { return w.applied + uint64(len(w.kept)) + 1 }

// Room reports whether another record would be appended at once.
func (w *Writer) Room() bool {
	if !w.entered {
		return len(w.kept) == 0
	}
	size := 0
	for _, r := range w.kept {
		size += len(r)
	}
	return len(w.kept) < MaxUnderWay && size < MaxUnderWayBytes
}

// UnderWay returns how many records are appended and not read back.
func (w *Writer) UnderWay() int { return w.sent }

// Add takes the record with the number that Next has returned, and keeps the slice,
// which must not change any more. After Leave it takes none.
func (w *Writer) Add(record []byte) {
	if !w.left {
		w.kept = append(slices.Clip(w.kept), record)
	}
}

// Send returns the records that are to be appended now, in this order.
func (w *Writer) Send() [][]byte {
	if w.left {
		return nil
	}
	from, size := w.sent, 0
	for _, r := range w.kept[:from] {
		size += len(r)
	}
	for w.sent < len(w.kept) {
		size += len(w.kept[w.sent])
		if w.sent > 0 && (!w.entered || w.sent == MaxUnderWay || size > MaxUnderWayBytes) {
			break
		}
		w.sent++
	}
	return w.kept[from:w.sent:w.sent]
}

// Again makes Send return all records again that are not known to be applied. It is
// called when Patience is over, and when the connection to the journal was made anew.
func (w *Writer) Again() { w.sent, w.mended = 0, 0 }

// Reopen replaces the opening, after a Todo of that name.
func (w *Writer) Reopen(record []byte) {
	if w.entered || w.left || len(w.kept) == 0 {
		return
	}
	w.kept = append([][]byte{record}, w.kept[1:]...)
	w.Again()
}

// ReadBack takes a record that the process has read, with the state's verdict, and
// returns the process's next step. Records of other writers are ignored, and so are
// positions that were read before: a state that has lost its end reads them again.
func (w *Writer) ReadBack(r Record, v Verdict) Todo {
	if w.left || r.Pos <= w.pos {
		return Ignore
	}
	w.pos = r.Pos
	switch {
	case r.Writer != w.writer:
		return Ignore
	case r.Boot != w.boot:
		return w.other(r.N, v)
	case v == Applied:
		return w.own(r)
	case v == Hole:
		return w.hole()
	case v == Fenced && w.entered:
		return w.leave()
	}
	return Ignore
}

// other takes a record of another process of this writer.
func (w *Writer) other(n uint64, v Verdict) Todo {
	switch {
	case v != Applied:
		return Ignore
	case w.entered:
		return w.leave()
	case n == 1 && len(w.kept) > 0:
		return Reopen
	}
	return Ignore
}

func (w *Writer) own(r Record) Todo {
	if r.N != w.applied+1 || len(w.kept) == 0 || !bytes.Equal(r.Bytes, w.kept[0]) {
		return w.leave()
	}
	w.entered = true
	w.applied++
	w.kept, w.sent = w.kept[1:], max(0, w.sent-1)
	return Answer
}

// hole sends again from the record that is missing, once: the records behind it that
// are on their way report the same hole. If it is lost again, the time does it.
func (w *Writer) hole() Todo {
	if len(w.kept) == 0 || w.mended == w.applied+1 {
		return Ignore
	}
	w.sent, w.mended = 0, w.applied+1
	return Resend
}

func (w *Writer) leave() Todo {
	w.left, w.kept, w.sent = true, nil, 0
	return Leave
}
