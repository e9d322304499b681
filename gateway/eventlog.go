package gateway

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOverflow means that the store has forgotten events that the subscriber has not
// read.
var ErrOverflow = errors.New("the reader was too slow: events are gone")

// ErrClosed means that the gateway has stopped.
var ErrClosed = errors.New("the gateway has stopped")

// eventLog passes the events of the store to subscribers. The newest ones that a
// subscriber has read stay in a cache, so that many subscribers at the end of the log
// read the store once together. Nothing is cached while nobody subscribes.
type eventLog struct {
	store   Store
	last    atomic.Uint64 // number of the newest event that can be read
	told    atomic.Uint64 // number of the newest event in the feed
	dropped atomic.Uint64 // events that were forgotten before a subscriber read them

	mu     sync.Mutex
	wake   chan struct{} // closed by the next event; nil while no caller waits
	closed bool
	cache  eventCache
	filled chan struct{} // closed when the read under way is over; nil if there is none
}

// eventCache has the events with numbers above after, up to through.
type eventCache struct {
	after, through uint64
	events         []Event
	bytes          int // of payloads and results
	max, maxBytes  int
}

func newEventLog(s Store, n, maxBytes int) *eventLog {
	l := &eventLog{store: s, cache: eventCache{max: n, maxBytes: maxBytes}}
	l.reopened()
	l.last.Store(l.told.Load())
	return l
}

// read notes that a reader has got the events up to last. The store may have them before the
// gateway hears of them.
func (l *eventLog) read(last uint64) {
	for now := l.last.Load(); now < last && !l.last.CompareAndSwap(now, last); {
		now = l.last.Load()
	}
}

// logged notes that events up to last can be read.
func (l *eventLog) logged(last uint64) {
	l.told.Store(last)
	l.read(last)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeLocked()
}

// feedTime bounds the wait of a read for the feed, which comes at once.
const feedTime = 50 * time.Millisecond

// catchUp returns when the feed has brought the events that can be read now, and with them
// the ends of deliveries.
func (l *eventLog) catchUp() {
	_, last, err := l.store.EventSpan()
	if err != nil || l.told.Load() >= last {
		return
	}
	over := time.NewTimer(feedTime)
	defer over.Stop()
	for {
		l.mu.Lock()
		if l.told.Load() >= last || l.closed {
			l.mu.Unlock()
			return
		}
		wake := l.wakeUpLocked()
		l.mu.Unlock()
		select {
		case <-wake:
		case <-over.C:
			return
		}
	}
}

// reopened notes that the feed will not bring the events that can be read now.
func (l *eventLog) reopened() {
	if _, last, err := l.store.EventSpan(); err == nil {
		l.told.Store(last)
	}
}

// wakeUpLocked returns the channel that the next event closes.
func (l *eventLog) wakeUpLocked() <-chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return l.wake
}

func (l *eventLog) wakeLocked() {
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wakeLocked()
}

// Subscription is a cursor into the event log, for one goroutine. It costs nothing
// between calls of Next.
type Subscription struct {
	l    *eventLog
	next uint64 // the position: events above it are to be read
}

// Subscribe returns a cursor behind the event numbered after. gap is true if the store
// has forgotten events behind it, or if after is not a number of this log; the cursor
// then stands before the oldest event that is kept.
func (g *Gateway) Subscribe(after uint64) (sub *Subscription, gap bool, err error) {
	forgotten, last, err := g.store.EventSpan()
	if err != nil {
		return nil, false, err
	}
	if after < forgotten || after > last {
		return &Subscription{l: g.events, next: forgotten}, true, nil
	}
	return &Subscription{l: g.events, next: after}, false, nil
}

// SubscribeNow returns a cursor at the end of the log.
func (g *Gateway) SubscribeNow() *Subscription {
	return &Subscription{l: g.events, next: g.LastEvent()}
}

// LastEvent returns the number of the newest event that can be read.
func (g *Gateway) LastEvent() uint64 { return g.events.last.Load() }

// eventJump is a distance of numbers that no store gives to events without a break: a
// start after a crash raises the numbers by more, and the first number is a time.
const eventJump = 1 << 39

