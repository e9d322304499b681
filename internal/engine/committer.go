package engine

import (
	"time"

	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Bounds of one record, so of one group commit. Acks without a waiting caller do
// not count as events: many of them share one change of a bitmap.
const (
	maxRecordEvents = 512
	maxRecordAcks   = 16 << 10
	maxRecordBytes  = 512 << 10 // a larger event is a record alone
)

// openRecord is the record that is being filled. Events are applied as they
// come, and it is closed when the disk has nothing else to do or when it is
// full: so a record is as large as the time allows that a sync takes, and the
// next one is ready when that ends. It belongs to the committer.
type openRecord struct {
	*record.Commit
	ops  []op // applied
	fill fill
	full bool // the next event of the queue has no room
}

// fill is how much of a record's bounds is used.
type fill struct{ ops, events, bytes int }

// fits reports whether an op can be added. The first always can.
func (f fill) fits(o *op) bool {
	return f.ops == 0 || f.ops < maxRecordAcks && f.events < maxRecordEvents && f.bytes+o.size <= maxRecordBytes
}

func (f *fill) add(o *op) {
	f.ops++
	f.bytes += o.size
	if o.reply != nil {
		f.events++
	}
}

// runCommitter makes records of the queue's events, one after the other. It ends when
// the queue is closed and empty.
func (e *Engine) runCommitter() {
	defer e.wg.Done()
	defer close(e.applied)
	var open openRecord
	var buf []op
	for {
		if len(open.ops) > 0 && (open.full || e.unsynced.Load() == 0) {
			e.commit(open.Commit, open.ops)
			open = openRecord{}
		}
		limit := time.Duration(0)
		if e.failure.Load() != nil {
			limit = retryEvery
		}
		cut := e.queue.take(buf[:0], open.fill, limit)
		open.full = cut.full
		if err := e.keepOpen(&open); err != nil {
			answerAll(cut.ops, unavailable(err))
			cut.ops = cut.ops[:0]
		}
		e.applyTo(&open, cut.ops)
		if cut.closed {
			if len(open.ops) > 0 {
				e.commit(open.Commit, open.ops)
			}
			return
		}
		clear(cut.ops)
		buf = cut.ops
	}
}

// keepOpen replaces a database that was sealed; nothing of the open record has
// reached it. Callers that come between two attempts get the error of the last one, so
// that their number does not decide how often the database is opened.
func (e *Engine) keepOpen(open *openRecord) error {
	cause := e.inst.Err()
	if cause == nil {
		return nil
	}
	answerAll(open.ops, unavailable(cause))
	*open = openRecord{}
	if time.Since(e.tried) < retryEvery {
		return *e.failure.Load()
	}
	err := e.reopen(cause)
	if err != nil {
		e.tried = time.Now()
	}
	return err
}

// applyTo adds ops to the open record. An op that meets a row that cannot be
// read is answered with that and left out; the others start again.
func (e *Engine) applyTo(open *openRecord, ops []op) {
	if len(ops) == 0 {
		return
	}
	if open.Commit == nil {
		if err := e.mark.Reserve(standOf(&e.machine.State).Given, maxRecordEvents); err != nil {
			e.inst.Seal(err)
			answerAll(ops, unavailable(err))
			return
		}
		open.Commit = e.newRecord()
		e.machine.Begin(open.Commit)
	}
	if open.ops == nil {
		open.ops = takeOps()
	}
	done := len(open.ops)
	open.ops = append(open.ops, ops...)
	for i := range ops {
		open.fill.add(&ops[i])
	}
	for done < len(open.ops) {
		err := e.applyOp(&open.ops[done])
		if err == nil {
			done++
			continue
		}
		e.unapplied.Do(func() { e.opt.Logger.Error("an event could not be applied", "error", err) })
		answerAll(open.ops[done:done+1], unavailable(err))
		open.ops = append(open.ops[:done], open.ops[done+1:]...)
		if err := e.restart(open.Commit); err != nil {
			e.inst.Seal(err)
			answerAll(open.ops, unavailable(err))
			*open = openRecord{}
			return
		}
		done = 0
	}
	if len(open.ops) == 0 {
		e.machine.Abort()
		*open = openRecord{}
	}
}

// restart begins a record anew, with a machine that reads the database again.
func (e *Engine) restart(r *record.Commit) error {
	e.machine.Abort()
	e.writing.Wait()
	m, err := e.newMachine(e.inst.DB)
	if err != nil {
		return err
	}
	e.machine = m
	m.Begin(r)
	return nil
}

func (e *Engine) applyOp(o *op) error {
	r := new(state.Result)
	if o.reply != nil {
		r = &o.reply.Result
		*r = state.Result{}
	}
	return e.machine.Apply(o.event, r)
}
