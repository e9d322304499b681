package webhook

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

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

// manyLane begins the names of lanes of messages to many. No client has such an id.
const manyLane = "\x00"

// laneOf names the lane of an event.
func laneOf(ev *gateway.Event) string {
	if ev.Client != "" {
		return string(ev.Client)
	}
	return manyLane + string(ev.Message)
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
	wait := l.next
	if until := e.settleUntil(l, it); until.After(wait) { // which ends when the client is back
		wait = until
	}
	if wait.After(e.m.cfg.Now()) {
		e.wakeLocked(wait)
		return
	}
	l.busy = true
	e.ready = append(e.ready, l)
}

// settleUntil returns when the end of a connection may be sent; zero for now. If the
// client is back by then, both events are dropped.
func (e *endpoint) settleUntil(l *lane, it *item) time.Time {
	if e.hook.Settle == 0 || it.hurry || it.event.Type != gateway.EventClientDisconnected {
		return time.Time{}
	}
	until := it.event.At.Add(e.hook.Settle)
	if list, _ := l.returned(it, until); list != nil || until.Sub(e.m.cfg.Now()) > e.hook.Settle { // the clock was set back
		return time.Time{}
	}
	return until
}

// returned finds the connection with which a client is back after its end, up to a time. The
// list is nil if there is none.
func (l *lane) returned(end *item, until time.Time) (list *[]*item, at int) {
	for _, list := range []*[]*item{&l.scan, &l.queue} {
		at := slices.IndexFunc(*list, func(it *item) bool {
			return it.event.Type == gateway.EventClientConnected && it.event.Seq > end.event.Seq && !it.event.At.After(until)
		})
		if at >= 0 {
			return list, at
		}
	}
	return nil, 0
}

// returnedLocked removes the end of a connection and the next connection from a lane if the
// client was back within Settle.
func (e *endpoint) returnedLocked(l *lane) bool {
	it := l.head()
	if e.hook.Settle == 0 || it == nil || it.event.Type != gateway.EventClientDisconnected {
		return false
	}
	list, at := l.returned(it, it.event.At.Add(e.hook.Settle))
	if list == nil {
		return false
	}
	e.doneLocked((*list)[at])
	*list = slices.Concat((*list)[:at], (*list)[at+1:])
	e.popLocked(l)
	return true
}

// unaskedLocked removes the first item of a lane if it serves for Settle alone.
func (e *endpoint) unaskedLocked(l *lane) bool {
	it := l.head()
	if it == nil || !e.hook.unasked(&it.event) {
		return false
	}
	e.popLocked(l)
	return true
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

// clearLocked removes all items of a lane.
func (e *endpoint) clearLocked(l *lane) {
	for _, it := range slices.Concat(l.scan, l.queue) {
		e.doneLocked(it)
	}
	l.scan, l.queue = nil, nil
}

// doneLocked takes an item out of the endpoint's counts, and of the order.
func (e *endpoint) doneLocked(it *item) {
	if !e.leaveLocked(it) {
		e.reread--
	}
}
