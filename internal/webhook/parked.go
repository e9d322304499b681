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
	Since time.Time `json:"since"` // the first failure
	Next  time.Time `json:"next"`
	// Failing is the time from the first failure to the last one, while a process has run:
	// after a restart the clock may not be that of Since.
	Failing time.Duration `json:"failing"`
	// Left is when the client has left, if the event numbered First says so and waits for
	// Settle. Back is the number of its return in time, which is not reported.
	Left time.Time `json:"left,omitzero"`
	Back uint64    `json:"back,omitempty"`

	began time.Time // the first failure, by the clock of this process

	scanned bool   // the scan under way is for it
	live    bool   // the scan has reached the endpoint's position
	read    uint64 // its events up to there are in its lane, or done
}

// Shares of one parked client in memory, in events: after a success or without a request,
// and after a failure.
const (
	laneShare = 64
	laneProbe = 2 // a disconnection, and the connection that may settle it
)

// hasRoomLocked reports whether a scan may read more for a parked client.
func (e *endpoint) hasRoomLocked(key string, p *parking) bool {
	n := 0
	if l := e.lanes[key]; l != nil {
		n = len(l.scan)
	}
	if p.Fails > 0 {
		return n == 0
	}
	return n <= laneShare/2
}

// spillLocked makes room in the order if the events of one client have a large part of
// it, or fail: the client's events are read from the log again, as those of a parked
// client, so that no other client's events wait for them.
func (e *endpoint) spillLocked() bool {
	if e.health.down {
		return false
	}
	if len(e.parked) >= maxParked {
		e.hurryLocked()
		return false
	}
	var l *lane
	for _, x := range e.lanes {
		if n := len(x.queue); n > maxTaken/4 || n > 1 && x.fails > 0 {
			if l == nil || n > len(l.queue) {
				l = x
			}
		}
	}
	if l == nil {
		return e.parkSettlingLocked()
	}
	if maxTaken+e.reread+e.reserved+laneProbe > maxWaiting {
		return false
	}
	p := e.parked[l.key]
	if p == nil {
		p = &parking{First: l.head().event.Seq, Fails: l.fails, Since: l.since, began: l.since}
		e.parked[l.key] = p
	}
	for _, it := range l.queue {
		e.leaveLocked(it)
		if len(l.scan) < laneProbe {
			l.scan = append(l.scan, it)
			e.reread++
		}
	}
	l.queue = nil
	p.live, p.read, p.Next = false, l.scan[len(l.scan)-1].event.Seq, e.m.cfg.Now()
	e.touched[l.key] = true
	e.scanAt = time.Time{}
	return true
}

// parkSettlingLocked parks the clients whose disconnection waits for Settle. After a mass
// disconnection these take the whole order, and no other client's events would have room.
func (e *endpoint) parkSettlingLocked() (some bool) {
	if e.hook.Settle == 0 {
		return false
	}
	now := e.m.cfg.Now()
	for key, l := range e.lanes {
		if l.busy || len(l.queue) == 0 || e.parked[key] != nil || len(e.parked) >= maxParked {
			continue
		}
		until := e.settleUntil(l, l.queue[0])
		if !until.After(now) {
			continue
		}
		for _, it := range l.queue {
			e.leaveLocked(it)
		}
		first := &l.queue[0].event
		e.parked[key] = &parking{First: first.Seq, Next: e.settledAt(until), Left: first.At}
		e.touched[key] = true
		delete(e.lanes, key)
		some = true
	}
	if some {
		e.scanAt = time.Time{}
	}
	return some
}

// backLocked notes that a parked client is back within Settle. The webhook reports neither its
// end nor its return, and a scan reads its other events at once.
func (e *endpoint) backLocked(key string, p *parking, ev *gateway.Event) {
	if ev.Type != gateway.EventClientConnected || p.Left.IsZero() || p.scanned || p.read > 0 || ev.At.After(p.Left.Add(e.hook.Settle)) {
		return
	}
	p.First, p.Back, p.Left, p.Next = p.First+1, ev.Seq, time.Time{}, time.Time{}
	e.touched[key], e.scanAt = true, time.Time{}
}

