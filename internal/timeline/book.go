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
	idle     = time.Minute    // without new entries: others may take half of a line
	shards   = 64
	maxNotes = 64 // of a shard
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

// open returns the shard of a client, locked and without notes.
func (b *Book) open(client string) *shard {
	s := b.shard(client)
	s.mu.Lock()
	s.takeNotes()
	return s
}

func (b *Book) now() int64 { return b.cfg.Now().UnixNano() }

// Stats has the sizes of a book.
type Stats struct{ Lines, Bytes, Traces int }

// Stats returns the sizes now.
func (b *Book) Stats() (st Stats) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.takeNotes()
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
	mu     sync.Mutex
	notes  []note // not in their lines yet
	lines  map[string]*line
	rings  rings
	listed int // lines that are not pinned
	bytes  int // of them
	room   int // for them
	// classes are the lines that are not pinned, by their sizes; in each list the one
	// that was used last comes first, to the second.
	classes [8]line
}

// note is an entry before it is in its line. A line is in no cache of the processor when
// its client's turn comes, in a fleet; with many notes at once the entries of a delivery
// find it there, except the first.
type note struct {
	client string
	entry  entry
	extra  *extra
	begins bool // a line, if the client has none
}

// keep puts an entry into its line, at the latest before anything reads it.
func (s *shard) keep(n note) {
	if s.notes = append(s.notes, n); len(s.notes) >= maxNotes || s.pinned() {
		s.takeNotes()
	}
}

// takeNotes puts all notes into their lines.
func (s *shard) takeNotes() {
	for i := range s.notes {
		n := &s.notes[i]
		at := n.entry.at
		s.change(n.client, at, n.begins, func(l *line) bool {
			l.push(n.entry, n.extra)
			if n.entry.kind == Stepped && n.entry.step == gateway.StepQueued {
				l.queuedFirst(at)
			}
			return true
		})
	}
	clear(s.notes)
	s.notes = s.notes[:0]
}

// pinned reports whether a line of s is.
func (s *shard) pinned() bool { return len(s.lines) > s.listed }

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
	s.listed--
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
	s.listed++
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
	l := &line{client: client, shard: s, most: MaxEntries, begun: number, next: number, used: now}
	s.lines[client] = l
	s.list(l)
	return l
}

func (s *shard) remove(l *line) {
	s.unlist(l)
	delete(s.lines, l.client)
}

// roomFor reports whether l may grow to n entries. Without room it may if another line is
// longer than that, or idle: lines of one length that are all in use do not take turns.
func (s *shard) roomFor(l *line, n int, now int64) bool {
	if n == smallest || s.bytes+(n-len(l.ring))*entrySize <= s.room {
		return true
	}
	longest := s.longest()
	return longest != nil && longest != l && (len(longest.ring) > n || now-longest.used > int64(idle))
}

// longest returns the line that fit shortens next, nil if there is none.
func (s *shard) longest() *line {
	for c := len(s.classes) - 1; c >= 0; c-- {
		if l := s.classes[c].before; l != &s.classes[c] {
			return l
		}
	}
	return nil
}

// fit makes room: the longest line that was used least recently loses its older half.
func (s *shard) fit() {
	for s.bytes > s.room {
		l := s.longest()
		switch {
		case l == nil:
			return
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
	s.listed++
	s.bytes += l.size()
}

// change runs do on the line of a client, which it makes if create is set, and keeps
// the sums and the bounds. do reports whether it added an entry.
func (b *Book) change(client string, now int64, create bool, do func(*line) bool) {
	s := b.open(client)
	defer s.mu.Unlock()
	s.change(client, now, create, do)
}

func (s *shard) change(client string, now int64, create bool, do func(*line) bool) {
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
