package gateway

import (
	"cmp"
	"slices"
	"sync"
)

// directory is an ordered set of client ids, such as those that are online; a page of the client list
// reads it. It is a sorted list of sorted blocks: adding an id moves at most one
// block of strings, and a page costs the same with a hundred clients as with a
// million. It takes about 24 bytes per client in addition to the id.
type directory struct {
	mu     sync.RWMutex
	blocks [][]ClientID // none empty; every id in blocks[i] < every id in blocks[i+1]
	size   int
}

// blockSize bounds a block. A full block is split, usually in halves.
const blockSize = 512

func (d *directory) len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.size
}

// add inserts id. It returns false if id is there already.
func (d *directory) add(id ClientID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.blocks) == 0 {
		d.blocks = append(d.blocks, []ClientID{id})
		d.size++
		return true
	}
	i := d.blockLocked(id)
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
			cut = at // ids that arrive in order fill their blocks
		}
		right := slices.Clone(b[cut:])
		clear(b[cut:])
		d.blocks[i] = b[:cut]
		d.blocks = slices.Insert(d.blocks, i+1, right)
	}
	return true
}

// remove deletes id. It returns false if id is not there.
func (d *directory) remove(id ClientID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.blocks) == 0 {
		return false
	}
	i := d.blockLocked(id)
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

// has reports whether id is there.
func (d *directory) has(id ClientID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.blocks) == 0 {
		return false
	}
	_, found := slices.BinarySearch(d.blocks[d.blockLocked(id)], id)
	return found
}

// blockLocked returns the index of the block that id belongs to. There is at least
// one block.
func (d *directory) blockLocked(id ClientID) int {
	i, found := slices.BinarySearchFunc(d.blocks, id, func(b []ClientID, id ClientID) int { return cmp.Compare(b[0], id) })
	if found {
		return i
	}
	return max(0, i-1)
}

// from appends to buf up to n ids in order, beginning at start, or after start if
// after is set.
func (d *directory) from(start ClientID, after bool, n int, buf []ClientID) []ClientID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.blocks) == 0 {
		return buf
	}
	i := d.blockLocked(start)
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

// back appends to buf up to n ids in falling order, beginning at start, or before start
// if before is set. "" is behind all.
func (d *directory) back(start ClientID, before bool, n int, buf []ClientID) []ClientID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.blocks) == 0 {
		return buf
	}
	i, end := len(d.blocks)-1, len(d.blocks[len(d.blocks)-1])
	if start != "" {
		i = d.blockLocked(start)
		var found bool
		if end, found = slices.BinarySearch(d.blocks[i], start); found && !before {
			end++
		}
	}
	for ; n > 0; n-- {
		if end == 0 {
			if i--; i < 0 {
				break
			}
			end = len(d.blocks[i])
		}
		end--
		buf = append(buf, d.blocks[i][end])
	}
	return buf
}
