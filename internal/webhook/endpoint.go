package webhook

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// Shares of the events of an endpoint in memory. The rest of maxWaiting is for lanes that
// were spilled.
const (
	maxWaiting = 1000
	maxTaken   = 650 // in order; beyond them the endpoint is behind
	maxReread  = 250 // of parked clients, read again
	rereadOnce = 125
)

const (
	parkAfter     = 3 // failures of an event
	maxParked     = 10_000
	downAfter     = time.Minute        // without a success, while requests fail
	disabledAfter = 5 * 24 * time.Hour // likewise
	scanEvents    = 256                // read at once
)

// maxPause is longer than each pause before a retry.
const maxPause = 2 * time.Hour

// backoff returns the pause after n failures in a row, within 20 % of a step.
func backoff(n int) time.Duration {
	steps := [...]time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	d := steps[min(max(n, 1), len(steps))-1]
	return d*4/5 + rand.N(d*2/5)
}

// endpoint delivers to one webhook. All fields are guarded by Manager.mu.
type endpoint struct {
	m      *Manager
	hook   Webhook
	filter *feed.Compiled // fixed during a run
	http   *http.Client
	behind bool   // the dispatcher passes it over: it is paused, or reads the log itself
	at     uint64 // while behind: the position up to which it has taken events

	run       uint64          // rises with each change of the webhook; requests of an earlier run count no more
	ctx       context.Context // of the run
	cancel    context.CancelFunc
	order     order
	lanes     map[string]*lane
	ready     []*lane
	inflight  int
	parked    map[string]*parking
	reread    int           // items of lanes' scans
	scanning  bool          // a scan is under way
	scanned   int           // parked clients that it reads for
	reserved  int           // items that it is about to add
	scanAt    time.Time     // no parked client is due before; zero = not known
	scanRoom  chan struct{} // closed when the scan has room; nil while it does not need it
	replaying bool
	reading   bool          // a catch-up reader is under way
	room      chan struct{} // closed when it has room; nil while it does not need it
	wakeAt    time.Time
	timer     *time.Timer
	changed   bool            // the cursor is to be written
	touched   map[string]bool // parkings to be written
	stored    cursor
	dead      []DeadLetter // to be written
	buried    []uint64     // numbers of the events of written ones, oldest first
	health    health
	attempts  attempts
}

// lane has the waiting events of one client, or of one message to many, in order.
type lane struct {
	key   string
	scan  []*item // of a parked client, read again; they come before queue
	queue []*item // of the order
	busy  bool    // a request is under way, or the lane is in ready
	next  time.Time
	fails int       // of the first item
	since time.Time // of its first failure
}

func (l *lane) head() *item {
	switch {
	case len(l.scan) > 0:
		return l.scan[0]
	case len(l.queue) > 0:
		return l.queue[0]
	}
	return nil
}

// health is how the endpoint answers.
type health struct {
	LastSuccess time.Time
	failing     time.Time // when the failures since the last success began
	fails       int
	hold        time.Time // no request before
	down        bool
	missed      uint64 // numbers of the log that were forgotten before they were read
	lost        uint64 // position up to which they are counted
}

// manyLane begins the names of lanes of messages to many. No client has such an id.
const manyLane = "\x00"

// laneOf names the lane of an event.
func laneOf(ev *gateway.Event) string {
	if ev.Client != "" {
		return string(ev.Client)
	}
	return manyLane + string(ev.Message)
}

// positionLocked returns the position up to which the endpoint has taken events. A new
// one may be ahead of the dispatcher, which has been idle.
func (e *endpoint) positionLocked() uint64 {
	if e.behind {
		return e.at
	}
	return max(e.at, e.m.position)
}

// markLocked returns the position up to which everything is done but for the parked.
func (e *endpoint) markLocked() uint64 {
	if e.order.first != nil {
		return e.order.first.event.Seq - 1
	}
	return e.positionLocked()
}

// waitingLocked returns how many events are in memory.
func (e *endpoint) waitingLocked() int { return e.order.n + e.reread }

// wanted returns the events that a filter selects. At an event that
// cannot be judged it returns the error: the caller reads the event again, because the
// event may be another tenant's.
func wanted(filter *feed.Compiled, events []gateway.Event) ([]gateway.Event, error) {
	kept := events[:0]
	for i := range events {
		ok, err := filter.Wants(&events[i])
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, events[i])
		}
	}
	return kept, nil
}

// takeLocked takes an event that the endpoint wants.
func (e *endpoint) takeLocked(ev *gateway.Event) {
	key := laneOf(ev)
	if p := e.parked[key]; p != nil && (!p.live || ev.Seq <= p.read) {
		return // it is read again, or was
	}
	it := &item{event: *ev}
	e.order.add(it)
	e.changed = true
	l := e.laneLocked(key)
	l.queue = append(l.queue, it)
	e.offerLocked(l)
}

func (e *endpoint) laneLocked(key string) *lane {
	l := e.lanes[key]
	if l == nil {
		l = &lane{key: key}
		e.lanes[key] = l
	}
	return l
}

