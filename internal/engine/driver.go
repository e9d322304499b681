package engine

import (
	"context"
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

const (
	// sweepBatch is how many events the driver has in the log at once.
	sweepBatch = 256
	// forgetEvery is how long the driver rests between two walks over all
	// clients, forgetSlice how many it looks at in one sweep.
	forgetEvery = 10 * time.Minute
	forgetSlice = 2_000
	// trimEvery is how often a journal of its own is trimmed.
	trimEvery = time.Minute
)

// sweeper remembers where the driver is.
type sweeper struct {
	client   gateway.ClientID // walk over the clients: the last one looked at
	nextWalk time.Time        // by the real clock
	oldest   []byte           // key of a message before which all are completed
	uplink   uint64           // uplinks up to here are of a clock that was ahead
}

// runDriver does what is due, until Close.
func (e *Engine) runDriver() {
	defer e.wg.Done()
	tick := time.NewTicker(e.opt.SweepEvery)
	defer tick.Stop()
	trimmed := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		e.checkDisk()
		e.checkStuck()
		if e.failure.Load() != nil {
			continue
		}
		if err := e.sweep(e.opt.Now(), false); err != nil && !errors.Is(err, errClosed) {
			e.opt.Logger.Warn("sweep", "error", err)
		}
		if e.journal.Durable() && time.Since(trimmed) > trimEvery {
			if err := e.trim(); err != nil {
				e.opt.Logger.Warn("trim the journal", "error", err)
			}
			trimmed = time.Now()
		}
	}
}

// trim lets the journal drop what the state has on stable storage.
func (e *Engine) trim() error {
	return e.read(func(v *view) error {
		err := v.inst.DB.Flush()
		if err == nil {
			err = v.inst.Err()
		}
		if err != nil {
			return err
		}
		return e.journal.Trim(v.state.pos)
	})
}

// Expire does what is due at now and returns when it is durable: messages
// expire, completed messages, idempotency keys, uplinks and clients that are
// past their time are removed. The engine does so by itself; see
// Options.SweepEvery.
func (e *Engine) Expire(now time.Time) error { return e.sweep(now, true) }

// sweep does one round; all says to look at every client at once.
func (e *Engine) sweep(now time.Time, all bool) error {
	e.sweepMu.Lock()
	defer e.sweepMu.Unlock()
	for _, step := range []func(v *view, now time.Time) ([]record.Event, error){
		(*view).dueMessages,
		e.oldMessages,
		e.oldKeys,
		e.oldUplinks,
		e.oldOrdinals,
	} {
		for {
			n, err := e.drive(func(v *view) ([]record.Event, error) { return step(v, now) })
			if err != nil {
				return err
			}
			if n > 0 { // expired messages are removed later, but that is no matter
				e.reclaimer.removed.Store(true)
			}
			if n < sweepBatch {
				break
			}
		}
	}
	if all {
		e.sweeper.client, e.sweeper.nextWalk = "", time.Time{}
	}
	for time.Now().After(e.sweeper.nextWalk) {
		if _, err := e.drive(func(v *view) ([]record.Event, error) { return e.unseenClients(v, now) }); err != nil || !all {
			return err
		}
	}
	return nil
}

// drive sends what find finds through the log, waits for it and returns how
// many events that were.
func (e *Engine) drive(find func(v *view) ([]record.Event, error)) (int, error) {
	var events []record.Event
	err := e.read(func(v *view) (err error) {
		events, err = find(v)
		return err
	})
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
		err = errors.Join(err, r.err)
		r.free()
	}
	return len(events), err
}

// dueMessages finds messages past their time.
func (v *view) dueMessages(now time.Time) (events []record.Event, err error) {
	to := key64(kindExpiry, uint64(now.UnixNano())+1)
	err = v.each([]byte{kindExpiry}, to, false, func(_, val []byte) (bool, error) {
		events = append(events, &record.Expire{ID: record.ParseID(val), At: now})
		return len(events) < sweepBatch, nil
	})
	return events, err
}

