package state

import (
	"encoding/binary"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// chunk is one chunk of a bitmap in the database.
type chunk struct {
	id     chunkID
	bits   record.Bitset
	stored bool // has a row
	dirty  bool
}

// chunkID names a chunk of a bitmap; which fields are used depends on kind.
type chunkID struct {
	kind  byte
	name  string        // group, or key=value of a label
	seq   gateway.Seq   // of a message, or the era of an online bitmap
	state gateway.State // final state
	n     uint32        // number of the chunk
}

func knownChunk(n uint32) chunkID              { return chunkID{kind: kindKnown, n: n} }
func groupChunk(name string, n uint32) chunkID { return chunkID{kind: kindGroup, name: name, n: n} }
func labelChunk(k, v string, n uint32) chunkID {
	return chunkID{kind: kindLabel, name: k + "=" + v, n: n}
}
func queuedChunk(s gateway.Seq, n uint32) chunkID { return chunkID{kind: kindBits, seq: s, n: n} }
func onlineChunk(era uint64, n uint32) chunkID {
	return chunkID{kind: kindOnline, seq: gateway.Seq(era), n: n}
}

// stateChunk is of the recipients in a state, one of bitStates.
func stateChunk(s gateway.Seq, st gateway.State, n uint32) chunkID {
	if st == gateway.Queued {
		return queuedChunk(s, n)
	}
	return chunkID{kind: kindStateBits, seq: s, state: st, n: n}
}

func (id chunkID) key() []byte {
	switch id.kind {
	case kindKnown:
		return key32(kindKnown, id.n)
	case kindBits:
		return key32x64(kindBits, id.n, uint64(id.seq))
	case kindOnline:
		return key64x32(kindOnline, uint64(id.seq), id.n)
	case kindStateBits:
		return binary.BigEndian.AppendUint32(append(key64(kindStateBits, uint64(id.seq)), byte(id.state)), id.n)
	default: // the length keeps one name's chunks apart from a longer name's
		k := binary.BigEndian.AppendUint16(keyOf(id.kind, len(id.name)+6), uint16(len(id.name)))
		return binary.BigEndian.AppendUint32(append(k, id.name...), id.n)
	}
}

func (m *Machine) chunk(id chunkID) (*chunk, error) {
	if c := m.chunks[id]; c != nil {
		return c, nil
	}
	c := &chunk{id: id}
	k := id.key()
	v, err := m.get(k)
	if err != nil {
		return nil, err
	}
	if c.stored = v != nil; c.stored {
		if err := decodeChunk(&c.bits, k, v); err != nil {
			return nil, err
		}
	}
	m.chunks[id] = c
	return c, nil
}

func (m *Machine) touchChunk(c *chunk) {
	if !c.dirty {
		c.dirty = true
		m.dirty.chunks = append(m.dirty.chunks, c)
	}
}

func (m *Machine) setBit(id chunkID, o record.Ordinal, on bool) error {
	c, err := m.chunk(id)
	if err != nil {
		return err
	}
	if on {
		c.bits.Set(o)
	} else {
		c.bits.Clear(o)
	}
	m.touchChunk(c)
	return nil
}
