package engine

import (
	"encoding/binary"
	"math/bits"
)

// chunkBits is how many ordinals one chunk of a bitmap covers.
const chunkBits = 4096

// bitset is one chunk of a bitmap.
type bitset [chunkBits / 64]uint64

func chunkOf(o ordinal) uint32 { return uint32(o) / chunkBits }

func (b *bitset) has(o ordinal) bool { return b[o%chunkBits/64]&(1<<(o%64)) != 0 }
func (b *bitset) set(o ordinal)      { b[o%chunkBits/64] |= 1 << (o % 64) }
func (b *bitset) clear(o ordinal)    { b[o%chunkBits/64] &^= 1 << (o % 64) }

func (b *bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b *bitset) empty() bool { return *b == bitset{} }

func (b *bitset) and(c *bitset) {
	for i := range b {
		b[i] &= c[i]
	}
}

func (b *bitset) or(c *bitset) {
	for i := range b {
		b[i] |= c[i]
	}
}

// each calls fn with the ordinals of the set in rising order, from on upwards,
// until it returns false.
func (b *bitset) each(chunk uint32, from ordinal, fn func(ordinal) bool) bool {
	for i, w := range b {
		base := ordinal(chunk)*chunkBits + ordinal(i)*64
		for w != 0 {
			o := base + ordinal(bits.TrailingZeros64(w))
			w &= w - 1
			if o >= from && !fn(o) {
				return false
			}
		}
	}
	return true
}

// Encodings of a chunk: the words up to the last that is not zero, or, where
// that is shorter, the bits as steps from one to the next.
const (
	chunkWords = 0
	chunkSteps = 1
)

// encode returns nil for an empty chunk: it has no row.
func (b *bitset) encode() []byte {
	n, last := b.count(), len(b)
	if n == 0 {
		return nil
	}
	for b[last-1] == 0 {
		last--
	}
	if 2*n >= 8*last {
		out := append(make([]byte, 0, 1+8*last), chunkWords)
		for _, w := range b[:last] {
			out = binary.LittleEndian.AppendUint64(out, w)
		}
		return out
	}
	out := append(make([]byte, 0, 1+2*n), chunkSteps)
	prev := ordinal(0)
	b.each(0, 0, func(o ordinal) bool {
		out = putUint(out, uint64(o-prev))
		prev = o
		return true
	})
	return out
}

func (b *bitset) decode(v []byte) error {
	*b = bitset{}
	if len(v) == 0 {
		return nil
	}
	d := decoder{b: v[1:]}
	switch v[0] {
	case chunkWords:
		if len(d.b)%8 != 0 || len(d.b) > 8*len(b) {
			return errShort
		}
		for i := range len(d.b) / 8 {
			b[i] = binary.LittleEndian.Uint64(d.b[8*i:])
		}
		return nil
	case chunkSteps:
		o := uint64(0)
		for len(d.b) > 0 {
			if o += d.uint(); o >= chunkBits || d.err != nil {
				return errShort
			}
			b.set(ordinal(o))
		}
		return nil
	}
	return errShort
}

// bitmap is a set of ordinals: chunks by number.
type bitmap map[uint32]*bitset

func (m bitmap) set(o ordinal) {
	c := m[chunkOf(o)]
	if c == nil {
		c = new(bitset)
		m[chunkOf(o)] = c
	}
	c.set(o)
}

func (m bitmap) count() (n int) {
	for _, c := range m {
		n += c.count()
	}
	return n
}
