package deviceauth

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Bounds of the list of refused devices.
const (
	maxRefused          = 1000
	maxRefusedPerSource = 100 // so that one source cannot push out the entries of others
)

// refusedList is the bounded list of refused devices: one entry per id, at most
// maxRefusedPerSource per source. A new entry in a full list replaces the oldest
// entry of the source that has most.
type refusedList struct {
	mu       sync.Mutex
	byID     map[gateway.ClientID]*list.Element
	order    *list.List // of *refusedEntry, the latest first
	bySource map[netip.Addr]int
}

type refusedEntry struct {
	gateway.RefusedRegistration
	source netip.Addr
}

func newRefusedList() refusedList {
	return refusedList{byID: make(map[gateway.ClientID]*list.Element), order: list.New(), bySource: make(map[netip.Addr]int)}
}

func (l *refusedList) add(h *gateway.Hello, source netip.Addr, why Reason, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[h.Client]
	if !ok {
		l.makeRoom(source)
		e = l.order.PushFront(&refusedEntry{RefusedRegistration: gateway.RefusedRegistration{Client: h.Client, FirstAt: now}, source: source})
		l.byID[h.Client] = e
		l.bySource[source]++
	}
	x := e.Value.(*refusedEntry)
	x.Count++
	x.LastAt, x.Remote, x.Dialect, x.Reason = now, h.Remote, h.Dialect, string(why)
	l.order.MoveToFront(e)
}

// makeRoom makes room for one entry from source.
func (l *refusedList) makeRoom(source netip.Addr) {
	switch {
	case l.bySource[source] >= maxRefusedPerSource:
		l.dropOldest(source)
	case l.order.Len() >= maxRefused:
		most := source
		for s, n := range l.bySource {
			if n > l.bySource[most] {
				most = s
			}
		}
		l.dropOldest(most)
	}
}

func (l *refusedList) dropOldest(source netip.Addr) {
	for e := l.order.Back(); e != nil; e = e.Prev() {
		if e.Value.(*refusedEntry).source == source {
			l.remove(e)
			return
		}
	}
}

func (l *refusedList) remove(e *list.Element) {
	x := l.order.Remove(e).(*refusedEntry)
	delete(l.byID, x.Client)
	if l.bySource[x.source]--; l.bySource[x.source] == 0 {
		delete(l.bySource, x.source)
	}
}

// forget removes a device that was admitted.
func (l *refusedList) forget(id gateway.ClientID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byID[id]; ok {
		l.remove(e)
	}
}

func (l *refusedList) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.order.Len()
}

// Refusal returns the refusals of one device; ok is false if none is kept.
func (a *Authenticator) Refusal(id gateway.ClientID) (r gateway.RefusedRegistration, ok bool) {
	l := &a.refused
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[id]
	if !ok {
		return r, false
	}
	return e.Value.(*refusedEntry).RefusedRegistration, true
}

// Refused returns the devices that were refused, in the order of their ids.
func (a *Authenticator) Refused() []gateway.RefusedRegistration {
	l := &a.refused
	l.mu.Lock()
	list := make([]gateway.RefusedRegistration, 0, l.order.Len())
	for _, e := range l.byID {
		list = append(list, e.Value.(*refusedEntry).RefusedRegistration)
	}
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b gateway.RefusedRegistration) int { return cmp.Compare(a.Client, b.Client) })
	return list
}
