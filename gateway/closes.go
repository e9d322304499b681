package gateway

import (
	"container/list"
	"sync"
	"time"
)

// maxCloses bounds the closes that are remembered; the oldest give way.
const maxCloses = 4096

// lastCloses remembers why the last connections ended. The store learns that lazily, and a
// client must not read as offline without the reason.
type lastCloses struct {
	mu    sync.Mutex
	last  map[ClientID]*list.Element // in order
	order list.List                  // of *closeNote, the latest last
}

// closeNote is the end of the connection that began with the registration epoch.
type closeNote struct {
	client ClientID
	epoch  uint64
	reason string
	seen   time.Time

	at, first time.Time // of this close, and of the first one of the row
	row       int       // closes in quick succession
}

func (c *lastCloses) add(n closeNote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[ClientID]*list.Element)
	}
	var before closeNote
	if e := c.last[n.client]; e != nil {
		before = *c.removeLocked(e)
	} else if len(c.last) >= maxCloses {
		c.removeLocked(c.order.Front())
	}
	n.continueRow(before)
	c.last[n.client] = c.order.PushBack(&n)
}

func (c *lastCloses) removeLocked(e *list.Element) *closeNote {
	n := c.order.Remove(e).(*closeNote)
	delete(c.last, n.client)
	return n
}

// of returns the last close of a client; ok is false if it is not kept.
func (c *lastCloses) of(id ClientID) (n closeNote, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.last[id]
	if e == nil {
		return n, false
	}
	return *e.Value.(*closeNote), true
}

// forget removes the closes of a client.
func (c *lastCloses) forget(id ClientID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.last[id]; e != nil {
		c.removeLocked(e)
	}
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
