package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// flight is a record between its commit and its durability.
type flight struct {
	ops     []*op
	notices []notice
	batch   *pebble.Batch
	view    *view // the state after it, to be published when it is durable
	pos     uint64
	begun   time.Time // when the batch was handed to the database
}

// retryEvery is how often a failed store tries to open its directory again.
const retryEvery = 250 * time.Millisecond

// runCommitter turns what waits into records, one after the other. It ends when
// the queue is closed and empty.
func (e *Engine) runCommitter() {
	defer e.wg.Done()
	defer close(e.flights)
	var buf []*op
	for {
		limit := time.Duration(0)
		if e.failure.Load() != nil {
			limit = retryEvery
		}
		ops, open := e.queue.take(buf[:0], limit)
		if !open && len(ops) == 0 {
			return
		}
		if err := e.ensureOpen(); err != nil {
			answerAll(ops, unavailable(err))
			buf = ops
			continue
		}
		if len(ops) > 0 {
			e.commit(append([]*op(nil), ops...))
		}
		clear(ops)
		buf = ops
	}
}

// ensureOpen replaces a database that was sealed. While that does not succeed
// it returns why.
func (e *Engine) ensureOpen() error {
	cause := e.inst.fs.Err()
	if cause == nil {
		return nil
	}
	e.failure.CompareAndSwap(nil, &cause)
	e.inflight.Wait()
	if err := e.probe(); err != nil {
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

// probeBytes is enough for a database to be opened and a record to be written.
const probeBytes = 1 << 20

// probe finds out whether the directory takes a synced write.
func (e *Engine) probe() error {
	fs := e.opt.FS
	name := fs.PathJoin(e.opt.Dir, nameProbe)
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("probe the disk: %w", err)
	}
	_, err = f.Write(make([]byte, probeBytes))
	err = errors.Join(err, f.Sync(), f.Close(), fs.Remove(name))
	if err != nil {
		return fmt.Errorf("probe the disk: %w", err)
	}
	return nil
}

// tellRecovered deals with the records whose outcome was unknown when the
// database was sealed: what recovery has found was durable after all, and the
// observer has not heard of it.
func (e *Engine) tellRecovered() {
	m := e.machine
	for _, f := range e.lost {
		if m.state.incarnation == e.incarnation && f.pos <= m.state.pos {
			e.tell(f.notices)
		}
	}
	e.lost = nil
}

func answerAll(ops []*op, err error) {
	for _, o := range ops {
		o.answer(err)
	}
}

// commit applies ops as one record and sends it on its way to the disk.
func (e *Engine) commit(ops []*op) {
	r := &record{writer: e.writer, incarnation: e.incarnation, at: e.opt.Now().UnixNano()}
	if ops = e.applyAll(r, ops); len(ops) == 0 {
		return
	}
	e.writerSeq++
	r.seq = e.writerSeq
	pos, err := e.append(r, ops)
	if err != nil {
		e.inst.fs.seal(fmt.Errorf("append to the journal: %w", err))
		e.machine.abort()
		answerAll(ops, unavailable(err))
		return
	}
	f := &flight{ops: ops, pos: pos, begun: time.Now()}
	f.batch, f.notices = e.machine.finish(pos)
	e.stats.record(len(ops))
	e.inflight.Add(1)
	if err := e.write(f.batch); err != nil {
		e.inst.fs.seal(err)
	}
	f.view = newView(e.inst, e.machine.state)
	e.flights <- f
}

// append gives the record its position. The local journal does not need its
// bytes.
func (e *Engine) append(r *record, ops []*op) (uint64, error) {
	if !e.journal.Durable() {
		return e.journal.Append(nil)
	}
	for _, o := range ops {
		r.events = append(r.events, o.event)
	}
	return e.journal.Append(r.encode())
}

// write hands a batch to the database; it becomes durable by SyncWait, or is
// so by its journal.
func (e *Engine) write(b *pebble.Batch) error {
	if e.opt.NoSync || e.journal.Durable() {
		return e.inst.db.Apply(b, pebble.NoSync)
	}
	return e.inst.db.ApplyNoSyncWait(b, pebble.Sync)
}

// applyAll applies ops and returns those that were. An op that meets a row that
// cannot be read is answered with that and left out; the others start again.
func (e *Engine) applyAll(r *record, ops []*op) []*op {
	for {
		bad, err := e.tryApply(r, ops)
		if err == nil {
			return ops
		}
		e.opt.Logger.Error("an event could not be applied", "error", err)
		e.machine.abort()
		ops[bad].answer(unavailable(err))
		ops = append(ops[:bad], ops[bad+1:]...)
		m, err := e.newMachine(e.inst.db)
		if err != nil {
			e.inst.fs.seal(err)
			answerAll(ops, unavailable(err))
			return nil
		}
		e.machine = m
		if len(ops) == 0 {
			return nil
		}
	}
}

func (e *Engine) tryApply(r *record, ops []*op) (bad int, err error) {
	e.machine.begin(r)
	for i, o := range ops {
		o.result = result{}
		if err := e.machine.apply(o.event, &o.result); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// abort gives up the record under way; the machine is of no more use.
func (m *machine) abort() {
	if m.batch != nil {
		_ = m.batch.Close()
		m.batch = nil
	}
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
	if sealed := f.view.inst.fs.Err(); sealed != nil {
		err = sealed
	}
	if err != nil {
		e.failure.CompareAndSwap(nil, &err)
		e.lost = append(e.lost, f)
		f.view.release()
		answerAll(f.ops, unavailable(err))
		return
	}
	_ = f.batch.Close()
	e.stats.synced(time.Since(f.begun))
	e.view.Swap(f.view).release()
	e.tell(f.notices)
	answerAll(f.ops, nil)
}

// tell passes a record's notices to the observer, in log order.
func (e *Engine) tell(notices []notice) {
	if e.observer == nil {
		return
	}
	var run []gateway.Settlement
	for _, n := range notices {
		if n.all == nil {
			run = append(run, n.settlement)
			continue
		}
		if len(run) > 0 {
			e.observer.Settled(run)
			run = nil
		}
		e.observer.SettledAll(*n.all, n.state, n.n)
	}
	if len(run) > 0 {
		e.observer.Settled(run)
	}
}
