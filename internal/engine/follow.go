package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// resendAfter is how long a record may be under way before the sender hands over
// again all that it has not read back.
const resendAfter = 2 * time.Second

// errFenced is why a process writes nothing more: its directory's identity has another
// owner, as after a clone of the machine.
var errFenced = errors.New("another process writes with the identity of this data directory")

// follower stands in place of the committer where a shared journal orders the records.
// Its sender makes records of what waits and hands them over; its reader applies what
// the journal has, of all writers, and answers what it reads back of its own.
type follower struct {
	e   *Engine
	log journal.Shared

	ctx    context.Context
	cancel context.CancelFunc
	work   chan struct{} // cap 1: the sender has something to do
	stood  chan struct{} // closed when the boot's Opened was read back applied

	mu     sync.Mutex
	out    *journal.Writer
	ops    map[uint64][]op // of records that are not read back, by number
	opened bool
	fenced atomic.Pointer[error]

	told uint64 // position up to which the feed was told; the finisher's
}

func newFollower(e *Engine, log journal.Shared) *follower {
	f := &follower{e: e, log: log, work: make(chan struct{}, 1), stood: make(chan struct{}), ops: map[uint64][]op{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// run starts sender and reader in place of the committer and returns when the state has
// this process's boot, and its bounds.
func (f *follower) run() error {
	e := f.e
	f.out = journal.NewWriter(e.writer, e.boot)
	after, _ := e.machine.Boot(e.writer)
	f.out.Open(after, e.opt.Now().UnixNano(), e.mark.Floor)
	e.wg.Add(2)
	go f.send()
	go f.read()
	select {
	case <-f.stood:
	case <-time.After(e.opt.JournalWait):
		return fmt.Errorf("the journal has not taken this process as a writer within %v", e.opt.JournalWait)
	}
	want := e.opt.bounds()
	if bounds, err := e.boundsInForce(); err != nil || bounds == want {
		return err
	}
	_, err := e.do(f.ctx, &record.Bounded{Bounds: want})
	return err
}

func (e *Engine) boundsInForce() (b record.Bounds, err error) {
	err = e.read(func(v *view) error {
		b, err = state.ReadBounds(v.Rows)
		return err
	})
	return b, err
}

func (f *follower) nudge() {
	select {
	case f.work <- struct{}{}:
	default:
	}
}

// send hands records over until the queue is closed and empty, and all is read back.
func (f *follower) send() {
	defer f.e.wg.Done()
	defer f.cancel()
	go f.fill()
	again := time.NewTimer(resendAfter)
	defer again.Stop()
	for {
		f.mu.Lock()
		raws, done := f.out.Send(), f.out.Done()
		f.mu.Unlock()
		if done {
			return
		}
		for _, raw := range raws {
			if err := f.log.Append(f.ctx, raw); err != nil {
				f.e.opt.Logger.Warn("hand a record to the journal", "error", err)
				break // the timer hands it over again
			}
		}
		if len(raws) > 0 {
			again.Reset(resendAfter)
		}
		select {
		case <-f.work:
		case <-again.C:
			f.mu.Lock()
			f.out.Again()
			f.mu.Unlock()
			again.Reset(resendAfter)
		case <-f.ctx.Done():
			return
		}
	}
}

// fill makes records of what waits in the queue. It waits while a full window is under
// way, so that a record takes all that comes meanwhile.
func (f *follower) fill() {
	for {
		cut := f.e.queue.take(nil, fill{}, 0)
		if len(cut.ops) > 0 {
			r := &record.Commit{At: f.e.opt.Now().UnixNano()}
			for _, o := range cut.ops {
				r.Events = append(r.Events, o.event)
			}
			if err := f.add(r, cut.ops); err != nil {
				answerAll(cut.ops, unavailable(err))
			}
		}
		if cut.closed {
			f.mu.Lock()
			f.out.Close()
			f.mu.Unlock()
			f.nudge()
			return
		}
	}
}
