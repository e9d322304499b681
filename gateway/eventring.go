package gateway

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
)

// ErrOverflow means that the ring has dropped events that the subscriber has not
// read.
var ErrOverflow = errors.New("the reader was too slow: events are gone")

// ErrClosed means that the gateway has stopped.
var ErrClosed = errors.New("the gateway has stopped")

// eventRing keeps the newest events, bounded in number and in payload bytes.
// Adding never waits; it drops the oldest events to make room. The ring grows up
// to its bound in chunks, which are not moved.
type eventRing struct {
	dropped atomic.Uint64 // events dropped before a subscriber read them

	mu       sync.Mutex
	chunks   []*eventChunk // event seq is in chunks[seq/chunkLen % len]; nil for an empty chunk
	spare    *eventChunk   // the last chunk that became empty
	max      uint64
	first    uint64 // oldest kept; first > last when empty
	last     uint64
	bytes    int
	maxBytes int
	wake     chan struct{} // closed and replaced by the next event; nil when no subscriber waits
	closed   bool
}

// chunkLen makes a chunk 18 KiB.
const chunkLen = 256

type eventChunk [chunkLen]packedEvent

// newEventRing returns a ring of n events that numbers them above last.
func newEventRing(n, maxBytes int, last uint64) *eventRing {
	// n consecutive events touch at most this many chunks.
	chunks := make([]*eventChunk, (n+chunkLen-2)/chunkLen+1)
	return &eventRing{chunks: chunks, max: uint64(n), maxBytes: maxBytes, first: last + 1, last: last}
}

// slot is the place of event seq's chunk.
func (r *eventRing) slot(seq uint64) **eventChunk {
	return &r.chunks[seq/chunkLen%uint64(len(r.chunks))]
}

func (r *eventRing) at(seq uint64) *packedEvent { return &(*r.slot(seq))[seq%chunkLen] }

// add numbers the event and keeps it.
func (r *eventRing) add(e Event) { r.keep(packEvent(&e, netip.AddrPort{})) }

// addOnline is add for the verdict on an online delivery.
func (r *eventRing) addOnline(e packedEvent, id MessageID, result []byte) {
	fits := e.setMessage(id)
	if !fits || len(result) > 0 {
		e.rest = &rest{result: result}
		if !fits {
			e.rest.message = id
		}
	}
	r.keep(e)
}

func (r *eventRing) keep(e packedEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.last+1-r.first == r.max {
		r.dropLocked()
	}
	r.last++
	if s := r.slot(r.last); *s == nil {
		*s, r.spare = r.spare, nil
		if *s == nil {
			*s = new(eventChunk)
		}
	}
	*r.at(r.last) = e
	r.bytes += e.size()
	for r.bytes > r.maxBytes && r.first < r.last {
		r.dropLocked()
	}
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// dropLocked removes the oldest event.
func (r *eventRing) dropLocked() {
	old := r.at(r.first)
	r.bytes -= old.size()
	*old = packedEvent{}
	if s := r.slot(r.first); r.first%chunkLen == chunkLen-1 || r.first == r.last {
		*s, r.spare = nil, *s
	}
	r.first++
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
// nothing between calls of Next: a reader that is too slow gets ErrOverflow.
type Subscription struct {
	r     *eventRing
	next  uint64
	batch []packedEvent // reused; unpacked without the ring's lock
}

// Subscribe returns a cursor behind the event numbered after; 0 = behind the
// newest. gap is true if events between after and the cursor are gone, or if
// after is not a number of this stream; the cursor then starts at the oldest
// event in the ring.
func (g *Gateway) Subscribe(after uint64) (sub *Subscription, gap bool) {
	r := g.events
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case after == 0:
		return &Subscription{r: r, next: r.last + 1}, false
	case after+1 < r.first, after > r.last:
		return &Subscription{r: r, next: r.first}, true
	}
	return &Subscription{r: r, next: after + 1}, false
}

// Next waits for events and appends up to cap(buf)-len(buf) of them, at least
// one. It returns ErrOverflow when unread events are gone (the cursor then moves
// to the oldest kept one), ErrClosed, or ctx.Err().
func (s *Subscription) Next(ctx context.Context, buf []Event) ([]Event, error) {
	n := max(1, cap(buf)-len(buf))
	for {
		first := s.next
		wake, err := s.take(n)
		if wake == nil {
			for i := range s.batch {
				buf = append(buf, s.batch[i].event(first+uint64(i)))
			}
			clear(s.batch)
			return buf, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return buf, ctx.Err()
		}
	}
}

// take puts up to n events into the batch, or returns the channel to wait for.
func (s *Subscription) take(n int) (wake <-chan struct{}, err error) {
	s.batch = s.batch[:0]
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s.next < r.first:
		r.dropped.Add(r.first - s.next)
		s.next = r.first
		return nil, ErrOverflow
	case s.next <= r.last:
		for ; n > 0 && s.next <= r.last; n-- {
			s.batch = append(s.batch, *r.at(s.next))
			s.next++
		}
		return nil, nil
	case r.closed:
		return nil, ErrClosed
	}
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake, nil
}