// offerLocked makes a lane ready if it has something to send now.
func (e *endpoint) offerLocked(l *lane) {
	if l.busy {
		return
	}
	it := l.head()
	if it == nil {
		delete(e.lanes, l.key)
		return
	}
	if until := e.settleUntil(l, it); until.After(l.next) {
		l.next = until
	}
	if wait := l.next; wait.After(e.m.cfg.Now()) {
		e.wakeLocked(wait)
		return
	}
	l.busy = true
	e.ready = append(e.ready, l)
}

// settleUntil returns when the end of a connection may be sent; zero for now. If the
// client is back by then, both events are dropped.
func (e *endpoint) settleUntil(l *lane, it *item) time.Time {
	if e.hook.Settle == 0 || it.event.Type != gateway.EventClientDisconnected {
		return time.Time{}
	}
	until := it.event.At.Add(e.hook.Settle)
	for _, list := range [][]*item{l.scan, l.queue} {
		for _, back := range list {
			if back.event.Type == gateway.EventClientConnected && back.event.Seq > it.event.Seq && !back.event.At.After(until) {
				return time.Time{}
			}
		}
	}
	if until.Sub(e.m.cfg.Now()) > e.hook.Settle {
		return time.Time{} // the clock was set back
	}
	return until
}

// returned removes the end of a connection and the next connection from a lane if the
// client was back within Settle.
func (e *endpoint) returnedLocked(l *lane) bool {
	it := l.head()
	if e.hook.Settle == 0 || it == nil || it.event.Type != gateway.EventClientDisconnected {
		return false
	}
	until := it.event.At.Add(e.hook.Settle)
	for _, list := range []*[]*item{&l.scan, &l.queue} {
		for i, back := range *list {
			if back.event.Type == gateway.EventClientConnected && back.event.Seq > it.event.Seq && !back.event.At.After(until) {
				e.doneLocked(back)
				*list = append((*list)[:i:i], (*list)[i+1:]...)
				e.popLocked(l)
				return true
			}
		}
	}
	return false
}

// popLocked removes the first item of a lane, which is done.
func (e *endpoint) popLocked(l *lane) {
	list := &l.scan
	if len(l.scan) == 0 {
		list = &l.queue
	}
	e.doneLocked((*list)[0])
	(*list)[0] = nil // frees the event
	*list = (*list)[1:]
	l.fails, l.since, l.next = 0, time.Time{}, time.Time{}
	if p := e.parked[l.key]; p != nil && !p.live && e.hasRoomLocked(l.key, p) {
		e.scanAt = time.Time{}
	}
	e.roomLocked()
}

// doneLocked takes an item out of the endpoint's counts, and of the order.
func (e *endpoint) doneLocked(it *item) {
	if !e.order.remove(it) {
		e.reread--
		return
	}
	e.changed = true
}

// roomLocked wakes the readers if there is room for them.
func (e *endpoint) roomLocked() {
	if e.room != nil && e.order.n <= maxTaken/2 {
		close(e.room)
		e.room = nil
	}
	if e.scanRoom != nil && e.reread <= maxReread/2 {
		close(e.scanRoom)
		e.scanRoom = nil
	}
}

// wakeLocked has the endpoint look again at a time.
func (e *endpoint) wakeLocked(at time.Time) {
	if !e.wakeAt.IsZero() && !at.Before(e.wakeAt) {
		return
	}
	e.wakeAt = at
	if e.timer != nil {
		e.timer.Stop()
	}
	run := e.run
	e.timer = time.AfterFunc(max(0, at.Sub(e.m.cfg.Now())), func() {
		e.m.mu.Lock()
		defer e.m.mu.Unlock()
		if e.run == run {
			e.wakeAt = time.Time{}
			for _, l := range e.lanes {
				e.offerLocked(l)
			}
			e.pumpLocked()
		}
	})
}

// request is one that is about to be sent, or under way.
type request struct {
	ctx  context.Context
	run  uint64
	hook Webhook
	lane *lane
	item *item
	try  int
}

// pumpLocked starts requests, as many as may be under way.
func (e *endpoint) pumpLocked() {
	for {
		r := e.nextLocked()
		if r == nil {
			break
		}
		e.m.requests.Go(func() { e.send(r) })
	}
	if now := e.m.cfg.Now(); e.maySendLocked(now) {
		e.scanIfDueLocked(now)
	}
}

// send sends a request and then the next ones, until there is none: a goroutine that has
// grown its stack costs less than a new one.
func (e *endpoint) send(r *request) {
	for r != nil {
		a := e.m.deliver(r.ctx, e.http, &r.hook, &r.item.event, r.try, false)
		e.m.mu.Lock()
		e.answeredLocked(r, a)
		r = e.nextLocked()
		e.pumpLocked()
		e.m.mu.Unlock()
	}
}

