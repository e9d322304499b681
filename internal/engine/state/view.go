package state

import (
	"sync"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// View reads a state: the same rows that the machine writes.
type View struct {
	Rows   Reader
	State  Standing // of the rows
	Shared *Shared

	broadcasts broadcasts
	writers    struct {
		sync.Once
		eras
		err error
	}
}

// eras returns the writers of the state.
func (v *View) eras() (eras, error) {
	w := &v.writers
	w.Do(func() { w.eras, w.err = readWriters(v.Rows) })
	return w.eras, w.err
}

// Shared is what all views of one database share.
type Shared struct {
	bodies  bodies
	waiting *waitingSet
}

// Waits reports whether rows may be queued for a client alone. It never leaves out one
// that has rows in a published view.
func (s *Shared) Waits(o record.Ordinal) bool { return s.waiting.has(o) }

// NewShared makes it of the rows that a database has before its next record.
func NewShared(rows Reader) (*Shared, error) {
	w, err := readWaiting(rows)
	return &Shared{waiting: w}, err
}

func (v *View) get(key []byte) ([]byte, error) { return v.Rows.Get(key) }

// each calls fn with the rows of [from, to), as the function each does.
func (v *View) each(from, to []byte, falling bool, fn func(k, val []byte) (bool, error)) error {
	return each(v.Rows, from, to, falling, fn)
}

func (v *View) chunk(id chunkID) (set record.Bitset, err error) {
	k := id.key()
	val, err := v.get(k)
	if err != nil || val == nil {
		return set, err
	}
	return set, decodeChunk(&set, k, val)
}

func decodeChunk(set *record.Bitset, k, val []byte) error {
	val, err := record.CheckSum(k, val)
	if err != nil {
		return err
	}
	return record.Corrupt(k, set.Decode(val))
}

// selected returns one chunk of an audience that a rule selects, of chunks of bitmaps.
func selected(to *gateway.Audience, n uint32, chunk func(chunkID) (record.Bitset, error)) (set record.Bitset, err error) {
	switch {
	case to.All:
		return chunk(knownChunk(n))
	case to.Group != "":
		return chunk(groupChunk(to.Group, n))
	}
	first := true
	for k, val := range to.Labels {
		c, err := chunk(labelChunk(k, val, n))
		if err != nil {
			return set, err
		}
		if first {
			set, first = c, false
		} else {
			set.And(&c)
		}
	}
	return set, nil
}

// audience returns all clients that a rule selects. A mask that is not nil narrows them.
func (r *Standing) audience(to *gateway.Audience, mask record.Bitmap, chunk func(chunkID) (record.Bitset, error)) (record.Bitmap, error) {
	out := record.Bitmap{}
	for n := range r.chunkCount() {
		if mask != nil && mask[n] == nil {
			continue
		}
		set, err := selected(to, n, chunk)
		if err != nil {
			return nil, err
		}
		if mask != nil {
			set.And(mask[n])
		}
		if !set.Empty() {
			out[n] = &set
		}
	}
	return out, nil
}

// clientRow returns a known client's row, ok false for an unknown one.
func (v *View) clientRow(id gateway.ClientID) (row clientRow, ok bool, err error) {
	k := clientKey(id)
	val, err := v.get(k)
	if err != nil || val == nil {
		return row, false, err
	}
	row, err = decodeClient(k, val)
	return row, err == nil, err
}

// nameOf returns the id of the client that has, or had, an ordinal.
func (v *View) nameOf(o record.Ordinal) (gateway.ClientID, error) {
	val, err := v.get(ordinalKey(o))
	return gateway.ClientID(val), err
}

func (v *View) messageRow(id gateway.MessageID) (*messageRow, error) {
	return readRow(v, messageKey(id), decodeMessage)
}

// knownMessage is messageRow with a caller's error for an unknown id.
func (v *View) knownMessage(id gateway.MessageID) (*messageRow, error) {
	row, err := v.messageRow(id)
	if err == nil && row == nil {
		err = unknownMessage(id)
	}
	return row, err
}

func (v *View) head(seq gateway.Seq) (*headRow, error) {
	return readRow(v, headKey(seq), decodeHead)
}

// knownHead is head of a message to many that exists.
func (v *View) knownHead(seq gateway.Seq) (*headRow, error) {
	h, err := v.head(seq)
	if err == nil && h == nil {
		err = missing(headKey(seq))
	}
	return h, err
}

func (v *View) finalRow(k []byte) (*finalRow, error) { return readRow(v, k, decodeFinal) }

// message returns a message as it stands in the view.
func (v *View) message(row *messageRow) (gateway.Message, error) {
	msg := row.message()
	if row.form != formOne {
		h, err := v.knownHead(row.seq)
		if err == nil {
			msg.Counts, msg.CompletedAt = h.counts(), record.TimeOf(h.completedAt)
		}
		return msg, err
	}
	f, err := v.finalRow(finalKey(row.ord, row.seq))
	if err != nil {
		return msg, err
	}
	if f == nil {
		msg.Counts = gateway.Counts{Total: 1, Queued: 1}
		return msg, nil
	}
	f.complete(&msg)
	return msg, nil
}

// broadcastsFor returns how many messages in bitmap form are queued for an
// ordinal.
func (v *View) broadcastsFor(o record.Ordinal) (n int, err error) {
	if v.State.bitmaps == 0 {
		return 0, nil
	}
	q, err := v.queuedBits(record.ChunkOf(o), 0)
	if err != nil {
		return 0, err
	}
	for _, set := range q.sets {
		if set.Has(o) {
			n++
		}
	}
	return n, nil
}

// alone returns how much is queued for an ordinal alone.
func (v *View) alone(o record.Ordinal) (countRow, error) {
	return rowOrZero(v, countKey(o), decodeCount)
}

// record returns a client's record with all that is queued for it.
func (v *View) record(id gateway.ClientID, row *clientRow) (gateway.ClientRecord, error) {
	n, err := v.alone(row.ord)
	if err != nil {
		return gateway.ClientRecord{}, err
	}
	many, err := v.broadcastsFor(row.ord)
	if err != nil {
		return gateway.ClientRecord{}, err
	}
	eras, err := v.eras()
	return row.record(id, n.n+many, n.bytes, eras), err
}