// parkAgainLocked makes room for a scan: parked clients that have left again, and may come
// back, are read again later.
func (e *endpoint) parkAgainLocked() {
	now := e.m.cfg.Now()
	for key, l := range e.lanes {
		p := e.parked[key]
		if p == nil || l.busy || len(l.scan) == 0 {
			continue
		}
		until := e.settleUntil(l, l.scan[0])
		if !until.After(now) {
			continue
		}
		first := &l.scan[0].event
		q := &parking{First: first.Seq, Next: e.settledAt(until), Left: first.At}
		if !p.live { // the log may have its return
			q.Next, q.Left, q.Back = e.settledAt(now), time.Time{}, p.Back
		}
		e.clearLocked(l)
		e.leaveScanLocked(p)
		e.parked[key], e.touched[key] = q, true
		delete(e.lanes, key)
	}
}

// hurryLocked sends disconnections that wait for Settle at once: no more clients can be
// parked, and a client that is back too late for that is better than others that wait.
func (e *endpoint) hurryLocked() {
	now := e.m.cfg.Now()
	for _, l := range e.lanes {
		if !l.busy && len(l.queue) > 0 && e.settleUntil(l, l.queue[0]).After(now) {
			l.queue[0].hurry = true
			e.offerLocked(l)
		}
	}
	e.pumpLocked()
}

// settledAt returns when a client is read again whose disconnection waits until a time: up to
// a tenth of Settle later, so that one scan serves many clients.
func (e *endpoint) settledAt(until time.Time) time.Time {
	step := max(time.Second, e.hook.Settle/10)
	return until.Add(step - time.Duration(until.UnixNano()%int64(step)))
}

// setAsideLocked parks the clients whose events wait in the order, if an event behind the first
// of these was delivered. So the mark passes all of them, and no delivered event is sent again.
// It is called at the end of a run and of the process.
func (e *endpoint) setAsideLocked() {
	first := e.firstLocked()
	if first == nil || e.passed <= first.event.Seq || len(e.parked)+len(e.lanes) > maxParked {
		return
	}
	for key, l := range e.lanes {
		if len(l.queue) == 0 {
			continue
		}
		p := e.parked[key]
		if p == nil {
			p = &parking{First: l.head().event.Seq, Fails: l.fails, Since: l.since, began: l.since}
			if until := e.settleUntil(l, l.head()); !until.IsZero() {
				p.Next, p.Left = e.settledAt(until), l.head().event.At
			}
			if !l.since.IsZero() {
				p.Failing = e.m.cfg.Now().Sub(l.since)
			}
			e.parked[key] = p
		}
		p.live, p.read = false, 0
		e.touched[key] = true
	}
	e.order.Init()
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
	q := &parking{First: it.event.Seq, Fails: fails, Since: l.since, Failing: now.Sub(l.since), began: l.since}
	e.clearLocked(l)
	l.fails, l.since, l.next = 0, time.Time{}, time.Time{}
	e.roomLocked()
	if p := e.parked[l.key]; p != nil {
		e.leaveScanLocked(p)
		q.Since, q.Back = p.Since, p.Back
	}
	next := nextTry(now, fails)
	q.Next = next
	e.parked[l.key] = q
	e.touched[l.key] = true
	if next.Before(e.scanAt) {
		e.scanAt = next
	}
	e.wakeLocked(next)
}

// nextTry returns when a client is tried again after n failures in a row: at the end of a
// second, because one scan serves all clients of a second. A step of the wall clock does
// not change how long that is: a truncated time would have lost its monotonic reading.
func nextTry(now time.Time, n int) time.Time {
	next := now.Add(backoff(n))
	return next.Add(time.Second - time.Duration(next.Nanosecond()))
}

// longestPause bounds the time from now to parking.Next: that of nextTry or of settledAt.
func (e *endpoint) longestPause(p *parking) time.Duration {
	return time.Second + max(longestBackoff(p.Fails), e.hook.Settle+e.hook.Settle/10)
}

// leaveScanLocked takes a client out of the scan under way.
func (e *endpoint) leaveScanLocked(p *parking) {
	if p.scanned {
		p.scanned = false
		e.scanned--
	}
}

