package api

import (
	"sync"

	"github.com/longwire/longwire/api/internal/problem"
)

// bodyBudget divides the memory for bodies between the keys. It counts the bytes that
// have been read. A key may hold no more bytes than are free: one key gets at most
// half of the budget, and n keys together leave one part in n+1, so that there is
// always room for another key.
type bodyBudget struct {
	most int64

	mu    sync.Mutex
	total int64
	byKey map[string]int64 // of keys that hold something
}

// take counts n more bytes of a key. It returns an error if the key may not hold them.
func (b *bodyBudget) take(key string, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, total := b.byKey[key]+int64(n), b.total+int64(n)
	if held > b.most-total {
		return problem.New(problem.Overloaded, "the bodies of the API key's requests take %d bytes of memory, which is its share", b.byKey[key])
	}
	b.byKey[key], b.total = held, total
	return nil
}

// give releases n bytes of a key.
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
