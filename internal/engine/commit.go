package engine

import (
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/record"
)

// flight is a record between its commit and its durability. Three goroutines
// share the work:
//
//	committer: applies events, while the record before is written and synced
//	writer:    hands the record to the database, makes the view
//	finisher:  waits for the sync, publishes the view, answers
type flight struct {
	ops   []op
	inst  *instance
	pos   uint64
	batch *pebble.Batch
	Applied

	// The writer's.
	view  *view     // the state after it, to be published when it is durable
	begun time.Time // when the batch was handed to the database
}

// retryEvery is how often a failed store tries to open its directory again.
const retryEvery = 250 * time.Millisecond

// reopen replaces a database that was sealed for cause. While that does not
// succeed it returns why.
func (e *Engine) reopen(cause error) error {
	e.failure.CompareAndSwap(nil, &cause)
	e.inflight.Wait()
	if err := disk.Probe(e.opt.disk()); err != nil {
		return err
	}
	if err := e.openState(); err != nil {
		e.failure.Store(&err)
		return err
	}
	e.tellRecovered()
	e.failure.Store(nil)
	e.opt.Logger.Info("the store takes writes again")
	return nil
}

// tellRecovered deals with the records whose outcome was unknown when the
// database was sealed. It passes those that recovery has found durable to the
// observer.
func (e *Engine) tellRecovered() {
	m := e.machine
	for _, f := range e.lost {
		if m.State.Incarnation == e.incarnation && f.pos <= m.State.Pos {
			f.Feed.Tell(e.observer)
		}
	}
	e.lost = nil
	if e.observer != nil {
		e.observer.Changed([]gateway.Change{&gateway.Reopened{}})
	}
}

// commit closes a record and sends it on its way to the disk.
func (e *Engine) commit(r *record.Commit, ops []op) {
	e.writerSeq++
	r.Seq = e.writerSeq
	pos, err := e.append(r, ops)
	if err != nil {
		e.inst.Seal(fmt.Errorf("append to the journal: %w", err))
		e.machine.Abort()
		answerAll(ops, unavailable(err))
		return
	}
	f := &flight{ops: ops, pos: pos, inst: e.inst}
	if err = e.finishRecord(f); err != nil {
		e.inst.Seal(fmt.Errorf("collect a record: %w", err))
		e.machine.Abort()
		answerAll(ops, unavailable(err))
		return
	}
	e.stats.record(len(ops))
	e.unsynced.Add(1)
	e.inflight.Add(1)
	e.writing.Add(1)
	e.applied <- f
	runtime.Gosched() // the writer goes first: the disk waits for it
}

// finishRecord puts what the record has come to into its flight.
func (e *Engine) finishRecord(f *flight) (err error) {
	if f.Applied, err = e.machine.Finish(f.pos); err == nil {
		f.batch, err = batchOf(e.inst.DB, &f.Changes)
	}
	return err
}

// runWriter hands records to the database, in log order. It ends when the
// committer does.
func (e *Engine) runWriter() {
	defer e.wg.Done()
	defer close(e.flights)
	for f := range e.applied {
		f.begun = time.Now()
		if err := e.write(f); err != nil {
			f.inst.Seal(err)
		}
		f.view = newView(f.inst, f.State)
		e.writing.Done()
		e.flights <- f
	}
}

// append gives the record its position. The local journal does not need its
// bytes.
func (e *Engine) append(r *record.Commit, ops []op) (uint64, error) {
	if !e.journal.Durable() {
		return e.journal.Append(nil)
	}
	for _, o := range ops {
		r.Events = append(r.Events, o.event)
	}
	return e.journal.Append(r.Encode())
}

// write hands a batch to the database; it becomes durable by SyncWait, or is
// so by its journal.
func (e *Engine) write(f *flight) error {
	if e.opt.NoSync || e.journal.Durable() {
		return f.inst.DB.Apply(f.batch, pebble.NoSync)
	}
	return f.inst.DB.ApplyNoSyncWait(f.batch, pebble.Sync)
}

// runFinisher publishes records that are durable, in log order. It ends when
// the committer does.
func (e *Engine) runFinisher() {
	defer e.wg.Done()
	for f := range e.flights {
		e.finish(f)
		e.inflight.Done()
	}
}

func (e *Engine) finish(f *flight) {
	var err error
	if !e.opt.NoSync && !e.journal.Durable() {
		err = f.batch.SyncWait()
	}
	// Only now: an error of the sync has sealed the file system before SyncWait
	// returned.
	if sealed := f.view.inst.Err(); sealed != nil {
		err = sealed
	}
	e.unsynced.Add(-1)
	e.queue.nudge() // the record that is open is to be closed
	if err != nil {
		e.failure.CompareAndSwap(nil, &err)
		e.lost = append(e.lost, f)
		f.view.release()
		answerAll(f.ops, unavailable(err))
		return
	}
	_ = f.batch.Close()
	if !e.opt.NoSync && !e.journal.Durable() {
		e.mark.Synced(f.pos)
	}
	e.stats.synced(time.Since(f.begun))
	f.inst.shared.Publish(f.Waiting, func() { e.view.Swap(f.view).release() })
	f.Feed.Tell(e.observer)
	answerAll(f.ops, nil)
	freeOps(f.ops)
}
