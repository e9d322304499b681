package webhook

import (
	"container/list"
	"context"
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

const scanEvents = 256 // read at once

// item is an event that waits for its request.
type item struct {
	event gateway.Event
	place *list.Element // in the order; nil = it is not there
	hurry bool          // it does not wait for Settle
}

// endpoint delivers to one webhook. All fields are guarded by Manager.mu.
type endpoint struct {
	m         *Manager
	hook      Webhook
	filter    *feed.Compiled // of Manager.compile; fixed during a run
	transport http.RoundTripper
	behind    bool   // the dispatcher passes it over: it is paused, or reads the log itself
	at        uint64 // while behind: the position up to which it has taken events

	run       uint64          // rises with each change of the webhook; requests of an earlier run count no more
	ctx       context.Context // of the run
	cancel    context.CancelFunc
	order     list.List // of the *items taken and not done, by rising numbers
	passed    uint64    // highest number of an item of the order that was delivered, or given up
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
	byHand    bool          // a test or a redelivery is under way
	reading   bool          // a catch-up reader is under way
	room      chan struct{} // closed when it has room; nil while it does not need it
	wakeAt    time.Time
	timer     *time.Timer
	touched   map[string]bool // parkings to be written
	stored    cursor
	doubtful  bool         // the store may have another cursor than stored
	unwritten bool         // the store may have another entry of the webhook
	dead      []DeadLetter // to be written
	buried    []grave      // written ones, oldest first
	health    health
	attempts  attempts
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
	if first := e.firstLocked(); first != nil {
		return first.event.Seq - 1
	}
	return e.positionLocked()
}

// firstLocked returns the first item of the order; nil for none.
func (e *endpoint) firstLocked() *item {
	if first := e.order.Front(); first != nil {
		return first.Value.(*item)
	}
	return nil
}

// leaveLocked takes an item out of the order, also if an earlier one takes long. It reports
// whether it was there.
func (e *endpoint) leaveLocked(it *item) bool {
	if it.place == nil {
		return false
	}
	e.order.Remove(it.place)
	it.place = nil
	return true
}

// waitingLocked returns how many events are in memory.
func (e *endpoint) waitingLocked() int { return e.order.Len() + e.reread }

// takeLocked takes an event that the endpoint wants.
func (e *endpoint) takeLocked(ev *gateway.Event) {
	key := laneOf(ev)
	if p := e.parked[key]; p != nil && (!p.live || ev.Seq <= p.read) {
		e.backLocked(key, p, ev)
		return // it is read again, or was
	}
	it := &item{event: *ev}
	it.place = e.order.PushBack(it)
	l := e.laneLocked(key)
	l.queue = append(l.queue, it)
	e.offerLocked(l)
}

// roomLocked wakes the readers if there is room for them.
func (e *endpoint) roomLocked() {
	if e.room != nil && e.order.Len() <= maxTaken/2 {
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
		a := e.deliver(r.ctx, &r.hook, &r.item.event, r.try, false)
		e.m.mu.Lock()
		e.m.requestedLocked(&r.hook, -1)
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
	for e.inflight < most && len(e.ready) > 0 && e.m.mayRequestLocked(e) {
		l := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		l.busy = false
		for e.returnedLocked(l) || e.unaskedLocked(l) {
		}
		it := l.head()
		if it == nil || e.settleUntil(l, it).After(now) {
			e.offerLocked(l)
			continue
		}
		l.busy = true
		e.inflight++
		e.m.requestedLocked(&e.hook, 1)
		return &request{ctx: e.ctx, run: e.run, hook: e.hook, lane: l, item: it, try: l.fails + 1}
	}
	return nil
}

// mayRequestLocked reports whether an endpoint may have one more request under way. Each may
// have one. Beyond that all share Config.Requests, of which those with one limit may have as
// many as are free: each request has a socket and memory, which an endpoint that does not
// answer would take from devices and callers. An endpoint that may not asks again when its
// request is answered.
func (m *Manager) mayRequestLocked(e *endpoint) bool {
	free := m.cfg.Requests - m.underWay
	return e.inflight == 0 || free > 0 && (e.hook.Limit.None() || m.byOwner[e.hook.Limit.Owner()] < free)
}

// requestedLocked counts n more requests of a webhook.
func (m *Manager) requestedLocked(w *Webhook, n int) {
	m.underWay += n
	if w.Limit.None() {
		return
	}
	owner := w.Limit.Owner()
	if m.byOwner[owner] += n; m.byOwner[owner] == 0 {
		delete(m.byOwner, owner)
	}
}

// fullLocked returns nil if the endpoint has room for one read of its catch-up reader,
// else a channel that is closed later.
func (e *endpoint) fullLocked() <-chan struct{} {
	for e.order.Len()+scanEvents > maxTaken {
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
	if e.reread+rereadOnce > maxReread {
		e.parkAgainLocked()
	}
	if e.reread+rereadOnce <= maxReread {
		e.reserved = rereadOnce
		return nil
	}
	if e.scanRoom == nil {
		e.scanRoom = make(chan struct{})
	}
	return e.scanRoom
}
