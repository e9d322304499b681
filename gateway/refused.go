package gateway

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// RefusedRegistration is a refused device, as a RefusedList remembers it.
type RefusedRegistration struct {
	Client  ClientID
	Count   uint64 // refusals since FirstAt
	FirstAt time.Time
	LastAt  time.Time
	Remote  netip.AddrPort // of the last refusal, as are the next two
	Dialect string
	Reason  string // from a fixed list
	// Sample is the start of the id that was asked for, for an entry of Unnamed: escaped,
	// so that it is printable ASCII. Client is "" then.
	Sample string
}

// Bounds of a RefusedList.
const (
	maxRefusals          = 1000
	maxRefusalsPerSource = 100 // so that one source cannot push out the entries of others
)

// RefusedList is a bounded list of refused registrations: one entry per id, at most
// maxRefusalsPerSource per source (SourceOf). A new entry in a full list replaces the
// oldest entry of the source that has most. The zero value is empty. The gateway has
// one for its own refusals, and the authenticator one.
type RefusedList struct {
	n        atomic.Int32 // len(byID), so that a registration takes no lock while there are none
	mu       sync.Mutex
	byID     map[ClientID]*list.Element
	order    list.List // of *refusedEntry, the latest first
	bySource map[netip.Addr]int
}

type refusedEntry struct {
	RefusedRegistration
	key    ClientID
	source netip.Addr
}

// SourceOf returns the address that counts as one source: an IPv4 address or an
// IPv6 /64.
func SourceOf(remote netip.AddrPort) netip.Addr {
	a := remote.Addr().Unmap()
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // 64 fits an IPv6 address
		return p.Addr()
	}
	return a
}

// Add notes a refusal.
func (l *RefusedList) Add(h *Hello, reason string, now time.Time) {
	l.add(h.Client, SourceOf(h.Remote), RefusedRegistration{Client: h.Client, Remote: h.Remote, Dialect: h.Dialect, Reason: reason}, now)
}

// AddUnnamed notes the refusal of a registration that has no valid id; id is what stood in
// its place. The list has one entry for each source, and its bound for a source is that of
// a network, an IPv4 /24 or an IPv6 /48.
func (l *RefusedList) AddUnnamed(h *Hello, reason string, id []byte, now time.Time) {
	source := SourceOf(h.Remote)
	bits := 48
	if source.Is4() {
		bits = 24
	}
	network, _ := source.Prefix(bits) // zero for a remote that is not known
	l.add(ClientID(source.String()), network.Addr(), RefusedRegistration{Remote: h.Remote, Dialect: h.Dialect, Reason: reason, Sample: sampleOf(id)}, now)
}

// maxSample bounds the bytes of an id that a sample shows.
const maxSample = 32

func sampleOf(id []byte) string {
	cut := ""
	if len(id) > maxSample {
		id, cut = id[:maxSample], "..."
	}
	q := strconv.QuoteToASCII(string(id))
	return q[1:len(q)-1] + cut
}

// add notes a refusal under a key, as one of source.
func (l *RefusedList) add(key ClientID, source netip.Addr, r RefusedRegistration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[key]
	if !ok {
		if l.byID == nil {
			l.byID, l.bySource = make(map[ClientID]*list.Element), make(map[netip.Addr]int)
		}
		l.makeRoom(source)
		e = l.order.PushFront(&refusedEntry{RefusedRegistration: RefusedRegistration{FirstAt: now}, key: key, source: source})
		l.byID[key] = e
		l.bySource[source]++
		l.n.Store(int32(len(l.byID)))
	}
	x := e.Value.(*refusedEntry)
	r.Count, r.FirstAt, r.LastAt = x.Count+1, x.FirstAt, now
	x.RefusedRegistration = r
	l.order.MoveToFront(e)
}

// makeRoom makes room for one entry from source.
func (l *RefusedList) makeRoom(source netip.Addr) {
	switch {
	case l.bySource[source] >= maxRefusalsPerSource:
		l.dropOldest(source)
	case l.order.Len() >= maxRefusals:
		most := source
		for s, n := range l.bySource {
			if n > l.bySource[most] {
				most = s
			}
		}
		l.dropOldest(most)
	}
}

func (l *RefusedList) dropOldest(source netip.Addr) {
	for e := l.order.Back(); e != nil; e = e.Prev() {
		if e.Value.(*refusedEntry).source == source {
			l.remove(e)
			return
		}
	}
}

func (l *RefusedList) remove(e *list.Element) {
	x := l.order.Remove(e).(*refusedEntry)
	delete(l.byID, x.key)
	if l.bySource[x.source]--; l.bySource[x.source] == 0 {
		delete(l.bySource, x.source)
	}
	l.n.Store(int32(len(l.byID)))
}

// Forget removes a device, and reports whether it had an entry. The next refusal of the
// device is its first again.
func (l *RefusedList) Forget(id ClientID) bool {
	if l.n.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[id]
	if ok {
		l.remove(e)
	}
	return ok
}

// Len returns the number of entries.
func (l *RefusedList) Len() int { return int(l.n.Load()) }

// Of returns the entry of one device; ok is false if there is none.
func (l *RefusedList) Of(id ClientID) (r RefusedRegistration, ok bool) {
	if l.n.Load() == 0 {
		return r, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byID[id]
	if !ok {
		return r, false
	}
	return e.Value.(*refusedEntry).RefusedRegistration, true
}

// All returns the entries in the order of their ids.
func (l *RefusedList) All() []RefusedRegistration {
	l.mu.Lock()
	all := make([]RefusedRegistration, 0, len(l.byID))
	for _, e := range l.byID {
		all = append(all, e.Value.(*refusedEntry).RefusedRegistration)
	}
	l.mu.Unlock()
	slices.SortFunc(all, func(a, b RefusedRegistration) int { return cmp.Compare(a.Client, b.Client) })
	return all
}

// latest returns the entries since a time, the latest first.
func (l *RefusedList) latest(since time.Time) (all []RefusedRegistration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.order.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*refusedEntry); !x.LastAt.Before(since) {
			all = append(all, x.RefusedRegistration)
		}
	}
	return all
}
