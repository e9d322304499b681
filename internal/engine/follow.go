package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// ErrFenced is why a process writes nothing more: another one has its data directory's
// identity, as after a clone of the machine.
var ErrFenced = errors.New("another process writes under the identity of this data directory")

// closeWait is how long Close waits for records that are not read back.
const closeWait = 5 * time.Second

// follower replaces the committer of an engine whose records a shared journal orders:
//
//	fill  makes records of the events in the queue
//	send  hands them over, again if need be; see journal.Writer
//	read  applies the journal's records, of all writers, and answers for its own
type follower struct {
	e      *Engine
	log    journal.Shared
	ctx    context.Context // ends with the engine, or when nothing can be written any more
	cancel context.CancelFunc
	wake   chan struct{} // cap 1, for send
	stands chan struct{} // closed when the boot's opening was read back applied
	over   chan struct{} // closed when the process must write no more; see Engine.Fenced

	mu     sync.Mutex // guards all below
	room   *sync.Cond // out.Room, or end
	out    *journal.Writer
	ops    map[uint64][]op // of the records that are not read back, by number
	end    error           // why nothing more is read back
	closed bool            // nothing more comes from the queue
	sealed func()          // ends the present readOn; nil before the first
}

func newFollower(e *Engine, log journal.Shared) *follower {
	f := &follower{e: e, log: log, wake: make(chan struct{}, 1), stands: make(chan struct{}), over: make(chan struct{}), ops: map[uint64][]op{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.room = sync.NewCond(&f.mu)
	return f
}

// Fenced is closed when another process writes under this directory's identity, or when
// a record of the journal cannot be applied. The engine takes nothing more; its owner
// closes the connections and ends the process. It is nil without a shared journal.
func (e *Engine) Fenced() <-chan struct{} {
	if e.follow == nil {
		return nil
	}
	return e.follow.over
}

// start returns when the state has this process's boot and its bounds.
func (f *follower) start() error {
	e := f.e
	f.out = journal.NewWriter(e.writer, e.boot, e.machine.State.Pos)
	f.out.Add(f.opening())
	e.wg.Add(3)
	go f.fill()
	go f.send()
	go f.read()
	select {
	case <-f.stands:
	case <-f.over:
		return f.cause()
	case <-time.After(e.opt.JournalWait):
		return fmt.Errorf("the journal has not taken this process as a writer within %v", e.opt.JournalWait)
	}
	bounds, err := read(e, func(v *view) (record.Bounds, error) { return state.ReadBounds(v.Rows) })
	if want := e.opt.bounds(); err == nil && bounds != want {
		_, err = e.do(f.ctx, &record.Bounded{Bounds: want})
	}
	return err
}

// opening returns the record that opens the boot behind the one that the state knows.
func (f *follower) opening() []byte {
	after, _ := f.e.machine.Boot(f.e.writer)
	r := f.e.newRecord()
	r.N, r.Events = 1, []record.Event{&record.Opened{After: after}}
	return r.Encode()
}

func (f *follower) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end
}

func (f *follower) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// fill takes all events of the queue whenever another record can be handed over: a record
// grows while the journal works on the ones before.
func (f *follower) fill() {
	defer f.e.wg.Done()
	for {
		f.mu.Lock()
		for f.end == nil && !f.out.Room() {
			f.room.Wait()
		}
		f.mu.Unlock()
		cut := f.e.queue.take(takeOps(), fill{}, 0)
		if len(cut.ops) > 0 {
			if err := f.add(cut.ops); err != nil {
				answerAll(cut.ops, unavailable(err))
			}
		}
		if cut.closed {
			time.AfterFunc(closeWait, f.cancel)
			f.finishIfDone(true)
			return
		}
	}
}

// add makes a record of ops.
func (f *follower) add(ops []op) error {
	r := f.e.newRecord()
	for i := range ops {
		r.Events = append(r.Events, ops[i].event)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end != nil {
		return f.end
	}
	r.N = f.out.Next()
	f.out.Add(r.Encode())
	f.ops[r.N] = ops
	f.nudge()
	return nil
}

// send hands records over until the follower ends.
func (f *follower) send() {
	defer f.e.wg.Done()
	again := time.NewTimer(journal.Patience)
	defer again.Stop()
	for f.ctx.Err() == nil {
		f.mu.Lock()
		records := f.out.Send()
		f.mu.Unlock()
		for _, r := range records {
			if err := f.log.Append(f.ctx, r); err != nil && f.ctx.Err() == nil {
				f.e.opt.Logger.Warn("a record may not have reached the journal; it is handed over again", "error", err)
			}
		}
		if len(records) > 0 {
			again.Reset(journal.Patience)
		}
		select {
		case <-f.wake:
		case <-f.ctx.Done():
		case <-again.C:
			f.mu.Lock()
			f.out.Again()
			f.mu.Unlock()
			again.Reset(journal.Patience)
		}
	}
}

// read applies the journal's records. It is the committer of a shared journal: the
// machine and the instance are its own.
func (f *follower) read() {
	e := f.e
	defer e.wg.Done()
	defer close(e.applied)
	for f.ctx.Err() == nil {
		err := f.readOn()
		if f.ctx.Err() != nil {
			break
		}
		switch cause := e.inst.Err(); {
		case cause != nil:
			if e.reopen(cause) == nil {
				continue
			}
		case errors.Is(err, journal.ErrEnds), errors.Is(err, journal.ErrTrimmed), errors.Is(err, errUnreadable):
			f.stop(err)
		default:
			e.opt.Logger.Warn("follow the journal", "error", err)
		}
		select {
		case <-time.After(retryEvery):
		case <-f.ctx.Done():
		}
	}
	f.stop(errClosed)
}

// readOn applies records until that fails, or the instance is sealed.
func (f *follower) readOn() error {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	f.mu.Lock()
	f.sealed = cancel
	f.mu.Unlock()
	if err := f.e.inst.Err(); err != nil {
		return err
	}
	return f.log.Follow(ctx, f.e.machine.State.Pos, f.apply)
}

// interrupt ends readOn.
func (f *follower) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sealed != nil {
		f.sealed()
	}
}

// errUnreadable is wrapped by the error of a record that this program, or this disk,
// cannot apply.
var errUnreadable = errors.New("a record of the journal cannot be applied, and none behind it")

// apply takes a record of the journal. The state judges whether it counts. A record that
// counts and cannot be applied ends the follower before it.
func (f *follower) apply(pos uint64, raw []byte) error {
	e := f.e
	if err := e.inst.Err(); err != nil {
		return err
	}
	r, err := record.Decode(raw)
	if err != nil {
		return fmt.Errorf("%w: position %d: %w", errUnreadable, pos, err)
	}
	verdict := e.machine.Judge(r)
	fl := &appliedRecord{inst: e.inst, pos: pos}
	results := make([]state.Result, len(r.Events))
	if verdict == state.Next {
		if fl.Applied, err = e.machine.ApplyAll(r, pos, results); err == nil {
			err = fl.collect()
		}
		if err != nil && e.inst.Err() == nil {
			return fmt.Errorf("%w: position %d: %w", errUnreadable, pos, err)
		}
		if err != nil {
			return err
		}
	}
	fl.ops = f.readBack(journal.Record{Pos: pos, Writer: r.Writer, Boot: r.Boot, N: r.N, Bytes: raw}, verdict)
	for i := range fl.ops {
		if reply := fl.ops[i].reply; reply != nil {
			reply.Result = results[i]
		}
	}
	if verdict == state.Next {
		e.send(fl)
	}
	return nil
}

// readBack passes a record to the Writer, and returns the events that are answered with
// it.
func (f *follower) readBack(r journal.Record, v state.Verdict) (ops []op) {
	f.mu.Lock()
	todo := f.out.ReadBack(r, journal.Verdict(v))
	switch todo {
	case journal.Answer:
		ops = f.ops[r.N]
		delete(f.ops, r.N)
		if r.N == 1 {
			close(f.stands)
		}
		f.room.Broadcast()
	case journal.Reopen:
		f.out.Reopen(f.opening())
	}
	f.mu.Unlock()
	switch todo {
	case journal.Leave:
		f.stop(ErrFenced)
	case journal.Ignore:
	default:
		f.nudge()
		f.finishIfDone(false)
	}
	return ops
}

// finishIfDone ends the follower of a closed queue when nothing is owed.
func (f *follower) finishIfDone(closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = f.closed || closed
	if f.closed && len(f.ops) == 0 {
		f.cancel()
	}
}

// stop ends the follower. The calls that it has not answered get an unknown outcome.
func (f *follower) stop(cause error) {
	f.mu.Lock()
	if f.end != nil {
		f.mu.Unlock()
		return
	}
	f.end = cause
	owed := f.ops
	f.ops = map[uint64][]op{}
	f.room.Broadcast()
	f.mu.Unlock()
	for _, ops := range owed {
		answerAll(ops, unavailable(cause))
	}
	f.cancel()
	if cause != errClosed {
		f.e.failure.Store(&cause)
		f.e.opt.Logger.Error("the store takes nothing more", "error", cause)
		close(f.over)
	}
}

// checkJournal refuses a journal that is not the one whose records are in the state.
func (f *follower) checkJournal(inst *instance, pos uint64) error {
	known, err := inst.Journal()
	if err != nil || known == f.log.Name() {
		return err
	}
	if known != "" || pos > 0 {
		return fmt.Errorf("the store has records of the journal %q, the journal is %q: start with an empty data directory, or with a copy of another node's", known, f.log.Name())
	}
	return inst.SetJournal(f.log.Name())
}
