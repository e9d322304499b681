package tcpserver

import (
	"slices"
	"sync"
	"sync/atomic"
)

// connTable finds connections by file descriptor: one word for each number up to
// the highest in use. A look-up takes no lock.
type connTable struct {
	grow   sync.Mutex
	chunks atomic.Pointer[[]*connChunk] // replaced, never changed
}

type connChunk [1024]atomic.Pointer[conn]

func (t *connTable) get(fd int32) *conn {
	chunks := t.chunks.Load()
	i := int(fd) / len(connChunk{})
	if fd < 0 || chunks == nil || i >= len(*chunks) {
		return nil
	}
	return (*chunks)[i][int(fd)%len(connChunk{})].Load()
}

// set makes get return c, which may be nil, for fd.
func (t *connTable) set(fd int32, c *conn) {
	i := int(fd) / len(connChunk{})
	t.reach(i)[int(fd)%len(connChunk{})].Store(c)
}

// reach returns chunk i and makes it if necessary.
func (t *connTable) reach(i int) *connChunk {
	if chunks := t.chunks.Load(); chunks != nil && i < len(*chunks) {
		return (*chunks)[i]
	}
	t.grow.Lock()
	defer t.grow.Unlock()
	var chunks []*connChunk
	if old := t.chunks.Load(); old != nil {
		chunks = slices.Clone(*old)
	}
	for len(chunks) <= i {
		chunks = append(chunks, new(connChunk))
	}
	t.chunks.Store(&chunks)
	return chunks[i]
}
