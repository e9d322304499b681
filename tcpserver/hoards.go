package tcpserver

import (
	"sync"
	"sync/atomic"

	"github.com/longwire/longwire/protocol"
)

// hoards is what connections keep in memory of one kind, and the budget for all
// of them together. Beyond it the connection that keeps most gives way, the one
// that has kept something for longest if there are several.
type hoards struct {
	budget int
	total  atomic.Int64

	mu   sync.Mutex
	next uint64
	by   map[*conn]hoard
}

type hoard struct {
	bytes int
	since uint64 // rises from one to the next
}

// hoardFrom is the size in bytes from which memory is counted: less is what any
// device has for a moment.
const hoardFrom = 1 << 10

// keep notes that c keeps bytes, and returns the connection that has to give way,
// nil for none. It is not counted any more.
func (h *hoards) keep(c *conn, bytes int) (gives *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, known := h.by[c]
	h.total.Add(int64(bytes - was.bytes))
	if bytes == 0 {
		delete(h.by, c)
		return nil
	}
	if was.bytes = bytes; !known {
		h.next++
		was.since = h.next
	}
	if h.by == nil {
		h.by = make(map[*conn]hoard)
	}
	h.by[c] = was
	if h.total.Load() <= int64(h.budget) {
		return nil
	}
	var most hoard
	for other, o := range h.by {
		if gives == nil || o.bytes > most.bytes || o.bytes == most.bytes && o.since < most.since {
			gives, most = other, o
		}
	}
	delete(h.by, gives)
	h.total.Add(-int64(most.bytes))
	return gives
}

// held returns the bytes that are kept.
func (h *hoards) held() int64 { return h.total.Load() }

// roomWanted is what the device hears whose unfinished frame has given way.
var roomWanted = protocol.FrameTimeout("the memory for its unfinished frame is needed")

// keepsInput counts the memory of c's unfinished frame. c.mu is held.
func (c *conn) keepsInput() {
	n := c.proto.Unfinished()
	if n < hoardFrom {
		n = 0
	}
	if n == 0 && !c.keeps {
		return
	}
	c.keeps = n > 0
	if gives := c.srv.unfinished.keep(c, n); gives != nil {
		c.srv.tasks.Go(func() { gives.closeWith(roomWanted) })
	}
}
