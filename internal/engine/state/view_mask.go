package state

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Mask returns the clients of the audience that a.Among names and a.Only wants.
func (v *View) Mask(a *gateway.Acceptance) (_ record.Bitmap, err error) {
	m := &masking{View: v, to: &a.To, only: a.Only, chunks: map[uint32]*maskChunk{}}
	if a.Among != nil {
		err = m.among(a)
	} else {
		err = m.allKnown()
	}
	return m.wanted(), err
}

// masking is a mask in the making.
type masking struct {
	*View
	to     *gateway.Audience
	only   func(gateway.ClientID) bool // nil wants all
	chunks map[uint32]*maskChunk
}

// maskChunk has the recipients of a chunk, and those of them that are wanted.
type maskChunk struct{ in, wanted record.Bitset }

func (m *masking) wanted() record.Bitmap {
	out := record.Bitmap{}
	for n, c := range m.chunks {
		if !c.wanted.Empty() {
			out[n] = &c.wanted
		}
	}
	return out
}

// among looks at the clients that the caller names.
func (m *masking) among(a *gateway.Acceptance) error {
	for id, ref := range a.Among {
		o := record.Ordinal(ref - 1)
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

// allKnown adds all known clients.
func (m *masking) allKnown() error {
	return m.each([]byte{kindOrdinal}, []byte{kindOrdinal + 1}, false, func(k, id []byte) (bool, error) {
		return true, m.consider(gateway.ClientID(id), record.Ordinal(tail32(k)))
	})
}

// consider adds a client if it is wanted.
func (m *masking) consider(id gateway.ClientID, o record.Ordinal) (err error) {
	n := record.ChunkOf(o)
	c := m.chunks[n]
	if c == nil {
		c = &maskChunk{}
		if c.in, err = selected(m.to, n, m.chunk); err != nil {
			return err
		}
		m.chunks[n] = c
	}
	if c.in.Has(o) && (m.only == nil || m.only(id)) {
		c.wanted.Set(o)
	}
	return nil
}
