package tcpserver

import (
	"sync"
	"sync/atomic"

	"github.com/longwire/longwire/protocol"
)

// memoryBudget counts one kind of memory of connections and bounds its total.
// Beyond the bound it evicts one connection: the one with most memory or, with
// evictOldest, the one that has been counted for longest.
type memoryBudget struct {
	bound       int
	from        int  // least bytes of a connection that count; any device has less for a moment
	evictOldest bool // instead of the largest
	total       atomic.Int64

	mu     sync.Mutex
	next   uint64
	byConn map[*conn]memoryUse
}

type memoryUse struct {
	bytes int
	since uint64 // order in which connections began to count
}

// set notes that c uses the given bytes, and returns the connection to evict, nil
// for none. An evicted connection no longer counts.
func (b *memoryBudget) set(c *conn, bytes int) (evicted *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, known := b.byConn[c]
	b.total.Add(int64(bytes - was.bytes))
	if bytes == 0 {
		delete(b.byConn, c)
		return nil
	}
	if was.bytes = bytes; !known {
		b.next++
		was.since = b.next
	}
	if b.byConn == nil {
		b.byConn = make(map[*conn]memoryUse)
	}
	b.byConn[c] = was
	if b.total.Load() <= int64(b.bound) {
		return nil
	}
	var most memoryUse
	for other, o := range b.byConn {
		older := o.since < most.since
		if evicted == nil || b.evictOldest && older || !b.evictOldest && (o.bytes > most.bytes || o.bytes == most.bytes && older) {
			evicted, most = other, o
		}
	}
	delete(b.byConn, evicted)
	b.total.Add(-int64(most.bytes))
	return evicted
}

// used returns the counted bytes.
func (b *memoryBudget) used() int64 { return b.total.Load() }

// countedKinds are the kinds of memory that are counted for a connection.
type countedKinds uint8

const (
	countsInput  countedKinds = 1 << iota // in srv.unfinished
	countsOutput                          // in srv.untaken
)

// frameEvicted closes a device whose incomplete frame is evicted.
var frameEvicted = protocol.FrameTimeout("the memory for its unfinished frame is needed")

// countInputLocked counts the memory of c's incomplete frame.
func (c *conn) countInputLocked() {
	if evicted := c.countMemoryLocked(&c.srv.unfinished, countsInput, c.proto.Unfinished()); evicted != nil {
		c.srv.tasks.Go(func() { evicted.closeWith(frameEvicted) })
	}
}

// countOutputLocked counts the output that c's socket has not taken.
func (c *conn) countOutputLocked() {
	if evicted := c.countMemoryLocked(&c.srv.untaken, countsOutput, c.outputMemoryLocked()); evicted != nil {
		c.srv.tasks.Go(evicted.evictAsSlow)
	}
}

// countMemoryLocked counts n bytes in b and returns the connection to evict. A
// connection below b.from takes no lock.
func (c *conn) countMemoryLocked(b *memoryBudget, flag countedKinds, n int) (evicted *conn) {
	if n < b.from || c.life == dead {
		n = 0
	}
	if n == 0 && c.counted&flag == 0 {
		return nil
	}
	c.counted &^= flag
	if n > 0 {
		c.counted |= flag
	}
	return b.set(c, n)
}

// uncountMemoryLocked removes the counts of a connection whose socket is closed.
func (c *conn) uncountMemoryLocked() {
	c.countMemoryLocked(&c.srv.unfinished, countsInput, 0)
	c.countMemoryLocked(&c.srv.untaken, countsOutput, 0)
}

// evictAsSlow closes the connection of a device that reads too slowly for the
// available memory.
func (c *conn) evictAsSlow() {
	defer c.recoverPanic()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.endingLocked() {
		c.tooSlowLocked()
	}
}
