package engine

import (
	"context"
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

const (
	// sweepBatch is how many events the driver has in the log at once.
	sweepBatch = 256
	// forgetEvery is how long the driver rests between two walks over all
	// clients, forgetSlice how many it looks at in one sweep.
	forgetEvery = 10 * time.Minute
	forgetSlice = 2_000
	// stepTime bounds how long a sweep removes rows of one kind, so that messages expire
	// while millions of old rows are removed.
	stepTime = time.Second
	// filesEvery is after how many rounds the watch looks for each file of the database.
	filesEvery = 25
	// trimEvery is the interval at which a shared journal is trimmed.
	trimEvery = time.Minute
)

// sweeper holds the places at which the driver continues.
type sweeper struct {
	client   gateway.ClientID // walk over the clients: the last one looked at
	nextWalk time.Time        // by the real clock
	uplink   state.Ahead
	event    state.Ahead
}

// runDriver sweeps at intervals, until Close.
func (e *Engine) runDriver() {
	defer e.wg.Done()
	tick := time.NewTicker(e.opt.SweepEvery)
	defer tick.Stop()
	trimmed := time.Now()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		if e.failure.Load() != nil {
			continue
		}
		e.payOwed(context.Background())
		if err := e.sweep(e.opt.Now(), false); err != nil && !errors.Is(err, errClosed) {
			e.unswept.Do(func() { e.opt.Logger.Warn("sweep", "error", err) })
		}
		if e.follow != nil && time.Since(trimmed) > trimEvery {
			if err := e.trim(); err != nil {
				e.opt.Logger.Warn("trim the journal", "error", err)
			}
			trimmed = time.Now()
		}
	}
}

// runWatch looks at the disk at intervals, until Close. It is beside the driver, whose
// sweep waits for the disk and may have a million messages to end.
func (e *Engine) runWatch() {
	defer e.wg.Done()
	tick := time.NewTicker(e.opt.SweepEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		e.checkStuck()
		e.checkDirectory()
		if n%filesEvery == 0 {
			e.checkFiles()
		}
		e.checkDisk()
	}
}

// trim lets the journal drop the records that the state has on stable storage.
func (e *Engine) trim() error {
	return e.read(func(v *view) error {
		err := v.inst.DB.Flush()
		if err == nil {
			err = v.inst.Err()
		}
		if err != nil {
			return err
		}
		return e.follow.log.Trim(v.State.Pos)
	})
}

// Expire sweeps as if it were now, and returns when that is durable: messages
// expire, completed messages, idempotency keys, uplinks and clients that are
// past their time are removed. The driver does the same at intervals; see
// Options.SweepEvery.
func (e *Engine) Expire(now time.Time) error { return e.sweep(now, true) }

// sweep does one round; all says to look at every client at once. A damaged row keeps it
// from rows of one kind, not from the others: these would grow without end.
func (e *Engine) sweep(now time.Time, all bool) (failed error) {
	e.sweepMu.Lock()
	defer e.sweepMu.Unlock()
	o := &e.opt
	for _, step := range []struct {
		find func(v *view) ([]record.Event, error)
		full int // with as many events there may be more to find
	}{
		{func(v *view) ([]record.Event, error) { return v.DueMessages(now, sweepBatch) }, sweepBatch},
		{func(v *view) ([]record.Event, error) { return v.OldMessages(now.Add(-o.StatusRetention), sweepBatch) }, sweepBatch},
		{func(v *view) ([]record.Event, error) { return v.OldKeys(now.Add(-o.IdempotencyRetention), sweepBatch) }, sweepBatch},
		{func(v *view) (old []record.Event, err error) { // one event removes many
			old, e.sweeper.uplink, err = v.OldUplinks(e.sweeper.uplink, now, now.Add(-o.UplinkRetention), maxRecordEvents)
			return old, err
		}, 1},
		{func(v *view) (old []record.Event, err error) {
			old, e.sweeper.event, err = v.OldEvents(e.sweeper.event, now, sweepBatch)
			return old, err
		}, sweepBatch},
		{func(v *view) ([]record.Event, error) {
			return v.OldOrdinals(now.Add(-gateway.MaxTTL-o.StatusRetention), sweepBatch)
		}, sweepBatch},
	} {
		for begun := time.Now(); ; {
			n, err := e.drive(step.find)
			if err != nil {
				failed = errors.Join(failed, err)
				if e.failure.Load() != nil || e.ctx.Err() != nil {
					return failed
				}
				break
			}
			if n > 0 { // expired messages are removed later, but that is no matter
				e.reclaimer.removed.Store(true)
			}
			if n < step.full || !all && time.Since(begun) > stepTime {
				break
			}
		}
	}
	if all {
		e.sweeper.client, e.sweeper.nextWalk = "", time.Time{}
	}
	for time.Now().After(e.sweeper.nextWalk) {
		if _, err := e.drive(func(v *view) ([]record.Event, error) { return e.unseenClients(v, now) }); err != nil || !all {
			return errors.Join(failed, err)
		}
	}
	return failed
}

// drive sends what find finds through the log, waits for it and returns how
// many events that were.
func (e *Engine) drive(find func(v *view) ([]record.Event, error)) (int, error) {
	events, err := read(e, find)
	if err != nil {
		return 0, err
	}
	replies := make([]*reply, 0, len(events))
	for _, ev := range events {
		o := waited(ev)
		if err = e.queue.push(context.Background(), o); err != nil {
			break
		}
		replies = append(replies, o.reply)
	}
	for _, r := range replies {
		<-r.done
		err = errors.Join(err, r.Err)
		r.free()
	}
	return len(events), err
}

// unseenClients finds clients to forget in the next part of the walk.
func (e *Engine) unseenClients(v *view, now time.Time) ([]record.Event, error) {
	events, last, err := v.UnseenClients(e.sweeper.client, now.Add(-e.opt.ForgetAfter), now, forgetSlice, sweepBatch)
	e.sweeper.client = last
	if last == "" { // the walk is at its end
		e.sweeper.nextWalk = time.Now().Add(forgetEvery)
	}
	return events, err
}
