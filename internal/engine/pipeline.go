package engine

import (
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// appliedRecord is a record between its commit and its durability. Three goroutines
// share the work:
//
//	committer: applies events, while the record before is written and synced
//	writer:    hands the record to the database, makes the view
//	finisher:  waits for the sync, publishes the view, answers
type appliedRecord struct {
	ops   []op
	inst  *instance
	pos   uint64
	batch *pebble.Batch
	state.Applied

	// The writer's.
	view  *view     // the state after it, to be published when it is durable
	begun time.Time // when the batch was handed to the database
}

// commit closes a record and sends it on its way to the disk.
func (e *Engine) commit(r *record.Commit, ops []op) {
	e.n++
	r.N = e.n
	f := &appliedRecord{ops: ops, pos: e.machine.State.Pos + 1, inst: e.inst}
	var err error
	if f.Applied, err = e.machine.Finish(f.pos); err == nil {
		err = f.collect()
	}
	if err != nil {
		e.inst.Seal(fmt.Errorf("collect a record: %w", err))
		e.machine.Abort()
		answerAll(ops, unavailable(err))
		return
	}
	e.send(f)
	runtime.Gosched() // the writer goes first: the disk waits for it
}

// collect puts the record's changes into a batch.
func (f *appliedRecord) collect() (err error) {
	f.batch, err = batchOf(f.inst.DB, &f.Changes)
	f.Changes = state.Changes{} // they are in buffers of the machine, which the next record uses
	return err
}

// send puts a record that is applied on its way to the disk.
func (e *Engine) send(f *appliedRecord) {
	e.stats.records.Add(1)
	e.stats.events.Add(uint64(len(f.ops)))
	if e.unsynced.Load() == 0 {
		e.progress.Store(int64(time.Since(e.started)))
	}
	e.unsynced.Add(1)
	e.finishing.Add(1)
	e.writing.Add(1)
	e.applied <- f
}

// runWriter hands records to the database, in log order. It ends when the
// committer does.
func (e *Engine) runWriter() {
	defer e.wg.Done()
	defer close(e.written)
	for f := range e.applied {
		f.begun = time.Now()
		if err := e.write(f); err != nil {
			f.inst.Seal(err)
		}
		f.view = newView(f.inst, f.State)
		e.writing.Done()
		e.written <- f
	}
}

// syncs reports whether the state's batch makes a record durable.
func (e *Engine) syncs() bool { return !e.opt.NoSync && e.follow == nil }

// write hands a batch to the database; it becomes durable by SyncWait, or is
// so by its journal.
func (e *Engine) write(f *appliedRecord) error {
	if !e.syncs() {
		return f.inst.DB.Apply(f.batch, pebble.NoSync)
	}
	return f.inst.DB.ApplyNoSyncWait(f.batch, pebble.Sync)
}

// runFinisher publishes records that are durable, in log order. It ends when
// the committer does.
func (e *Engine) runFinisher() {
	defer e.wg.Done()
	for f := range e.written {
		e.finish(f)
		e.finishing.Done()
	}
}

func (e *Engine) finish(f *appliedRecord) {
	var err error
	if e.syncs() {
		err = f.batch.SyncWait()
	}
	// Only now: an error of the sync has sealed the file system before SyncWait
	// returned.
	if sealed := f.view.inst.Err(); sealed != nil {
		err = sealed
	}
	e.progress.Store(int64(time.Since(e.started)))
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
	if e.syncs() {
		e.mark.Synced(f.pos)
	}
	e.stats.sync.add(time.Since(f.begun))
	f.inst.shared.Publish(f.Waiting, func() { e.view.Swap(f.view).release() })
	if e.follow == nil || f.pos > e.toldTo {
		e.tell(f.Feed)
		e.toldTo = f.pos
	} else { // a state without sync has lost its end, and applies it again
		f.Feed.Tell(nil)
	}
	answerAll(f.ops, nil)
	freeOps(f.ops)
}
