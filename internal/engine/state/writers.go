package state

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// writerRow is how far a writer has come.
type writerRow struct {
	boot uint64 // of its process
	era  uint64 // number that the state gave to the boot, from 1
	n    uint64 // its last record that was applied
}

// eras are the writers of a state, by their ids.
type eras map[uint64]writerRow

// live reports whether a writer's boot with this number is its last one.
func (w eras) live(era uint64) bool {
	if era == 0 {
		return false
	}
	for _, row := range w {
		if row.era == era {
			return true
		}
	}
	return false
}

func (r writerRow) encode(key []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32), r.boot)
	return record.PutSum(key, record.PutUint(record.PutUint(b, r.era), r.n))
}

func decodeWriter(key, v []byte) (r writerRow, err error) {
	var boot [8]byte
	d := record.Open(key, v)
	d.Copy(boot[:])
	r.boot, r.era, r.n = binary.BigEndian.Uint64(boot[:]), d.Uint(), d.Uint()
	return r, d.End()
}

func readWriters(rows Reader) (eras, error) {
	w := eras{}
	return w, each(rows, []byte{kindWriter}, []byte{kindWriter + 1}, false, func(k, val []byte) (bool, error) {
		row, err := decodeWriter(k, val)
		w[tail64(k)] = row
		return true, err
	})
}

// ReadBounds reads the row of bounds; a state without one has the default.
func ReadBounds(rows Reader) (record.Bounds, error) {
	v, err := rows.Get(keyBounds)
	if err != nil || v == nil {
		return record.DefaultBounds(), err
	}
	return decodeBounds(keyBounds, v)
}

func decodeBounds(key, v []byte) (record.Bounds, error) {
	d := record.Open(key, v)
	return record.DecodeBounds(&d), d.End()
}

// Bounds returns the bounds in force.
func (m *Machine) Bounds() record.Bounds { return m.bounds }

// Verdict says whether a record is the next one of its writer.
type Verdict uint8

const (
	Next   Verdict = iota // the record is to be applied
	Repeat                // it was applied before
	Hole                  // a record of the same boot before it has not come yet
	Fenced                // it is of a boot that is over, or that never was the writer's
)

// Judge decides by the writer's row alone whether a record is applied. A writer's
// applied records are therefore an unbroken run of the records of one process after
// another, although a journal may lose, repeat and reorder them. A record that is not
// applied changes nothing.
func (m *Machine) Judge(r *record.Commit) Verdict {
	w := m.writers[r.Writer]
	if w.boot != r.Boot {
		if o, ok := r.Opening(); ok && o.After == w.boot {
			return Next
		}
		return Fenced
	}
	switch {
	case r.N <= w.n:
		return Repeat
	case r.N > w.n+1:
		return Hole
	}
	return Next
}

// Boot returns the boot of a writer's last process, 0 if it has none.
func (m *Machine) Boot(writer uint64) (boot, n uint64) {
	w := m.writers[writer]
	return w.boot, w.n
}

// opened begins the era of a boot. The clients of the writer's boot before are offline
// from here on: their rows say so by their era, and are not rewritten.
func (m *Machine) opened(e *record.Opened) error {
	if err := m.endEra(); err != nil {
		return err
	}
	if err := m.dropEraEnds(); err != nil {
		return err
	}
	m.State.era++
	m.era = m.State.era
	m.writers[m.record.Writer] = writerRow{boot: m.record.Boot, era: m.era}
	if m.State.Event == 0 {
		m.State.EventsGone = e.Floor.Event // a new log: lower numbers are of another one
	}
	m.State.Raise(e.Floor)
	return nil
}

