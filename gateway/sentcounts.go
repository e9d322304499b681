package gateway

import "sync"

// sentCounts counts, for messages to many, the deliveries that are flushed and
// still in a live session's window: the "sent" of their counts. It has an entry
// only while that count is not zero or a broadcast still has recipients to wake.
type sentCounts struct {
	mu sync.Mutex
	of map[MessageID]sentCount
}

type sentCount struct {
	n       int
	walking bool // a broadcast still has recipients to wake
}

func newSentCounts() *sentCounts { return &sentCounts{of: make(map[MessageID]sentCount)} }

// add changes the count by d. last is true if that leaves no flushed delivery and
// no recipient to wake.
func (c *sentCounts) add(id MessageID, d int) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[id]
	s.n += d
	c.put(id, s)
	return s == sentCount{}
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
	if s == (sentCount{}) {
		delete(c.of, id)
	} else {
		c.of[id] = s
	}
}

// get returns how many deliveries of the message are flushed and unanswered.
func (c *sentCounts) get(id MessageID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[id].n
}
