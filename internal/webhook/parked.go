package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// parking is a client whose event has failed several times. Its events from First on
// are read from the log again.
type parking struct {
	First uint64    `json:"first"`
	Fails int       `json:"fails"`
	Since time.Time `json:"since"`
	Next  time.Time `json:"next"`

	scanned bool   // the scan under way is for it
	live    bool   // the scan has reached the endpoint's position
	read    uint64 // live: position of the scan; the dispatcher's events begin behind it
}

// unparkLocked ends a parking if all that was read again is delivered, and the
// dispatcher has come to the position of the scan.
func (e *endpoint) unparkLocked(key string, p *parking) {
	l := e.lanes[key]
	if p.live && (l == nil || len(l.scan) == 0) && e.positionLocked() >= p.read {
		delete(e.parked, key)
		e.touched[key] = true
	}
}

// parkLocked parks the client of a lane: it drops the events that wait, which are read again.
func (e *endpoint) parkLocked(l *lane, it *item, fails int, now time.Time) {
	since := l.since
	e.waiting -= len(l.scan) + len(l.queue)
	for _, q := range l.queue {
		q.done = true
	}
	l.scan, l.queue, l.fails, l.since, l.next = nil, nil, 0, time.Time{}, time.Time{}
	e.trimLocked()
	e.roomLocked()
	e.parked[l.key] = &parking{First: it.event.Seq, Fails: fails, Since: since, Next: now.Add(backoff(fails))}
	e.touched[l.key] = true
	e.changed = true
	e.wakeLocked(e.parked[l.key].Next)
}

// scanIfDueLocked starts a scan for the parked clients whose time has come. One scan
// serves all that are due within some seconds.
func (e *endpoint) scanIfDueLocked(now time.Time) {
	if e.scanning || len(e.parked) == 0 || e.health.down && len(e.lanes) > 0 { // while it is down one lane is enough to probe it
		return
	}
	var next time.Time
	from, due := ^uint64(0), 0
	for _, p := range e.parked {
		if p.live {
			continue
		}
		if p.Next.After(now) && p.Next.Sub(now) <= maxPause { // a later time is of another clock
			if next.IsZero() || p.Next.Before(next) {
				next = p.Next
			}
			continue
		}
		p.scanned = true
		due++
		from = min(from, p.First-1)
	}
	if due == 0 {
		if !next.IsZero() {
			e.wakeLocked(next)
		}
		return
	}
	e.scanning = true
	run, ctx, filter := e.run, e.ctx, e.filter
	e.m.readers.Go(func() {
		err := e.scan(ctx, filter, run, from)
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		if run != e.run {
			return
		}
		e.scanning = false
		for _, p := range e.parked {
			if p.scanned && !p.live && err != nil {
				p.Next = e.m.cfg.Now().Add(backoff(1))
			}
			p.scanned = false
		}
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, gateway.ErrClosed) {
			e.m.cfg.Logger.Warn("the events of parked clients cannot be read", "webhook", e.hook.ID, "cause", err)
		}
		e.pumpLocked()
	})
}

// scan reads the log behind from and gives the events of the scanned clients to their
// lanes. When it has come to the endpoint's position, the clients get their events from
// the dispatcher again.
func (e *endpoint) scan(ctx context.Context, filter *feed.Compiled, run uint64, from uint64) error {
	sub, err := e.subscribe(from)
	if err != nil {
		return err
	}
	for {
		e.m.mu.Lock()
		if run != e.run {
			e.m.mu.Unlock()
			return context.Canceled
		}
		if sub.Position() >= e.positionLocked() {
			e.scannedLocked(sub.Position())
			e.m.mu.Unlock()
			return nil
		}
		wait := e.fullLocked()
		e.m.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		events, err := sub.Next(ctx, make([]gateway.Event, 0, scanEvents))
		if errors.Is(err, gateway.ErrOverflow) {
			continue
		}
		if err == nil {
			events, err = wanted(filter, events)
		}
		if err != nil {
			return err
		}
		e.m.mu.Lock()
		if run == e.run {
			e.rereadLocked(events)
			e.pumpLocked()
		}
		e.m.mu.Unlock()
	}
}

// rereadLocked gives events to the lanes of scanned clients.
func (e *endpoint) rereadLocked(events []gateway.Event) {
	for i := range events {
		ev := &events[i]
		key := laneOf(ev)
		p := e.parked[key]
		if p == nil || !p.scanned || p.live || ev.Seq < p.First {
			continue
		}
		l := e.laneLocked(key)
		l.scan = append(l.scan, &item{event: *ev})
		e.waiting++
		e.offerLocked(l)
	}
}

// scannedLocked ends a scan that has read up to a number, at least the position.
func (e *endpoint) scannedLocked(read uint64) {
	for key, p := range e.parked {
		if p.scanned && !p.live {
			p.live, p.read = true, read
			e.unparkLocked(key, p)
		}
	}
}
