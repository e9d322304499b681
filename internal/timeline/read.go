package timeline

import (
	"context"
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Errors of Reader.Next.
var (
	ErrOverflow  = errors.New("entries were removed before they were read")
	ErrForgotten = errors.New("the client was forgotten")
)

// Page is a part of a client's entries.
type Page struct {
	Entries []Entry   // the oldest first
	Dropped bool      // the client had older entries, which are gone
	Since   time.Time // no entry is older: the start of the book
	Trace   *Trace    // the trace that is on
}

// Read returns all entries of a client.
func (b *Book) Read(id gateway.ClientID) (p Page) {
	s := b.open(string(id))
	defer s.mu.Unlock()
	l := s.lines[string(id)]
	p.Since = b.start
	if l == nil {
		return p
	}
	p.Entries = l.entries(0, make([]Entry, 0, l.n))
	p.Dropped = l.n > 0 && l.oldest() > l.begun
	if l.trace != nil {
		t := l.trace.Trace
		p.Trace = &t
	}
	return p
}

// Reader follows the entries of a client. It is owned by one goroutine.
type Reader struct {
	book *Book
	line *line
	next uint64 // the number of the next entry
}

// Follow returns a reader of the entries behind the number after, 0 for all. lost
// reports whether some of them are gone. Close must follow. The client has a line while
// a reader follows it.
func (b *Book) Follow(id gateway.ClientID, after uint64) (r *Reader, lost bool) {
	now := b.now()
	s := b.open(string(id))
	defer s.mu.Unlock()
	l := s.lines[string(id)]
	if l == nil {
		l = s.add(string(id), now)
	}
	s.unlist(l)
	l.watchers++
	l.most = max(l.most, MaxFollowed)
	lost = after > 0 && after+1 < l.oldest() && l.oldest() > l.begun
	return &Reader{book: b, line: l, next: min(max(after+1, l.oldest()), l.next)}, lost
}

// Close ends the reader.
func (r *Reader) Close() {
	s := r.book.open(r.line.client)
	defer s.mu.Unlock()
	l := r.line
	if l.watchers--; l.watchers > 0 || l.gone {
		return
	}
	if l.n == 0 && l.trace == nil {
		delete(s.lines, l.client)
		return
	}
	s.list(l)
	s.fit()
}

// Next waits for entries and appends them to buf. Errors: those of ctx, ErrOverflow,
// ErrForgotten.
func (r *Reader) Next(ctx context.Context, buf []Entry) ([]Entry, error) {
	for {
		out, wait, err := r.take(buf)
		if err != nil || len(out) > len(buf) {
			return out, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return buf, ctx.Err()
		}
	}
}

// take appends the entries that there are, or returns a channel that is closed with
// the next one.
func (r *Reader) take(buf []Entry) ([]Entry, <-chan struct{}, error) {
	s := r.book.open(r.line.client)
	defer s.mu.Unlock()
	l := r.line
	switch {
	case l.gone:
		return buf, nil, ErrForgotten
	case r.next < l.oldest():
		return buf, nil, ErrOverflow
	case r.next < l.next:
		buf = l.entries(r.next, buf)
		r.next = l.next
		return buf, nil, nil
	}
	if !l.waiting {
		l.wake, l.waiting = make(chan struct{}), true
	}
	return buf, l.wake, nil
}
