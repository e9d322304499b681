package deviceauth

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// cacheKey is a keyed hash of a question. The cache does not keep the question,
// because it contains the device's token.
type cacheKey [sha256.Size]byte

// answerCache remembers answers until they expire, at most size of them. A new
// answer replaces the least recently used.
type answerCache struct {
	size int

	mu    sync.Mutex
	byKey map[cacheKey]*list.Element
	order *list.List // of *remembered, the most recently used first
}

type remembered struct {
	key   cacheKey
	v     verdict
	until time.Time
}

func newAnswerCache(size int) answerCache {
	return answerCache{size: size, byKey: make(map[cacheKey]*list.Element), order: list.New()}
}

// get returns a remembered answer. It forgets a yes whose grant has ended.
func (c *answerCache) get(key cacheKey, now time.Time) (verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return verdict{}, false
	}
	r := e.Value.(*remembered)
	if !now.Before(r.until) || !r.v.expires.IsZero() && !now.Before(r.v.expires) {
		c.remove(e)
		return verdict{}, false
	}
	c.order.MoveToFront(e)
	return r.v, true
}

func (c *answerCache) put(key cacheKey, v verdict, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.remove(e)
	}
	if c.order.Len() >= c.size {
		c.remove(c.order.Back())
	}
	c.byKey[key] = c.order.PushFront(&remembered{key, v, until})
}

func (c *answerCache) remove(e *list.Element) {
	delete(c.byKey, c.order.Remove(e).(*remembered).key)
}

func (c *answerCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