// EventsBehind returns how many events the log has behind a cursor, or somewhat more: it
// counts numbers, and passes over jumps of them. It reads the log only if there are some,
// and counts nothing that it cannot read.
func (g *Gateway) EventsBehind(cursor uint64) (n uint64) {
	last := g.LastEvent()
	for range 64 { // jumps; each costs some tens of reads of one event
		if cursor >= last || last-cursor < eventJump {
			break
		}
		first, err := g.eventBehind(cursor)
		if err != nil || first == 0 {
			return n
		}
		if cursor, err = g.endOfEvents(first); err != nil {
			return n
		}
		n += cursor - first + 1
	}
	return n + last - min(cursor, last)
}

// EventLags returns EventsBehind for a list of cursors: a repeated one is looked up once.
func (g *Gateway) EventLags() func(cursor uint64) uint64 {
	known := map[uint64]uint64{}
	return func(cursor uint64) uint64 {
		n, ok := known[cursor]
		if !ok {
			n = g.EventsBehind(cursor)
			known[cursor] = n
		}
		return n
	}
}

// endOfEvents returns the last number before a jump, from an event on.
func (g *Gateway) endOfEvents(first uint64) (uint64, error) {
	end, jumped := first, first+eventJump // the answer is in [end, jumped)
	for end+1 < jumped {
		middle := end + (jumped-end)/2
		next, err := g.eventBehind(middle - 1)
		if err != nil {
			return 0, err
		}
		if next == 0 || next-first >= eventJump {
			jumped = middle
		} else {
			end = next
		}
	}
	return end, nil
}

// eventBehind returns the number of the first event behind a cursor; 0 if there is none.
func (g *Gateway) eventBehind(cursor uint64) (uint64, error) {
	list, _, err := g.store.Events(cursor, 1, nil)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Seq, nil
}

// Note puts an event into the log that no change of the store makes, durably.
func (g *Gateway) Note(ctx context.Context, e Event) error { return g.store.Note(ctx, e) }

// Put writes entries into the store in one step, durably.
func (g *Gateway) Put(ctx context.Context, entries []Entry) error { return g.store.Put(ctx, entries) }

// Entries returns entries of the store; see Store.
func (g *Gateway) Entries(prefix, after string, limit int) (Page[Entry, string], error) {
	return g.store.Entries(prefix, after, limit)
}

// EachEntry calls fn with the entries whose keys start with prefix, in the order of the
// keys; rest is the key without the prefix. It ends at the first error, of fn or of the
// store.
func (g *Gateway) EachEntry(prefix string, fn func(rest string, value []byte) error) error {
	for after := ""; ; {
		page, err := g.store.Entries(prefix, after, MaxListLimit)
		if err != nil {
			return err
		}
		for _, e := range page.Items {
			if err := fn(strings.TrimPrefix(e.Key, prefix), e.Value); err != nil {
				return fmt.Errorf("entry %q: %w", e.Key, err)
			}
		}
		if !page.More {
			return nil
		}
		after = page.Next
	}
}

// EventsBefore returns the position before the first event at or after a time.
func (g *Gateway) EventsBefore(t time.Time) (uint64, error) { return g.store.EventsBefore(t) }

// ClientEvents returns events of one client, newest first; see Store.
func (g *Gateway) ClientEvents(q ClientEventQuery) (Page[Event, uint64], error) {
	return g.store.ClientEvents(q)
}

// Event returns the event with a number; ok is false if none is kept.
func (g *Gateway) Event(number uint64) (e Event, ok bool, err error) {
	if number == 0 {
		return e, false, nil
	}
	list, _, err := g.store.Events(number-1, 1, nil)
	if err != nil || len(list) == 0 || list[0].Seq != number {
		return e, false, err
	}
	return list[0], true, nil
}

// Position returns the number up to which Next has read.
func (s *Subscription) Position() uint64 { return s.next }

// Behind returns how far the position is from the end of the log, in numbers: an upper
// bound of the events that are left.
func (s *Subscription) Behind() uint64 {
	last := s.l.last.Load()
	return last - min(s.next, last)
}

// Next waits for events and appends up to cap(buf)-len(buf) of them, at least
// one. It returns ErrOverflow when unread events were forgotten (the cursor then moves
// to the oldest kept one), ErrClosed, an error of the store, or ctx.Err().
func (s *Subscription) Next(ctx context.Context, buf []Event) ([]Event, error) {
	return s.read(ctx, buf, true)
}