// maySendLocked reports whether the endpoint is to get requests now.
func (e *endpoint) maySendLocked(now time.Time) bool {
	if e.hook.Condition() != Active || e.m.closed {
		return false
	}
	if e.health.hold.After(now) {
		e.wakeLocked(e.health.hold)
		return false
	}
	return true
}

// nextLocked returns the next request to be sent; nil for none.
func (e *endpoint) nextLocked() *request {
	now := e.m.cfg.Now()
	if len(e.ready) == 0 || !e.maySendLocked(now) {
		return nil
	}
	most := e.hook.Concurrency
	if e.health.down {
		most = 1
	}
	for e.inflight < most && len(e.ready) > 0 {
		l := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		l.busy = false
		for e.returnedLocked(l) {
		}
		it := l.head()
		if it == nil || e.settleUntil(l, it).After(now) {
			e.offerLocked(l)
			continue
		}
		l.busy = true
		e.inflight++
		return &request{ctx: e.ctx, run: e.run, hook: e.hook, lane: l, item: it, try: l.fails + 1}
	}
	return nil
}

// answeredLocked notes the answer to a request.
func (e *endpoint) answeredLocked(r *request, a answer) {
	now, l, it := e.m.cfg.Now(), r.lane, r.item
	e.attempts.add(a.Attempt, len(e.m.endpoints))
	if a.ok {
		e.m.delivered++
	} else {
		e.m.failed++
	}
	if r.run != e.run {
		return // the webhook was changed since; the event is sent again
	}
	e.inflight--
	l.busy = false
	h := &e.health
	switch {
	case a.ok:
		if h.down {
			h.hold = time.Time{}
		}
		h.LastSuccess, h.failing, h.fails, h.down = now, time.Time{}, 0, false
		e.deliveredLocked(l, it)
	case a.gone:
		h.failing = now
		e.m.disableLocked(e, Gone, "the endpoint has answered 410 Gone")
		return
	case e.m.closed:
	default:
		if e.failedLocked(l, it, a, now) {
			return
		}
	}
	e.offerLocked(l)
}

// deliveredLocked removes an event that was delivered, or given up.
func (e *endpoint) deliveredLocked(l *lane, it *item) {
	p := e.parked[l.key]
	e.popLocked(l)
	if p == nil {
		return
	}
	p.First, p.Fails, p.Since = it.event.Seq+1, 0, time.Time{}
	e.touched[l.key] = true
	if !p.live && e.hasRoomLocked(l.key, p) {
		e.scanAt = time.Time{}
	}
	e.unparkLocked(l.key, p)
}

// failedLocked decides what happens after a failure. It returns true if the webhook is
// disabled.
func (e *endpoint) failedLocked(l *lane, it *item, a answer, now time.Time) bool {
	h := &e.health
	if h.failing.IsZero() {
		h.failing = now
	}
	h.fails++
	if now.Sub(h.failing) >= disabledAfter {
		e.m.disableLocked(e, NoSuccess, "no request has succeeded for five days")
		return true
	}
	if now.Sub(h.failing) >= downAfter {
		h.down = true
	}
	if a.retryAfter > 0 {
		h.hold = now.Add(a.retryAfter)
	}
	if h.down {
		if pause := now.Add(backoff(h.fails)); pause.After(h.hold) {
			h.hold = pause
		}
		return false
	}
	l.fails++
	if l.since.IsZero() {
		l.since = now
	}
	p := e.parked[l.key]
	if p != nil {
		if p.Since.IsZero() {
			p.Since = now
		}
		l.since = p.Since
	}
	if now.Sub(l.since) >= e.hook.RetryFor {
		e.m.deadLetters++
		e.dead = append(e.dead, DeadLetter{Event: it.event.Seq, Type: it.event.Type, Client: it.event.Client, At: now,
			Error: a.Error, Status: a.Status, ID: a.id, Body: a.body})
		e.changed = true
		e.deliveredLocked(l, it)
		return false
	}
	switch {
	case p != nil:
		e.parkLocked(l, it, p.Fails+1, now)
	case l.fails >= parkAfter && len(e.parked) < maxParked:
		e.parkLocked(l, it, l.fails, now)
	default:
		l.next = now.Add(backoff(l.fails))
		if e.room != nil && e.spillLocked() {
			e.roomLocked()
		}
	}
	return false
}

// fullLocked returns nil if the endpoint has room for one read of its catch-up reader,
// else a channel that is closed later.
func (e *endpoint) fullLocked() <-chan struct{} {
	for e.order.n+scanEvents > maxTaken {
		if e.spillLocked() {
			continue
		}
		if e.room == nil {
			e.room = make(chan struct{})
		}
		return e.room
	}
	return nil
}

// reserveLocked reserves room for one read of a scan and returns nil, or returns a channel
// that is closed when there is room.
func (e *endpoint) reserveLocked() <-chan struct{} {
	if e.reread+rereadOnce <= maxReread {
		e.reserved = rereadOnce
		return nil
	}
	if e.scanRoom == nil {
		e.scanRoom = make(chan struct{})
	}
	return e.scanRoom
}
