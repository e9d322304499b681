package timeline

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Bounds of a book.
const (
	MaxEntries    = 200      // of a client
	MaxFollowed   = 512      // of a client that a reader follows
	DefaultMemory = 64 << 20 // bytes of all lines

	keepIdle = 24 * time.Hour // a line without new entries, at least
	shards   = 64
)

// Config has the parts and bounds of a book.
type Config struct {
	// Memory bounds the bytes of all lines that no reader follows and no trace is on.
	// Default DefaultMemory.
	Memory int
	// Known reports whether a client has registered before. The refusals of other ids
	// are not kept. It may wait. Nil knows none.
	Known func(gateway.ClientID) bool
	// Now is the clock of entries. Nil is time.Now.
	Now func() time.Time
}

// Book has the lines of clients. All methods may be called from any goroutine.
type Book struct {
	cfg    Config
	start  time.Time
	seed   maphash.Seed
	shards [shards]shard

	mu     sync.Mutex // taken before a shard's
	traces map[gateway.ClientID]*trace
}

// New returns an empty book. Close ends its traces.
func New(cfg Config) *Book {
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Book{cfg: cfg, start: cfg.Now(), seed: maphash.MakeSeed(), traces: map[gateway.ClientID]*trace{}}
	for i := range b.shards {
		s := &b.shards[i]
		s.lines, s.room = map[string]*line{}, cfg.Memory/shards
		for c := range s.classes {
			s.classes[c].before, s.classes[c].after = &s.classes[c], &s.classes[c]
		}
	}
	return b
}

// Close ends all traces.
func (b *Book) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.traces {
		t.timer.Stop()
	}
	clear(b.traces)
}

func (b *Book) shard(client string) *shard { return &b.shards[maphash.String(b.seed, client)%shards] }

func (b *Book) now() int64 { return b.cfg.Now().UnixNano() }

// Stats has the sizes of a book.
type Stats struct{ Lines, Bytes, Traces int }

// Stats returns the sizes now.
func (b *Book) Stats() (st Stats) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		st.Lines += len(s.lines)
		for _, l := range s.lines {
			st.Bytes += l.size()
		}
		s.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	st.Traces = len(b.traces)
	return st
}

// shard has the lines of some clients.
type shard struct {
	mu    sync.Mutex
	lines map[string]*line
	rings rings
	bytes int // of the lines that are not pinned
	room  int // for them
	// classes are the lines that are not pinned, by their sizes; in each list the one
	// that was used last comes first, to the second.
	classes [8]line
}

// classOf returns the list of a line.
func (s *shard) classOf(l *line) *line {
	c := 0
	for n := lineSize + smallest*entrySize; n < l.size() && c < len(s.classes)-1; n *= 2 {
		c++
	}
	return &s.classes[c]
}

// unlist takes a line out of its list and its size out of the sum.
func (s *shard) unlist(l *line) {
	if l.after == nil {
		return
	}
	l.before.after, l.after.before = l.after, l.before
	l.before, l.after = nil, nil
	s.bytes -= l.size()
}

// list puts a line that is not pinned at the front of its list.
func (s *shard) list(l *line) {
	if l.pinned() {
		return
	}
	head := s.classOf(l)
	l.listed = l.used
	l.before, l.after = head, head.after
	head.after.before, head.after = l, l
	s.bytes += l.size()
}

// add makes a line for a client.
func (s *shard) add(client string, now int64) *line {
	for c := range s.classes { // a good time to let old ones go
		if l := s.classes[c].before; l != &s.classes[c] && now-l.used > int64(keepIdle) {
			s.remove(l)
		}
	}
	client = strings.Clone(client) // it may be part of a REGISTER with its credential
	number := uint64(now / 1000)   // above those of an earlier line
	l := &line{client: client, rings: &s.rings, most: MaxEntries, begun: number, next: number, used: now}
	s.lines[client] = l
	s.list(l)
	return l
}

func (s *shard) remove(l *line) {
	s.unlist(l)
	delete(s.lines, l.client)
}

// fit makes room: the longest line that was used least recently loses its older half.
func (s *shard) fit() {
	for c := len(s.classes) - 1; s.bytes > s.room && c >= 0; {
		l := s.classes[c].before
		switch {
		case l == &s.classes[c]:
			c--
		case len(l.ring) <= smallest:
			s.remove(l)
		default:
			s.unlist(l)
			l.most = MaxEntries
			l.resize(max(smallest, min(len(l.ring), 2*MaxEntries)/2))
			s.listLast(l)
		}
	}
}

// listLast puts a line at the end of its list.
func (s *shard) listLast(l *line) {
	head := s.classOf(l)
	l.before, l.after = head.before, head
	head.before.after, head.before = l, l
	s.bytes += l.size()
}

// change runs do on the line of a client, which it makes if create is set, and keeps
// the sums and the bounds. do reports whether it added an entry.
func (b *Book) change(client string, now int64, create bool, do func(*line) bool) {
	s := b.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[client]
	if l == nil {
		if !create {
			return
		}
		l = s.add(client, now)
	}
	listed, before := l.after != nil, l.size()
	added := do(l)
	if added {
		l.used = now
		l.notify()
	}
	after := l.size()
	if !listed {
		return
	}
	s.bytes += after - before
	if after != before || added && now-l.listed > int64(time.Second) {
		s.unlist(l)
		s.list(l)
		s.fit()
	}
}
