package gateway

import (
	"sync"
	"time"
)

// maxCloses bounds the closes that are remembered; the oldest give way.
const maxCloses = 4096

// lastCloses remembers why the last connections ended. The store learns that lazily, and a
// client must not read as offline without the reason.
type lastCloses struct {
	mu    sync.Mutex
	last  map[ClientID]closeNote
	order []ClientID // a ring
	next  int        // the oldest of it once it is full
}

// closeNote is the end of the connection that began with the registration epoch.
type closeNote struct {
	epoch  uint64
	reason string
	seen   time.Time

	at, first time.Time // of this close, and of the first one of the row
	row       int       // closes in quick succession
}

func (c *lastCloses) add(id ClientID, n closeNote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[ClientID]closeNote)
	}
	last, known := c.last[id]
	if !known && len(c.order) < maxCloses {
		c.order = append(c.order, id)
	} else if !known {
		delete(c.last, c.order[c.next])
		c.order[c.next] = id
		c.next = (c.next + 1) % maxCloses
	}
	n.continueRow(last)
	c.last[id] = n
}

// complete adds the reason to the record of an offline client if the store does not have
// it yet.
func (c *lastCloses) complete(r *ClientRecord) {
	if r.LastClose != "" || r.Epoch == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.last[r.ID]; ok && n.epoch == r.Epoch {
		r.LastClose, r.LastSeenAt = n.reason, n.seen
	}
}
