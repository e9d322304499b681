package timeline

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// Bounds of traces.
const (
	MaxTraces         = 16
	MaxTracesOfTenant = 4 // of one limit of keys
	MaxTraceTime      = time.Hour
	MaxTraceBytes     = 1 << 20 // of one client; the oldest frames go
	maxTracedEntries  = 2_000   // likewise
)

// ErrTooManyTraces is the error of a trace for which there is no room.
var ErrTooManyTraces = errors.New("as many traces are on as may be")

// Trace keeps every frame of a client.
type Trace struct {
	Client    gateway.ClientID
	Key, Name string        // of the API key that it was made with; "" in an open API
	Tenant    string        // the limit of that key, "" for none
	For       time.Duration // from the last call of StartTrace on; at most MaxTraceTime
	StartedAt time.Time
	EndsAt    time.Time
	Frames    int
	Bytes     int // of all frames since StartedAt
}

type trace struct {
	Trace // the counts are guarded by the shard's mutex
	timer *time.Timer
}

// StartTrace traces t.Client for t.For. A trace that is on gets the new end and the
// new key. Error: ErrTooManyTraces.
func (b *Book) StartTrace(t Trace) (Trace, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Now()
	old := b.traces[t.Client]
	if old == nil && (len(b.traces) >= MaxTraces || t.Tenant != "" && b.tracesOfLocked(t.Tenant) >= MaxTracesOfTenant) {
		return Trace{}, ErrTooManyTraces
	}
	t.For = min(t.For, MaxTraceTime)
	t.StartedAt, t.EndsAt = now, now.Add(t.For)
	next := &trace{Trace: t}
	s := b.open(string(t.Client))
	if old != nil {
		old.timer.Stop()
		next.StartedAt, next.Frames, next.Bytes = old.StartedAt, old.Frames, old.Bytes
	}
	l := s.lines[string(t.Client)]
	if l == nil {
		l = s.add(string(t.Client), now.UnixNano())
	}
	s.unlist(l)
	l.trace, l.most = next, maxTracedEntries
	out := next.Trace
	s.mu.Unlock()
	next.timer = time.AfterFunc(t.For, func() { b.expire(next) })
	b.traces[t.Client] = next
	return out, nil
}

func (b *Book) tracesOfLocked(tenant string) (n int) {
	for _, t := range b.traces {
		if t.Tenant == tenant {
			n++
		}
	}
	return n
}

// expire ends a trace whose time is over. Its frames stay until newer ones come.
func (b *Book) expire(t *trace) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.traces[t.Client] == t {
		delete(b.traces, t.Client)
		b.untrace(t.Client, false)
	}
}

// EndTrace ends the trace of a client and removes the bytes of its frames. It reports
// whether one was on.
func (b *Book) EndTrace(id gateway.ClientID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.traces[id]
	if t != nil {
		t.timer.Stop()
		delete(b.traces, id)
	}
	b.untrace(id, true)
	return t != nil
}

// untrace ends the tracing of a line.
func (b *Book) untrace(id gateway.ClientID, forget bool) {
	s := b.open(string(id))
	defer s.mu.Unlock()
	l := s.lines[string(id)]
	if l == nil {
		return
	}
	s.unlist(l)
	l.trace = nil
	if forget {
		l.forgetBytes()
	}
	if l.n == 0 && !l.pinned() {
		delete(s.lines, l.client)
		return
	}
	s.list(l)
	s.fit()
}

// Traces returns the traces that are on, by client.
func (b *Book) Traces() []Trace {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Trace, 0, len(b.traces))
	for id, t := range b.traces {
		s := b.shard(string(id))
		s.mu.Lock()
		list = append(list, t.Trace)
		s.mu.Unlock()
	}
	slices.SortFunc(list, func(x, y Trace) int { return cmp.Compare(x.Client, y.Client) })
	return list
}

// traced returns the entry of a frame and an extra with its bytes.
func (l *line) traced(now int64, f *protocol.Frame) (entry, *extra) {
	e, x := entryOf(now, f)
	l.trace.Frames++
	l.trace.Bytes += f.Size
	if f.Bytes == nil {
		return e, x
	}
	x = &extra{reason: f.Reason}
	if f.Type == protocol.FrameRegister {
		x.bytes = protocol.Mask(f.Dialect, f.Bytes)
	} else {
		x.bytes = bytes.Clone(f.Bytes[:min(len(f.Bytes), MaxFrameBytes)])
	}
	if len(x.bytes) < len(f.Bytes) {
		e.flags |= flagCut
	}
	return e, x
}