// scanIfDueLocked starts a scan for the parked clients whose time has come, and for those
// whose lanes have room again.
func (e *endpoint) scanIfDueLocked(now time.Time) {
	if e.scanning || len(e.parked) == 0 || e.health.down && len(e.lanes) > 0 { // while it is down one lane is enough to probe it
		return
	}
	if now.Before(e.scanAt) && e.scanAt.Sub(now) <= maxPause {
		e.wakeLocked(e.scanAt)
		return
	}
	var next time.Time
	from, tried := ^uint64(0), map[uint64]bool{}
	e.scanned = 0
	for key, p := range e.parked {
		if p.live || !e.hasRoomLocked(key, p) {
			continue
		}
		if p.Next.After(now) && p.Next.Sub(now) <= e.longestPause(p) { // a later time is of another clock
			if next.IsZero() || p.Next.Before(next) {
				next = p.Next
			}
			continue
		}
		p.scanned = true
		e.scanned++
		from = min(from, max(p.First-1, p.read))
		if p.Fails > 0 {
			tried[p.First] = true
		}
	}
	if e.scanned == 0 {
		if e.scanAt = now.Add(maxPause); !next.IsZero() {
			e.scanAt = next
		}
		e.wakeLocked(e.scanAt)
		return
	}
	e.scanning = true
	run, ctx, filter := e.run, e.ctx, e.filter
	e.m.readers.Go(func() {
		err := e.scan(ctx, filter, run, from, tried)
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		if run != e.run {
			return
		}
		e.scanning, e.reserved, e.scanAt = false, 0, time.Time{}
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
// the dispatcher again. It ends early when a lane has its share. The next scan starts at
// that position, so that a backlog is read once and not once for each share. The events
// numbered tried were sent before.
func (e *endpoint) scan(ctx context.Context, filter *feed.Compiled, run, from uint64, tried map[uint64]bool) error {
	sub, err := e.subscribe(from)
	if err != nil {
		return err
	}
	buf := make([]gateway.Event, 0, rereadOnce)
	for {
		e.m.mu.Lock()
		if run != e.run {
			e.m.mu.Unlock()
			return context.Canceled
		}
		if sub.Position() >= e.positionLocked() {
			e.scannedLocked(sub.Position())
		}
		if e.scanned == 0 {
			e.m.mu.Unlock()
			return nil
		}
		wait := e.reserveLocked()
		e.m.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		events, err := e.read(ctx, sub, buf, func(events []gateway.Event) ([]gateway.Event, error) {
			return selectRetried(filter, tried, events)
		})
		if err != nil {
			return err
		}
		e.m.mu.Lock()
		if run == e.run {
			e.reserved = 0
			e.rereadLocked(events)
			e.pumpLocked()
		}
		e.m.mu.Unlock()
	}
}

// selectRetried is filter.Select. It has selected the events numbered tried before: they stay,
// although their clients may have other groups and labels by now.
func selectRetried(filter *feed.Compiled, tried map[uint64]bool, events []gateway.Event) (kept []gateway.Event, err error) {
	for i := range events {
		wanted := tried[events[i].Seq] && filter.Names(&events[i])
		if !wanted {
			if wanted, err = filter.Wants(&events[i]); err != nil {
				return nil, err
			}
		}
		if wanted {
			kept = append(kept, events[i])
		}
	}
	return kept, nil
}

// rereadLocked gives events to the lanes of scanned clients.
func (e *endpoint) rereadLocked(events []gateway.Event) {
	for i := range events {
		ev := &events[i]
		key := laneOf(ev)
		p := e.parked[key]
		if p == nil || !p.scanned || p.live || ev.Seq < p.First || ev.Seq <= p.read || ev.Seq == p.Back {
			continue
		}
		l := e.laneLocked(key)
		switch {
		case p.Fails > 0 && len(l.scan) >= laneProbe:
			e.leaveScanLocked(p)
			continue
		case len(l.scan) >= laneShare:
			e.endScanLocked(ev.Seq - 1)
			return
		}
		l.scan = append(l.scan, &item{event: *ev})
		p.read = ev.Seq
		e.reread++
		e.offerLocked(l)
	}
}

// endScanLocked ends a scan. The next scan for its clients starts at the position.
func (e *endpoint) endScanLocked(at uint64) {
	for _, p := range e.parked {
		if p.scanned && !p.live {
			p.read = max(p.read, at)
			e.leaveScanLocked(p)
		}
	}
}

// scannedLocked ends a scan that has read up to a number, at least the position.
func (e *endpoint) scannedLocked(read uint64) {
	for key, p := range e.parked {
		if p.scanned && !p.live {
			p.live, p.read = true, read
			e.leaveScanLocked(p)
			e.unparkLocked(key, p)
		}
	}
}
