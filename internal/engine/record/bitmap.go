package record

import (
	"encoding/binary"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// ChunkBits is how many ordinals one chunk of a bitmap covers.
const ChunkBits = 4096

// Bitset is one chunk of a bitmap.
type Bitset [ChunkBits / 64]uint64

// ChunkOf returns the number of the chunk that covers an ordinal.
func ChunkOf(o Ordinal) uint32 { return uint32(o) / ChunkBits }

// Has reports whether the set has an ordinal of its chunk; Set, Clear, And, AndNot and
// Or change the set in place.
func (b *Bitset) Has(o Ordinal) bool { return b[o%ChunkBits/64]&(1<<(o%64)) != 0 }
func (b *Bitset) Set(o Ordinal)      { b[o%ChunkBits/64] |= 1 << (o % 64) }
func (b *Bitset) Clear(o Ordinal)    { b[o%ChunkBits/64] &^= 1 << (o % 64) }

// Count returns how many ordinals are set.
func (b *Bitset) Count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether none is set.
func (b *Bitset) Empty() bool { return *b == Bitset{} }

func (b *Bitset) And(c *Bitset) {
	for i := range b {
		b[i] &= c[i]
	}
}

func (b *Bitset) AndNot(c *Bitset) {
	for i := range b {
		b[i] &^= c[i]
	}
}

func (b *Bitset) Or(c *Bitset) {
	for i := range b {
		b[i] |= c[i]
	}
}

// Each goes over the ordinals of the set in rising order, from on upwards.
func (b *Bitset) Each(chunk uint32, from Ordinal) iter.Seq[Ordinal] {
	return func(yield func(Ordinal) bool) {
		for i, w := range b {
			base := Ordinal(chunk)*ChunkBits + Ordinal(i)*64
			for w != 0 {
				o := base + Ordinal(bits.TrailingZeros64(w))
				w &= w - 1
				if o >= from && !yield(o) {
					return
				}
			}
		}
	}
}

// Encodings of a chunk: the words up to the last that is not zero, or, where
// that is shorter, the bits as steps from one to the next.
const (
	chunkWords = 0
	chunkSteps = 1
)

// Encode returns nil for an empty chunk: it has no row.
func (b *Bitset) Encode() []byte {
	n, last := b.Count(), len(b)
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
	prev := Ordinal(0)
	for o := range b.Each(0, 0) {
		out = PutUint(out, uint64(o-prev))
		prev = o
	}
	return out
}

// Decode replaces the set by what Encode wrote; no bytes are the empty set.
func (b *Bitset) Decode(v []byte) error {
	*b = Bitset{}
	if len(v) == 0 {
		return nil
	}
	d := Decoder{Rest: v[1:]}
	switch v[0] {
	case chunkWords:
		if len(d.Rest)%8 != 0 || len(d.Rest) > 8*len(b) {
			return ErrShort
		}
		for i := range len(d.Rest) / 8 {
			b[i] = binary.LittleEndian.Uint64(d.Rest[8*i:])
		}
		return nil
	case chunkSteps:
		o := uint64(0)
		for len(d.Rest) > 0 {
			if o += d.Uint(); o >= ChunkBits || d.Err != nil {
				return ErrShort
			}
			b.Set(Ordinal(o))
		}
		return nil
	}
	return ErrShort
}

// Bitmap is a set of ordinals: chunks by number.
type Bitmap map[uint32]*Bitset

// Chunks returns the numbers of the chunks, rising.
func (m Bitmap) Chunks() []uint32 { return slices.Sorted(maps.Keys(m)) }

// Each goes over the ordinals of all chunks in rising order.
func (m Bitmap) Each() iter.Seq[Ordinal] {
	return func(yield func(Ordinal) bool) {
		for _, n := range m.Chunks() {
			for o := range m[n].Each(n, 0) {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Count returns how many ordinals all chunks have.
func (m Bitmap) Count() (n int) {
	for _, c := range m {
		n += c.Count()
	}
	return n
}

// PutBitmap appends the chunks of m by their numbers.
func PutBitmap(b []byte, m Bitmap) []byte {
	b = PutUint(b, uint64(len(m)))
	for _, c := range m.Chunks() {
		b = PutBytes(PutUint(b, uint64(c)), m[c].Encode())
	}
	return b
}

// Bitmap reads a value of PutBitmap, nil for none.
func (d *Decoder) Bitmap() (m Bitmap) {
	for range d.Count(2) {
		c, set := uint32(d.Uint()), new(Bitset)
		if err := set.Decode(d.Bytes()); err != nil && d.Err == nil {
			d.Err = err
		}
		if m == nil {
			m = Bitmap{}
		}
		m[c] = set
	}
	return m
}
