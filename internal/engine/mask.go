package engine

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
)

// mask returns the ordinals of those of the audience whom a.Among names and
// a.Only wants.
func (e *Engine) mask(a *gateway.Acceptance) (bitmap, error) {
	v, err := e.reading()
	if err != nil {
		return nil, err
	}
	defer v.release()
	m := &masking{view: v, to: &a.To, only: a.Only, in: map[uint32]*bitset{}, wanted: bitmap{}}
	if a.Among != nil {
		err = m.among(a)
	} else {
		err = m.everybody()
	}
	return m.wanted, err
}

// masking is a mask in the making.
type masking struct {
	*view
	to     *gateway.Audience
	only   func(gateway.ClientID) bool // nil wants all
	in     map[uint32]*bitset          // the audience, as far as it was read
	wanted bitmap
}

// among looks at the clients that the caller names.
func (m *masking) among(a *gateway.Acceptance) error {
	for id, ref := range a.Among {
		o := ordinal(ref - 1)
		if ref == 0 {
			row, ok, err := m.clientRow(id)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			o = row.ord
		}
		if err := m.consider(id, o); err != nil {
			return err
		}
	}
	return nil
}

// everybody looks at all known clients.
func (m *masking) everybody() error {
	it, err := m.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{kindOrdinal}, UpperBound: []byte{kindOrdinal + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = m.consider(gateway.ClientID(it.Value()), ordinal(tail32(it.Key())))
	}
	return errors.Join(err, it.Error(), it.Close())
}

// consider adds a client if it is wanted.
func (m *masking) consider(id gateway.ClientID, o ordinal) error {
	n := chunkOf(o)
	set := m.in[n]
	if set == nil {
		b, err := m.selected(m.to, n)
		if err != nil {
			return err
		}
		set = &b
		m.in[n] = set
	}
	if set.has(o) && (m.only == nil || m.only(id)) {
		m.wanted.set(o)
	}
	return nil
}
