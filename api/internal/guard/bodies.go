package guard

import (
	"sync"

	"github.com/longwire/longwire/api/internal/problem"
)

// Bodies divides the memory for bodies between the keys. It counts the bytes that
// have been read. A key may hold no more bytes than are free: one key gets at most
// half of the budget, and n keys together leave one part in n+1, so that there is
// always room for another key.
type Bodies struct {
	most int64

	mu    sync.Mutex
	total int64
	byKey map[string]int64 // of keys that hold something
}

// NewBodies returns a budget of most bytes.
func NewBodies(most int64) *Bodies { return &Bodies{most: most, byKey: make(map[string]int64)} }

// Take counts n more bytes of a key. It returns an error if the key may not hold them.
func (b *Bodies) Take(key string, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, total := b.byKey[key]+int64(n), b.total+int64(n)
	if held > b.most-total {
		return problem.New(problem.Overloaded, "the bodies of the API key's requests take %d bytes of memory, which is its share", b.byKey[key])
	}
	b.byKey[key], b.total = held, total
	return nil
}

// Give releases n bytes of a key.
func (b *Bodies) Give(key string, n int) {
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
