package tcpserver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/protocol"
)

// hoards is what connections keep in memory of one kind, and the budget for all
// of them together. Beyond it one connection gives way: the one that keeps most
// or, of the slowest, the one that has kept something for longest.
type hoards struct {
	budget  int
	from    int  // bytes from which a connection's memory is counted: less is what any device has for a moment
	slowest bool // not the largest
	total   atomic.Int64

	mu   sync.Mutex
	next uint64
	by   map[*conn]hoard
}

type hoard struct {
	bytes int
	since uint64 // rises from one to the next
}

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
		older := o.since < most.since
		if gives == nil || h.slowest && older || !h.slowest && (o.bytes > most.bytes || o.bytes == most.bytes && older) {
			gives, most = other, o
		}
	}
	delete(h.by, gives)
	h.total.Add(-int64(most.bytes))
	return gives
}

// held returns the bytes that are kept.
func (h *hoards) held() int64 { return h.total.Load() }

// hoardFlags say which memory of a connection is counted.
type hoardFlags uint8

const (
	hoardsInput  hoardFlags = 1 << iota // in srv.unfinished
	hoardsOutput                        // in srv.untaken
)

// roomWanted closes a device whose unfinished frame gives way.
var roomWanted = protocol.FrameTimeout("the memory for its unfinished frame is needed")

// keepsInput counts the memory of c's unfinished frame. c.mu is held.
func (c *conn) keepsInput() {
	if gives := c.keeps(&c.srv.unfinished, hoardsInput, c.proto.Unfinished()); gives != nil {
		c.srv.tasks.Go(func() { gives.closeWith(roomWanted) })
	}
}

// keepsOutput counts what c's socket has not taken. c.mu is held.
func (c *conn) keepsOutput() {
	if gives := c.keeps(&c.srv.untaken, hoardsOutput, c.held()); gives != nil {
		c.srv.tasks.Go(gives.giveWay)
	}
}

// keeps counts n bytes in h and returns the connection that has to give way.
// Below h.from it costs nothing. c.mu is held.
func (c *conn) keeps(h *hoards, flag hoardFlags, n int) (gives *conn) {
	if n < h.from || c.life == dead {
		n = 0
	}
	if n == 0 && c.hoards&flag == 0 {
		return nil
	}
	c.hoards &^= flag
	if n > 0 {
		c.hoards |= flag
	}
	return h.keep(c, n)
}

// keepsNothing ends the counts of a connection whose socket is closed. c.mu is held.
func (c *conn) keepsNothing() {
	c.keeps(&c.srv.unfinished, hoardsInput, 0)
	c.keeps(&c.srv.untaken, hoardsOutput, 0)
}

// giveWay ends the connection of a device that reads too slowly for the memory
// that there is.
func (c *conn) giveWay() {
	defer c.survive()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending() {
		c.tooSlow(time.Now())
	}
}