// oldMessages finds completed messages past their retention.
func (e *Engine) oldMessages(v *view, now time.Time) (events []record.Event, err error) {
	through := now.Add(-e.opt.StatusRetention)
	to := key64(kindRetention, uint64(through.UnixNano())+1)
	err = v.each([]byte{kindRetention}, to, false, func(k, _ []byte) (bool, error) {
		events = append(events, &record.ForgetMessage{ID: record.ParseID(k[9:]), Through: through})
		return len(events) < sweepBatch, nil
	})
	return events, err
}

func (e *Engine) oldKeys(v *view, now time.Time) (events []record.Event, err error) {
	to := key64(kindKeyAge, uint64(now.Add(-e.opt.IdempotencyRetention).UnixNano())+1)
	err = v.each([]byte{kindKeyAge}, to, false, func(k, _ []byte) (bool, error) {
		at := record.TimeOf(int64(tail64(k[:9])))
		events = append(events, &record.ForgetKey{Scoped: append([]byte(nil), k[9:]...), At: at})
		return len(events) < sweepBatch, nil
	})
	return events, err
}

// oldUplinks finds how far the uplinks are past their retention. One that is from
// the future was stored by a clock that was ahead: it goes with those after it.
func (e *Engine) oldUplinks(v *view, now time.Time) ([]record.Event, error) {
	before := now.Add(-e.opt.UplinkRetention)
	through, ahead, n := uint64(0), e.sweeper.uplink, 0
	err := v.each(key64(kindUplinkSeq, e.sweeper.uplink+1), []byte{kindUplinkSeq + 1}, false, func(k, val []byte) (bool, error) {
		useq := tail64(k)
		row := uplinkKey(gateway.ClientID(val), useq)
		raw, err := v.get(row)
		if err != nil {
			return false, err
		}
		u, err := decodeUplink(row, raw)
		n++
		switch {
		case err != nil:
			return false, err
		case u.At.After(now):
			ahead = useq
		case u.At.After(before):
			return false, nil
		default:
			through = useq
		}
		return n < maxRecordEvents, nil
	})
	if err != nil {
		return nil, err
	}
	if through == 0 {
		e.sweeper.uplink = ahead
		return nil, nil
	}
	return []record.Event{&record.ForgetUplinks{Through: through, Max: maxRecordEvents}}, nil
}

// oldOrdinals finds forgotten clients that no message can refer to any more.
func (e *Engine) oldOrdinals(v *view, now time.Time) (events []record.Event, err error) {
	before := now.Add(-gateway.MaxTTL - e.opt.StatusRetention)
	err = v.each([]byte{kindForgotten}, key64(kindForgotten, uint64(before.UnixNano())), false, func(k, _ []byte) (bool, error) {
		events = append(events, &record.ForgetOrdinal{Ord: record.Ordinal(tail32(k)), At: record.TimeOf(int64(tail64(k[:9])))})
		return len(events) < sweepBatch, nil
	})
	return events, err
}

// unseenClients finds clients to forget in the next part of the walk.
func (e *Engine) unseenClients(v *view, now time.Time) (events []record.Event, err error) {
	before := now.Add(-e.opt.ForgetAfter)
	n := 0
	from := append(clientKey(e.sweeper.client), 0)
	if e.sweeper.client == "" {
		from = []byte{kindClient}
	}
	err = v.each(from, []byte{kindClient + 1}, false, func(k, val []byte) (bool, error) {
		if n++; n > forgetSlice || len(events) == sweepBatch {
			return false, nil
		}
		e.sweeper.client = gateway.ClientID(k[1:])
		row, err := decodeClient(k, val)
		if err == nil && row.forgettable(before.UnixNano(), e.incarnation) {
			events = append(events, &record.ForgetClient{Client: e.sweeper.client, Before: before, At: now})
		}
		return true, err
	})
	if n <= forgetSlice && len(events) < sweepBatch { // the walk is at its end
		e.sweeper.client, e.sweeper.nextWalk = "", time.Now().Add(forgetEvery)
		e.sweeper.uplink = 0 // the clock may have reached them
	}
	return events, err
}
