package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOverflow tells a subscriber that events it has not read are gone.
var ErrOverflow = errors.New("the reader was too slow: events are gone")

// ErrClosed tells a subscriber that the gateway has stopped.
var ErrClosed = errors.New("the gateway has stopped")

// eventRing keeps the newest events, bounded in number and in payload bytes.
// Adding never waits: the oldest make room.
type eventRing struct {
	dropped atomic.Uint64 // passed over by a subscriber

	mu       sync.Mutex
	ring     []Event // ring[seq % len] holds event seq; grows up to max
	max      int
	first    uint64 // oldest kept; first > last when empty
	last     uint64
	bytes    int
	maxBytes int
	wake     chan struct{} // closed and replaced when somebody waits; nil when nobody does
	closed   bool
}

// newEventRing numbers events from the start time in microseconds, so that
// they go on rising over restarts without being stored.
func newEventRing(n, maxBytes int, start time.Time) *eventRing {
	last := uint64(start.UnixMicro())
	return &eventRing{max: n, maxBytes: maxBytes, first: last + 1, last: last}
}

func (e *Event) size() int {
	n := len(e.Result)
	if e.Uplink != nil {
		n += len(e.Uplink.Payload)
	}
	return n
}

func (r *eventRing) at(seq uint64) *Event { return &r.ring[seq%uint64(len(r.ring))] }

// add numbers the event and keeps it.
func (r *eventRing) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if n := int(r.last + 1 - r.first); n == len(r.ring) {
		if n < r.max {
			r.grow()
		} else {
			r.drop()
		}
	}
	r.last++
	e.Seq = r.last
	*r.at(r.last) = e
	r.bytes += e.size()
	for r.bytes > r.maxBytes && r.first < r.last {
		r.drop()
	}
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

func (r *eventRing) drop() {
	old := r.at(r.first)
	r.bytes -= old.size()
	*old = Event{}
	r.first++
}

func (r *eventRing) grow() {
	bigger := make([]Event, min(max(64, 2*len(r.ring)), r.max))
	for seq := r.first; seq <= r.last; seq++ {
		bigger[seq%uint64(len(bigger))] = *r.at(seq)
	}
	r.ring = bigger
}

func (r *eventRing) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// Subscription is a cursor into the event ring, for one goroutine. It costs
// nothing while nobody calls Next: a reader that is too slow finds ErrOverflow.
type Subscription struct {
	r    *eventRing
	next uint64
}

// Subscribe returns a cursor behind the event numbered after; 0 = behind the
// newest. gap tells that events between after and the cursor are gone, or that
// after is not a number of this stream; the cursor then starts at the oldest
// event that is kept.
func (g *Gateway) Subscribe(after uint64) (sub *Subscription, gap bool) {
	r := g.events
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case after == 0:
		return &Subscription{r, r.last + 1}, false
	case after+1 < r.first, after > r.last:
		return &Subscription{r, r.first}, true
	}
	return &Subscription{r, after + 1}, false
}

// Next waits until there are events and appends up to cap(buf)-len(buf) of
// them, at least one. It returns ErrOverflow when unread events are gone (the
// cursor is then at the oldest kept one), ErrClosed, or ctx.Err().
func (s *Subscription) Next(ctx context.Context, buf []Event) ([]Event, error) {
	n := max(1, cap(buf)-len(buf))
	for {
		wake, err := s.take(&buf, n)
		if wake == nil {
			return buf, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return buf, ctx.Err()
		}
	}
}

// take reads up to n events, or returns the channel to wait for.
func (s *Subscription) take(buf *[]Event, n int) (wake <-chan struct{}, err error) {
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.next < r.first {
		r.dropped.Add(r.first - s.next)
		s.next = r.first
		return nil, ErrOverflow
	}
	if s.next <= r.last {
		for ; n > 0 && s.next <= r.last; n-- {
			*buf = append(*buf, *r.at(s.next))
			s.next++
		}
		return nil, nil
	}
	if r.closed {
		return nil, ErrClosed
	}
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake, nil
}
