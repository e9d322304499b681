package journaltest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/internal/engine/journal"
)

// Faults are the ways in which a Log misbehaves. Zero is a journal that stores each
// record at once.
type Faults struct {
	Lose   float64 // share of the appends that are lost
	Repeat float64 // share of the others that come twice
	// Delay is the longest time that an append is under way. Appends that are under way
	// together come in any order.
	Delay time.Duration
	// Step leaves all to the caller: an append stays under way until Deliver, Repeat or
	// Lose. Lose, Repeat and Delay have no effect.
	Step bool
}

// Log is a shared journal in memory. Any goroutine may use it.
type Log struct {
	name string

	mu        sync.Mutex
	rng       *rand.Rand
	faults    Faults
	records   [][]byte // the whole sequence, trimmed ones too
	trimmed   uint64   // records up to here cannot be followed
	inTransit []*transit
	changed   chan struct{} // closed, and replaced, when a follower has to look again
}

// transit is an append that has not arrived.
type transit struct {
	record []byte
	timer  *time.Timer // nil in step mode
}

// NewLog returns an empty journal. Equal seeds misbehave equally, as far as the order of
// the calls is the same.
func NewLog(name string, seed uint64, f Faults) *Log {
	return &Log{name: name, faults: f, rng: rand.New(rand.NewPCG(seed, 1)), changed: make(chan struct{})}
}

var _, _ journal.Shared = (*Log)(nil), (*Conn)(nil)

func (l *Log) Name() string { return l.name }

// Append puts the record under way.
func (l *Log) Append(ctx context.Context, record []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record = bytes.Clone(record)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults.Step {
		l.inTransit = append(l.inTransit, &transit{record: record})
		return nil
	}
	if l.rng.Float64() < l.faults.Lose {
		return nil
	}
	l.launch(record)
	if l.rng.Float64() < l.faults.Repeat {
		l.launch(record)
	}
	return nil
}

// launch sends a copy on its way, which takes a random time.
func (l *Log) launch(record []byte) {
	if l.faults.Delay == 0 {
		l.store(record)
		return
	}
	f := &transit{record: record}
	l.inTransit = append(l.inTransit, f)
	f.timer = time.AfterFunc(time.Duration(l.rng.Int64N(int64(l.faults.Delay)+1)), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.inTransit, f); i >= 0 {
			l.arrive(i, false)
		}
	})
}

// arrive stores the append at place i in transit.
func (l *Log) arrive(i int, again bool) {
	l.store(l.inTransit[i].record)
	if !again {
		l.inTransit = slices.Delete(l.inTransit, i, i+1)
	}
}

func (l *Log) store(record []byte) {
	l.records = append(l.records, record)
	l.wake()
}

// wake makes all followers look again.
func (l *Log) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// InAir returns how many appends are under way.
func (l *Log) InAir() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inTransit)
}

// Deliver stores the append at place i in transit. The oldest is at 0.
func (l *Log) Deliver(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrive(i, false)
}

// Repeat stores the append at place i, which stays under way too.
func (l *Log) Repeat(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrive(i, true)
}

// Lose drops the append at place i.
func (l *Log) Lose(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inTransit = slices.Delete(l.inTransit, i, i+1)
}

// Settle stores all appends that are under way, the oldest first.
func (l *Log) Settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.inTransit) > 0 {
		if t := l.inTransit[0].timer; t != nil {
			t.Stop()
		}
		l.arrive(0, false)
	}
}

// End returns the position of the last record.
func (l *Log) End() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.records))
}

// At returns the record at a position, nil if it has none. The caller does not change it.
func (l *Log) At(pos uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pos == 0 || pos > uint64(len(l.records)) {
		return nil
	}
	return l.records[pos-1]
}

// Cut drops the records behind a position, as a journal does that has lost its end. What
// is appended later is another history.
func (l *Log) Cut(end uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = slices.Clip(l.records[:min(end, uint64(len(l.records)))])
	l.wake()
}

// Trim makes the records up to upTo unreadable for followers.
func (l *Log) Trim(upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimmed = max(l.trimmed, min(upTo, uint64(len(l.records))))
	return nil
}

// Follow is journal.Shared's.
func (l *Log) Follow(ctx context.Context, from uint64, fn func(uint64, []byte) error) error {
	return l.Connect().Follow(ctx, from, fn)
}

// Connect returns one process's way to the journal.
func (l *Log) Connect() *Conn { return &Conn{Log: l} }

// Conn is one process's way to a Log. It can be held back and broken.
type Conn struct {
	*Log
	held   bool  // guarded by Log.mu
	broken error // guarded by Log.mu
}

// Hold stops the followers of this connection until Release.
func (c *Conn) Hold() { c.set(func() { c.held = true }) }

// Release ends Hold.
func (c *Conn) Release() { c.set(func() { c.held = false }) }

// Break makes Append and Follow fail with err, nil mends the connection. A record that
// is appended on a broken connection may arrive.
func (c *Conn) Break(err error) { c.set(func() { c.broken = err }) }

func (c *Conn) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.wake()
}

// Append is the Log's, unless the connection is broken: then it fails, although every
// other record is under way.
func (c *Conn) Append(ctx context.Context, record []byte) error {
	c.mu.Lock()
	broken, arrives := c.broken, c.rng.IntN(2) == 0
	c.mu.Unlock()
	if broken == nil || arrives {
		if err := c.Log.Append(ctx, record); err != nil {
			return err
		}
	}
	return broken
}

// Follow is journal.Shared's.
func (c *Conn) Follow(ctx context.Context, from uint64, fn func(uint64, []byte) error) error {
	for {
		record, changed, err := c.next(from)
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case record != nil:
			from++
			if err = fn(from, record); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// next returns a copy of the record behind a position, or nil and a channel that is
// closed when there may be one.
func (c *Conn) next(from uint64) (record []byte, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := uint64(len(c.records))
	switch {
	case c.broken != nil:
		return nil, nil, c.broken
	case from > end:
		return nil, nil, journal.ErrEnds
	case from < c.trimmed:
		return nil, nil, journal.ErrTrimmed
	case c.held || from == end:
		return nil, c.changed, nil
	}
	return bytes.Clone(c.records[from]), nil, nil
}
