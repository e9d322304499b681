package gateway

import "sync"

// sentCounts counts, for messages to many, the deliveries that read as sent: those that
// are flushed and in a live session's window, and those that are answered while the store
// does not have the verdict. It has an entry only while there are some, or a broadcast
// still has recipients to wake.
type sentCounts struct {
	mu      sync.Mutex
	of      map[MessageID]sentCount
	settled uint64 // verdicts so far that took an answered delivery out
	dropped uint64 // settled, when such a verdict removed an entry last
}

type sentCount struct {
	flushed  int // and not answered
	answered int
	walking  bool   // a broadcast still has recipients to wake
	settled  uint64 // sentCounts.settled after the message's last verdict
}

// empty reports whether nothing is known of the message.
func (s sentCount) empty() bool { return s.answered == 0 && s.last() }

// last reports whether there is no flushed delivery and no recipient to wake.
func (s sentCount) last() bool { return s.flushed == 0 && !s.walking }

func newSentCounts() *sentCounts { return &sentCounts{of: make(map[MessageID]sentCount)} }

// flush changes the number of flushed deliveries by d. last is true if that leaves none,
// and no recipient to wake.
func (c *sentCounts) flush(id MessageID, d int) (last bool) {
	return c.add(id, d, 0)
}

// answer notes the answer to a delivery, which was flushed or only asked for. It returns
// the result of flush.
func (c *sentCounts) answer(id MessageID, flushed bool) (last bool) {
	if flushed {
		return c.add(id, -1, 1)
	}
	return c.add(id, 0, 1)
}

// unanswer undoes answer.
func (c *sentCounts) unanswer(id MessageID, flushed bool) {
	if flushed {
		c.add(id, 1, -1)
	} else {
		c.add(id, 0, -1)
	}
}

func (c *sentCounts) add(id MessageID, flushed, answered int) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[id]
	s.flushed += flushed
	s.answered += answered
	c.put(id, s)
	return s.last()
}

// settle undoes answer for a delivery that is flushed no more: the store has its verdict,
// or never gets it.
func (c *sentCounts) settle(id MessageID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[id]
	s.answered--
	c.settled++
	if s.settled = c.settled; s.empty() {
		c.dropped = c.settled
	}
	c.put(id, s)
}

// walk notes that a broadcast of the message begins or ends.
func (c *sentCounts) walk(id MessageID, walking bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[id]
	s.walking = walking
	c.put(id, s)
}

func (c *sentCounts) put(id MessageID, s sentCount) {
	if s.empty() {
		delete(c.of, id)
	} else {
		c.of[id] = s
	}
}

// mark names this moment for get.
func (c *sentCounts) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settled
}

// get returns how many deliveries of the message read as sent. stale is true if one of
// them may have become final since mark, so that a read of the store from before does not
// fit.
func (c *sentCounts) get(id MessageID, mark uint64) (n int, stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.of[id]
	if !known {
		return 0, c.dropped > mark
	}
	return s.flushed + s.answered, s.settled > mark
}

// any reports whether deliveries of the message read as sent.
func (c *sentCounts) any(id MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[id]
	return s.flushed+s.answered > 0
}

// isWalking reports whether a broadcast of the message still has recipients to wake.
func (c *sentCounts) isWalking(id MessageID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[id].walking
}
