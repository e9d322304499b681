package memstore

import (
	"iter"
	"slices"

	"github.com/longwire/longwire/gateway"
)

// chunkLen bounds the ids that an insertion moves.
const chunkLen = 512

// idList is a sorted set of client ids in chunks, so that a million of them can
// register in any order.
type idList struct{ chunks [][]gateway.ClientID }

// chunk returns the index of the first chunk that ends at or after id; it may be
// beyond the last.
func (l *idList) chunk(id gateway.ClientID) int {
	i, _ := slices.BinarySearchFunc(l.chunks, id, func(c []gateway.ClientID, id gateway.ClientID) int {
		if c[len(c)-1] < id {
			return -1
		}
		return 1
	})
	return i
}

// insert adds id, which is not in the set.
func (l *idList) insert(id gateway.ClientID) {
	if len(l.chunks) == 0 {
		l.chunks = append(l.chunks, []gateway.ClientID{id})
		return
	}
	i := min(l.chunk(id), len(l.chunks)-1)
	at, _ := slices.BinarySearch(l.chunks[i], id)
	c := slices.Insert(l.chunks[i], at, id)
	if l.chunks[i] = c; len(c) > chunkLen {
		half := len(c) / 2
		l.chunks[i] = c[:half:half]
		l.chunks = slices.Insert(l.chunks, i+1, slices.Clone(c[half:]))
	}
}

// remove removes id, if it is in the set.
func (l *idList) remove(id gateway.ClientID) {
	i := l.chunk(id)
	if i == len(l.chunks) {
		return
	}
	at, ok := slices.BinarySearch(l.chunks[i], id)
	if !ok {
		return
	}
	if l.chunks[i] = slices.Delete(l.chunks[i], at, at+1); len(l.chunks[i]) == 0 {
		l.chunks = slices.Delete(l.chunks, i, i+1)
	}
}

// from yields the ids at or after id, in order.
func (l *idList) from(id gateway.ClientID) iter.Seq[gateway.ClientID] {
	return func(yield func(gateway.ClientID) bool) {
		for i := l.chunk(id); i < len(l.chunks); i++ {
			c := l.chunks[i]
			at, _ := slices.BinarySearch(c, id) // 0 except in the first chunk
			for _, x := range c[at:] {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// back yields the ids at or before id, in falling order; "" is behind all.
func (l *idList) back(id gateway.ClientID) iter.Seq[gateway.ClientID] {
	return func(yield func(gateway.ClientID) bool) {
		last := len(l.chunks) - 1
		if id != "" {
			last = min(l.chunk(id), last)
		}
		for i := last; i >= 0; i-- {
			for _, x := range slices.Backward(l.chunks[i]) {
				if (id == "" || x <= id) && !yield(x) {
					return
				}
			}
		}
	}
}
