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
	maxKnocks          = 1000
	maxKnocksPerSource = 100 // so that one place cannot push out what others have left
)

// knocks is the bounded list: per id one entry, per source at most
// maxKnocksPerSource. When it is full the source that has most of it loses the
// one that it has tried least recently.
type knocks struct {
	mu       sync.Mutex
	byID     map[gateway.ClientID]*list.Element
	order    *list.List // of *knocking, the latest first
	bySource map[netip.Addr]int
}

type knocking struct {
	gateway.Knock
	source netip.Addr
}

func newKnocks() knocks {
	return knocks{byID: make(map[gateway.ClientID]*list.Element), order: list.New(), bySource: make(map[netip.Addr]int)}
}

func (k *knocks) add(h *gateway.Hello, source netip.Addr, why Reason, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.byID[h.Client]
	if !ok {
		k.makeRoom(source)
		e = k.order.PushFront(&knocking{Knock: gateway.Knock{Client: h.Client, FirstAt: now}, source: source})
		k.byID[h.Client] = e
		k.bySource[source]++
	}
	x := e.Value.(*knocking)
	x.Count++
	x.LastAt, x.Remote, x.Dialect, x.Reason = now, h.Remote, h.Dialect, string(why)
	k.order.MoveToFront(e)
}

// makeRoom for one more entry from source.
func (k *knocks) makeRoom(source netip.Addr) {
	switch {
	case k.bySource[source] >= maxKnocksPerSource:
		k.dropOldest(source)
	case k.order.Len() >= maxKnocks:
		most := source
		for s, n := range k.bySource {
			if n > k.bySource[most] {
				most = s
			}
		}
		k.dropOldest(most)
	}
}

func (k *knocks) dropOldest(source netip.Addr) {
	for e := k.order.Back(); e != nil; e = e.Prev() {
		if e.Value.(*knocking).source == source {
			k.remove(e)
			return
		}
	}
}

func (k *knocks) remove(e *list.Element) {
	x := k.order.Remove(e).(*knocking)
	delete(k.byID, x.Client)
	if k.bySource[x.source]--; k.bySource[x.source] == 0 {
		delete(k.bySource, x.source)
	}
}

// forget drops a device that was let in.
func (k *knocks) forget(id gateway.ClientID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.byID[id]; ok {
		k.remove(e)
	}
}

func (k *knocks) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.order.Len()
}

// Knocks returns the devices that were refused, in the order of their ids.
func (a *Authenticator) Knocks() []gateway.Knock {
	k := &a.knocks
	k.mu.Lock()
	list := make([]gateway.Knock, 0, k.order.Len())
	for _, e := range k.byID {
		list = append(list, e.Value.(*knocking).Knock)
	}
	k.mu.Unlock()
	slices.SortFunc(list, func(a, b gateway.Knock) int { return cmp.Compare(a.Client, b.Client) })
	return list
}