// endEra removes the online bitmap of the era so far.
func (m *Machine) endEra() error {
	if m.era == 0 {
		return nil
	}
	keys, err := m.keysWith(key64(kindOnline, m.era))
	if err != nil || len(keys) == 0 {
		return err
	}
	gone := record.Bitmap{}
	for _, k := range keys {
		n := tail32(k)
		c, err := m.chunk(onlineChunk(m.era, n))
		if err != nil {
			return err
		}
		gone[n] = new(c.bits)
		c.bits = record.Bitset{}
		m.touchChunk(c)
	}
	k := eraEndKey(m.era)
	m.set(k, record.PutSum(k, record.PutUint(nil, uint64(max(m.State.At, m.record.At)))))
	n := gone.Count()
	m.note(&Event{Kind: EventDisconnectedAll, Reason: gateway.ReasonServerStopped, At: m.record.At, N: n, Clients: gone})
	m.notices.add(&gateway.DisconnectedAll{Reason: gateway.ReasonServerStopped, N: n})
	return nil
}

func eraEndKey(era uint64) []byte { return key64(kindEraEnd, era) }

func decodeEraEnd(key, v []byte) (at int64, err error) {
	d := record.Open(key, v)
	at = int64(d.Uint())
	return at, d.End()
}

// dropEraEnds removes the ends of eras that keep no client any more.
func (m *Machine) dropEraEnds() error {
	var old [][]byte
	err := m.each([]byte{kindEraEnd}, []byte{kindEraEnd + 1}, func(k, val []byte) (bool, error) {
		at, err := decodeEraEnd(k, val)
		if at < m.record.At-int64(m.bounds.ClientAge) {
			old = append(old, slices.Clone(k))
		}
		return true, err
	})
	for _, k := range old {
		m.del(k)
	}
	return err
}

// forgettable reports whether a client was not seen since before and is not connected. One
// that was connected when its process ended counts as seen until the next start: it may have
// registered long before.
func forgettable(rows getter, c *clientRow, before int64, eras eras) (bool, error) {
	if max(c.createdAt, c.lastSeenAt) >= before || eras.live(c.connectedIn) {
		return false, nil
	}
	if c.connectedIn == 0 {
		return true, nil
	}
	end, err := rowOrZero(rows, eraEndKey(c.connectedIn), decodeEraEnd)
	return end < before, err
}

// Raise makes the numbers that are given next higher than n.
func (r *Standing) Raise(n record.Numbers) {
	r.Seq = max(r.Seq, gateway.Seq(n.Seq))
	r.Useq, r.Event = max(r.Useq, n.Useq), max(r.Event, n.Event)
}

// noteWriter keeps the place of the record under way among those of its writer.
func (m *Machine) noteWriter(r *record.Commit) {
	w := m.writers[r.Writer]
	w.n = r.N
	m.writers[r.Writer] = w
	k := key64(kindWriter, r.Writer)
	m.set(k, w.encode(k))
}

// agreeEvery is the distance of the positions whose checksums nodes compare.
const agreeEvery = 256

// seal adds the record and its changes to the running checksum. The changes count as a
// set: the sum of the hashes of all that were made, so that they need not be sorted.
// Only the row of the state is not among them, because it has the checksum.
//
//	sum' = xxh64(sum | position | CRC32C of the record's bytes | Σ xxh64(change) mod 2^64)
func (m *Machine) seal(r *record.Commit) {
	var b [28]byte
	binary.BigEndian.PutUint64(b[:], m.State.Sum)
	binary.BigEndian.PutUint64(b[8:], m.State.Pos)
	binary.BigEndian.PutUint32(b[16:], r.Sum)
	binary.BigEndian.PutUint64(b[20:], m.writes.sum())
	m.State.Sum = xxhash.Sum64(b[:])
	if m.State.Pos%agreeEvery == 0 {
		m.State.Agreed = Agreement{m.State.Pos, m.State.Sum}
	}
}

// sum adds up the hashes of all changes.
func (w *writes) sum() (total uint64) {
	for i := range w.lanes {
		for b := w.lanes[i].bytes; len(b) > 0; {
			_, _, _, rest := cutChange(b)
			total += xxhash.Sum64(b[:len(b)-len(rest)])
			b = rest
		}
	}
	return total
}
