package api

import "sync"

// bodyBudget divides the memory for bodies between the keys, by the bytes that
// have come. A key may hold no more than is free: one key has at most half of the
// budget, n keys together leave one part in n+1 of it, and a key that comes always
// finds room.
type bodyBudget struct {
	most int64

	mu    sync.Mutex
	total int64
	byKey map[string]int64 // of keys that hold something
}

// take counts n more bytes of a key, or returns why it may not hold them.
func (b *bodyBudget) take(key string, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, total := b.byKey[key]+int64(n), b.total+int64(n)
	if held > b.most-total {
		return problem(overloaded, "the bodies of the API key's requests take %d bytes of memory, which is its share", b.byKey[key])
	}
	b.byKey[key], b.total = held, total
	return nil
}

// give takes n bytes of a key back.
func (b *bodyBudget) give(key string, n int) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= int64(n)
	if b.byKey[key] -= int64(n); b.byKey[key] == 0 {
		delete(b.byKey, key)
	}
}
