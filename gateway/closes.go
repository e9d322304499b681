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
	mu   sync.Mutex
	last recent[ClientID, closeNote]
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
	before, _ := c.last.get(id)
	n.continueRow(before)
	c.last.put(id, n, maxCloses)
}

// of returns the last close of a client; ok is false if it is not kept.
func (c *lastCloses) of(id ClientID) (n closeNote, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.get(id)
}

// forget removes the closes of a client.
func (c *lastCloses) forget(id ClientID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.remove(id)
}

// complete adds the reason to the record of an offline client if the store does not have
// it yet.
func (c *lastCloses) complete(r *ClientRecord) {
	if r.LastClose != "" || r.Epoch == 0 {
		return
	}
	if n, ok := c.of(r.ID); ok && n.epoch == r.Epoch {
		r.LastClose, r.LastSeenAt = n.reason, n.seen
	}
}