// Read is Next at the end of the log, too: there it returns no events, and does not wait
// for one. The position may be below the end although no event is behind it, because
// numbers are left out.
func (s *Subscription) Read(ctx context.Context, buf []Event) ([]Event, error) {
	return s.read(ctx, buf, false)
}

// read waits for another reader, which reads the store, and at the end of the log for
// events if follow is set.
func (s *Subscription) read(ctx context.Context, buf []Event, follow bool) ([]Event, error) {
	n := max(1, cap(buf)-len(buf))
	start := len(buf)
	for follow || s.next < s.l.last.Load() {
		var wait <-chan struct{}
		var err error
		if buf, wait, err = s.take(buf, n); err != nil || len(buf) > start {
			return buf, err
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return buf, ctx.Err()
		}
	}
	return buf, nil
}

// take appends up to n events, or returns the channel to wait for. It may do neither
// and has then moved on.
func (s *Subscription) take(buf []Event, n int) ([]Event, <-chan struct{}, error) {
	l := s.l
	l.mu.Lock()
	if s.next >= l.last.Load() {
		defer l.mu.Unlock()
		if l.closed {
			return buf, nil, ErrClosed
		}
		return buf, l.wakeUpLocked(), nil
	}
	c := &l.cache
	if c.after <= s.next && s.next < c.through {
		buf, s.next = c.read(buf, s.next, n)
		l.mu.Unlock()
		return buf, nil, nil
	}
	if l.closed {
		l.mu.Unlock()
		return buf, nil, ErrClosed
	}
	if s.next < c.after { // behind the cache
		l.mu.Unlock()
		buf, through, err := s.fetch(buf, min(n, eventsRead))
		if err == nil {
			s.next = through
		}
		return buf, nil, err
	}
	if l.filled != nil {
		defer l.mu.Unlock()
		return buf, l.filled, nil
	}
	done := make(chan struct{})
	l.filled = done
	l.mu.Unlock()
	events, through, err := s.fetch(nil, eventsRead)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		c.add(s.next, events, through)
	}
	l.filled = nil
	close(done)
	return buf, nil, err
}

// eventsRead is how many events are read from the store at once.
const eventsRead = 512

// fetch reads events behind the position from the store.
func (s *Subscription) fetch(buf []Event, n int) ([]Event, uint64, error) {
	events, through, err := s.l.store.Events(s.next, n, buf)
	if err != nil {
		return buf, 0, err
	}
	s.l.read(through)                          // a later cursor at the end stands behind these
	forgotten, _, err := s.l.store.EventSpan() // it is read last: the store forgets during the read, too
	if err != nil {
		return buf, 0, err
	}
	if s.next < forgotten {
		s.l.dropped.Add(forgotten - s.next)
		s.next = forgotten
		return buf, 0, ErrOverflow
	}
	return events, through, nil
}

// read appends up to n events above next and returns the position behind them.
func (c *eventCache) read(buf []Event, next uint64, n int) ([]Event, uint64) {
	from := sort.Search(len(c.events), func(i int) bool { return c.events[i].Seq > next })
	to := min(len(c.events), from+n)
	buf = append(buf, c.events[from:to]...)
	if to == len(c.events) {
		return buf, c.through
	}
	return buf, c.events[to-1].Seq
}

// add puts events that were read behind after into the cache, and drops the oldest to
// stay within its bounds.
func (c *eventCache) add(after uint64, events []Event, through uint64) {
	if after != c.through {
		*c = eventCache{after: after, through: after, max: c.max, maxBytes: c.maxBytes}
	}
	for i := range events {
		c.bytes += events[i].size()
	}
	c.events, c.through = append(c.events, events...), through
	if len(c.events) <= c.max+c.max/4 && c.bytes <= c.maxBytes {
		return
	}
	drop := 0 // a part, so that not each call moves what is left
	for drop < len(c.events)-1 && (len(c.events)-drop > c.max || c.bytes > c.maxBytes-c.maxBytes/4) {
		c.bytes -= c.events[drop].size()
		drop++
	}
	if drop == 0 {
		return // one event, which is larger than the cache
	}
	c.after = c.events[drop-1].Seq
	kept := copy(c.events, c.events[drop:])
	clear(c.events[kept:])
	c.events = c.events[:kept]
}

// size is the number of payload bytes that the event keeps.
func (e *Event) size() int {
	n := len(e.Result)
	if e.Uplink != nil {
		n += len(e.Uplink.Payload)
	}
	return n
}
