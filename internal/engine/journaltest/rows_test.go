package journaltest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/longwire/longwire/internal/engine/state"
)

// Rows are the rows of a state in memory, in the order of their keys. A copy of the
// slice is a snapshot: values never change.
type Rows struct{ list []row }

type row struct {
	key   string
	value []byte
}

var _ state.Base = (*Rows)(nil)

// find returns the place of the first row that is not below key.
func (r *Rows) find(key []byte) int {
	return sort.Search(len(r.list), func(i int) bool { return r.list[i].key >= string(key) })
}

func (r *Rows) at(key []byte) (i int, ok bool) {
	i = r.find(key)
	return i, i < len(r.list) && r.list[i].key == string(key)
}

// Get returns the value of key.
func (r *Rows) Get(key []byte) ([]byte, error) {
	if i, ok := r.at(key); ok {
		return append([]byte{}, r.list[i].value...), nil
	}
	return nil, nil
}

// Iter walks the rows of [from, to) as they are now.
func (r *Rows) Iter(from, to []byte) (state.Iterator, error) {
	return &walk{list: slices.Clone(r.between(from, to))}, nil
}

// between returns the rows of [from, to); a to of nil is behind all.
func (r *Rows) between(from, to []byte) []row {
	end := len(r.list)
	if to != nil {
		end = r.find(to)
	}
	return r.list[min(r.find(from), end):end]
}

func (r *Rows) set(key, value []byte) {
	i, ok := r.at(key)
	if !ok {
		r.list = slices.Insert(r.list, i, row{key: string(key)})
	}
	r.list[i].value = append([]byte{}, value...)
}

// Clone returns a snapshot.
func (r *Rows) Clone() *Rows { return &Rows{slices.Clone(r.list)} }

// Equal compares all rows, and names the first that differs.
func (r *Rows) Equal(other *Rows) error {
	for i := range max(len(r.list), len(other.list)) {
		switch {
		case i >= len(r.list):
			return fmt.Errorf("row %q is missing", other.list[i].key)
		case i >= len(other.list) || r.list[i].key < other.list[i].key:
			return fmt.Errorf("row %q is too many", r.list[i].key)
		case r.list[i].key > other.list[i].key:
			return fmt.Errorf("row %q is missing", other.list[i].key)
		case string(r.list[i].value) != string(other.list[i].value):
			return fmt.Errorf("row %q is %x, want %x", r.list[i].key, r.list[i].value, other.list[i].value)
		}
	}
	return nil
}

// Apply makes the changes of one record, as state.Changes encodes them. A row that is to
// be removed as one that was set once has to be there, and must not have been set twice.
func (r *Rows) Apply(changes []byte) error {
	for b := changes; len(b) > 0; {
		var key, value []byte
		kind := state.ChangeKind(b[0])
		key, b = cut(b[1:])
		i, ok := r.at(key)
		switch kind {
		case state.ChangeSet:
			value, b = cut(b)
			if ok && setOnce(key) {
				return fmt.Errorf("row %q is set twice", key)
			}
			r.set(key, value)
			continue
		case state.ChangeDeleteOnce:
			if !ok {
				return fmt.Errorf("row %q is removed and was not set", key)
			}
		}
		if ok {
			r.list = slices.Delete(r.list, i, i+1)
		}
	}
	return nil
}

// setOnce reports whether a row is of a kind that is set once: queued deliveries and the
// expiry index.
func setOnce(key []byte) bool { return key[0] == 'q' || key[0] == 'x' }

func cut(b []byte) (v, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	return b[:n], b[n:]
}

// Overlay returns the rows with room for changes.
func (r *Rows) Overlay(int) state.Overlay { return &overlay{base: r} }

// overlay is Rows with changes on top; a change without a value removes the row.
type overlay struct {
	base    *Rows
	changes Rows
}

func (o *overlay) Add(kind state.ChangeKind, key, value []byte) error {
	o.changes.set(key, value)
	if kind != state.ChangeSet {
		i, _ := o.changes.at(key)
		o.changes.list[i].value = nil
	}
	return nil
}

func (o *overlay) Get(key []byte) ([]byte, error) {
	i, ok := o.changes.at(key)
	switch {
	case !ok:
		return o.base.Get(key)
	case o.changes.list[i].value == nil:
		return nil, nil
	}
	return append([]byte{}, o.changes.list[i].value...), nil
}

func (o *overlay) Iter(from, to []byte) (state.Iterator, error) {
	below, above := o.base.between(from, to), o.changes.between(from, to)
	merged := make([]row, 0, len(below)+len(above))
	for len(below) > 0 || len(above) > 0 {
		if len(above) == 0 || len(below) > 0 && below[0].key < above[0].key {
			merged, below = append(merged, below[0]), below[1:]
			continue
		}
		if len(below) > 0 && below[0].key == above[0].key {
			below = below[1:]
		}
		if above[0].value != nil {
			merged = append(merged, above[0])
		}
		above = above[1:]
	}
	return &walk{list: merged}, nil
}

func (o *overlay) Close() error { return nil }

// walk is an iterator over rows.
type walk struct {
	list []row
	i    int
}

func (w *walk) to(i int) bool {
	w.i = min(max(i, -1), len(w.list))
	return w.i >= 0 && w.i < len(w.list)
}

func (w *walk) First() bool                  { return w.to(0) }
func (w *walk) Last() bool                   { return w.to(len(w.list) - 1) }
func (w *walk) Next() bool                   { return w.to(w.i + 1) }
func (w *walk) Prev() bool                   { return w.to(w.i - 1) }
func (w *walk) Key() []byte                  { return []byte(w.list[w.i].key) }
func (w *walk) Value() []byte                { return w.list[w.i].value }
func (w *walk) ValueAndErr() ([]byte, error) { return w.list[w.i].value, nil }
func (w *walk) Error() error                 { return nil }
func (w *walk) Close() error                 { return nil }

// disk has the rows of one node. The rows are not synced with each record: a crash loses
// the changes of the last records, but those before the last flush.
type disk struct {
	*Rows          // as a running process sees them
	saved *Rows    // as the last flush has left them
	since [][]byte // changes of the records after it
}

func newDisk() *disk { return &disk{Rows: &Rows{}, saved: &Rows{}} }

// store makes the changes of one record.
func (d *disk) store(c *state.Changes) error {
	changes := c.AppendTo(nil)
	d.since = append(d.since, changes)
	return d.Rows.Apply(changes)
}

func (d *disk) flush() { d.saved, d.since = d.Rows.Clone(), nil }

// crashed returns a disk that has lost the changes of all records but the first keep
// after the flush.
func (d *disk) crashed(keep int) (*disk, error) {
	c := &disk{Rows: d.saved.Clone(), saved: d.saved, since: slices.Clone(d.since[:keep])}
	for _, changes := range c.since {
		if err := c.Rows.Apply(changes); err != nil {
			return nil, err
		}
	}
	return c, nil
}
