package gateway

import (
	"slices"
	"sync"
)

// directory is the ordered set of online client ids: what a page of the client
// list walks. It is a sorted list of sorted blocks, so that adding one id
// moves at most one block's worth of strings and a page costs the same with a
// hundred clients as with a million. About 24 bytes per client beside the id.
type directory struct {
	mu     sync.RWMutex
	blocks [][]ClientID // none empty; every id in blocks[i] < every id in blocks[i+1]
	size   int
}

// blockSize bounds a block; a full one is split, usually in halves.
const blockSize = 512

func (d *directory) len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size
}

// add inserts id; it reports false when it was there.
func (d *directory) add(id ClientID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.blocks) == 0 {
		d.blocks = append(d.blocks, []ClientID{id})
		d.size++
		return true
	}
	i := d.block(id)
	at, found := slices.BinarySearch(d.blocks[i], id)
	if found {
		return false
	}
	b := slices.Insert(d.blocks[i], at, id)
	d.blocks[i] = b
	d.size++
	if len(b) >= blockSize {
		cut := blockSize / 2
		if at == len(b)-1 && i == len(d.blocks)-1 {
			cut = at // ids that come in order fill their blocks
		}
		right := slices.Clone(b[cut:])
		clear(b[cut:])
		d.blocks[i] = b[:cut]
		d.blocks = slices.Insert(d.blocks, i+1, right)
	}
	return true
}

// remove deletes id; it reports false when it was not there.
func (d *directory) remove(id ClientID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.blocks) == 0 {
		return false
	}
	i := d.block(id)
	at, found := slices.BinarySearch(d.blocks[i], id)
	if !found {
		return false
	}
	d.blocks[i] = slices.Delete(d.blocks[i], at, at+1)
	d.size--
	if len(d.blocks[i]) == 0 {
		d.blocks = slices.Delete(d.blocks, i, i+1)
	}
	return true
}

// block returns the index of the block that id belongs to. d.mu is held and
// there is a block.
func (d *directory) block(id ClientID) int {
	i, found := slices.BinarySearchFunc(d.blocks, id, func(b []ClientID, id ClientID) int {
		switch {
		case b[0] < id:
			return -1
		case b[0] > id:
			return 1
		}
		return 0
	})
	if found {
		return i
	}
	return max(0, i-1)
}

// from appends to buf up to n ids that are ≥ start (> start when after is
// set), in order.
func (d *directory) from(start ClientID, after bool, n int, buf []ClientID) []ClientID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.blocks) == 0 {
		return buf
	}
	i := d.block(start)
	at, found := slices.BinarySearch(d.blocks[i], start)
	if found && after {
		at++
	}
	for ; i < len(d.blocks) && n > 0; i, at = i+1, 0 {
		b := d.blocks[i][at:]
		take := min(n, len(b))
		buf = append(buf, b[:take]...)
		n -= take
	}
	return buf
}
