package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Bounds of the entries in memory.
const (
	MaxRecent = 10_000
	maxTail   = 16 << 20 // bytes of the file that a start reads
	maxKept   = 1 << 10  // bytes of one member of an entry; the file has the rest
)

// recent has the newest entries, of each key its share. A start fills it from the end of
// the file.
type recent struct {
	mu    sync.Mutex
	list  []Recorded // oldest first
	total uint64     // entries so far
	since time.Time  // when the log was opened; zero if a file had earlier entries
	lost  time.Time  // of the newest entry that has given way; zero for none
}

func (r *recent) add(e Entry) {
	for _, s := range []*string{&e.Target, &e.Caller, &e.Name} {
		if len(*s) > maxKept {
			*s = strings.ToValidUTF8((*s)[:maxKept], "")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	r.list = append(r.list, Recorded{e, r.total})
	if len(r.list) > MaxRecent {
		r.thin(MaxRecent / 10 * 9)
	}
}

// thin leaves at most n entries. The keys with most of them lose their oldest ones, so that
// one key does not push out the entries of others.
func (r *recent) thin(n int) {
	of := make(map[string]int)
	for i := range r.list {
		of[r.list[i].Who]++
	}
	// The share is the largest one with which n entries are left, at least one.
	share := max(1, sort.Search(n, func(share int) bool {
		sum := 0
		for _, count := range of {
			sum += min(count, share+1)
		}
		return sum > n
	}))
	r.list = slices.DeleteFunc(r.list, func(e Recorded) bool {
		gone := of[e.Who] > share
		if gone {
			of[e.Who]--
			r.lose(&e)
		}
		return gone
	})
	if over := len(r.list) - n; over > 0 { // more keys than entries
		r.lose(&r.list[over-1])
		r.list = slices.Delete(r.list, 0, over)
	}
}

func (r *recent) lose(e *Recorded) {
	if e.At.After(r.lost) {
		r.lost = e.At
	}
}

// begin notes the start, unless the file had earlier entries.
func (r *recent) begin(now time.Time) {
	if len(r.list) == 0 {
		r.since = now
	}
}

// Query selects entries.
type Query struct {
	Since  time.Time // recorded at this time or later; zero = any
	Who    string    // id or name of the key, "" = any
	Target string    // the target, or its first word; "" = any
	Before uint64    // number: only older entries; 0 = from the newest
	Limit  int       // at least 1
}

func (q *Query) wants(e *Entry) bool {
	if e.At.Before(q.Since) || q.Who != "" && q.Who != e.Who && q.Who != e.Name {
		return false
	}
	rest, ok := strings.CutPrefix(e.Target, q.Target)
	return q.Target == "" || ok && (rest == "" || rest[0] == ' ')
}

// Recorded is an entry with its number, which rises in the order of the log and is of
// this process.
type Recorded struct {
	Entry
	Number uint64
}

// Recent returns up to MaxRecent of the last entries, newest first. Keys with many entries
// leave room for those of others. They include those that the file had at the start.
// more reports that older ones follow.
func (l *Log) Recent(q Query) (list []Recorded, more bool) {
	if l == nil {
		return nil, false
	}
	r := &l.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.list) - 1; i >= 0; i-- {
		e := &r.list[i]
		if q.Before > 0 && e.Number >= q.Before || !q.wants(&e.Entry) {
			continue
		}
		if len(list) == q.Limit {
			return list, true
		}
		list = append(list, *e)
	}
	return list, false
}

// Since returns the time from which on Recent has every entry: that of the start, of the
// oldest entry, or of the newest one that has given way. It is zero if the log is nil.
func (l *Log) Since() time.Time {
	if l == nil {
		return time.Time{}
	}
	r := &l.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.lost.IsZero():
		return r.lost
	case r.since.IsZero():
		return r.list[0].At
	}
	return r.since
}

// OutlivesRestart reports whether Recent has the entries of the file after a restart.
func (l *Log) OutlivesRestart() bool { return l != nil && l.filed }

// readTail adds the newest entries of a file, whose end it reads. It passes over what is
// not an entry, such as a torn line.
func (r *recent) readTail(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	from := max(info.Size()-maxTail, 0)
	b := make([]byte, info.Size()-from)
	n, err := io.ReadFull(io.NewSectionReader(f, from, int64(len(b))), b)
	b = b[:n]
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	if from > 0 {
		_, b, _ = bytes.Cut(b, []byte("\n")) // a part of a line
	}
	b = lastLines(b, MaxRecent)
	for text := range bytes.Lines(b) {
		var line struct {
			Entry
			Audit bool `json:"audit"`
		}
		if json.Unmarshal(text, &line) == nil && line.Audit {
			line.Result = cmp.Or(line.Result, OK)
			r.add(line.Entry)
		}
	}
	return nil
}

// lastLines returns the last n lines of b.
func lastLines(b []byte, n int) []byte {
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for ; n > 0; n-- {
		at = bytes.LastIndexByte(b[:at], '\n')
		if at < 0 {
			return b
		}
	}
	return b[at+1:]
}
