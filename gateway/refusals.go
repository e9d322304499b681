package gateway

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons of registrations that the gateway itself refuses. Those of the authenticator
// are its own.
const (
	RefusedBlocked        = "blocked"          // an operator has blocked the client
	RefusedIDInUse        = "id_in_use"        // a device with the same id is connected
	RefusedTooManyClients = "too_many_clients" // there is no room for another client
)

// RefusalReasons returns the reasons of registrations that the gateway itself refuses.
func RefusalReasons() []string {
	return []string{RefusedBlocked, RefusedIDInUse, RefusedTooManyClients}
}

// Bounds of the list of refused registrations.
const (
	maxRefusals          = 1000
	maxRefusalsPerSource = 100 // so that one address cannot push out the entries of others
)

// refusals are the last registrations that the gateway itself has refused, one entry for
// each id. The client's next registration removes its entry. At a bound the oldest entry
// gives way.
type refusals struct {
	n    atomic.Int32 // len(list), so that a registration takes no lock while there are none
	mu   sync.Mutex
	list []RefusedRegistration // in the order of LastAt, the oldest first
}

// noteRefusal notes the result of a registration.
func (g *Gateway) noteRefusal(h *Hello, err error) {
	if err == nil {
		g.refusals.forget(h.Client)
		return
	}
	reason := ""
	switch CodeOf(err) {
	case CodeBlocked:
		reason = RefusedBlocked
	case CodeIDInUse:
		reason = RefusedIDInUse
	case CodeTooManyClients:
		reason = RefusedTooManyClients
	default:
		return
	}
	g.refusals.add(RefusedRegistration{Client: h.Client, Remote: h.Remote, Dialect: h.Dialect, Reason: reason, LastAt: g.now()})
}

// sourceOf is the place that an address counts for: itself, or an IPv6 /64.
func sourceOf(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

func (l *refusals) add(r RefusedRegistration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.FirstAt, r.Count = r.LastAt, 1
	source := sourceOf(r.Remote.Addr())
	same, oldest := 0, -1
	for i := range l.list {
		e := &l.list[i]
		if e.Client == r.Client {
			r.FirstAt, r.Count = e.FirstAt, e.Count+1
			l.dropLocked(i)
			same = 0
			break
		}
		if sourceOf(e.Remote.Addr()) == source {
			if same++; oldest < 0 {
				oldest = i
			}
		}
	}
	switch {
	case same >= maxRefusalsPerSource:
		l.dropLocked(oldest)
	case len(l.list) >= maxRefusals:
		l.dropLocked(0)
	}
	l.list = append(l.list, r)
	l.n.Store(int32(len(l.list)))
}

func (l *refusals) dropLocked(i int) {
	l.list = append(l.list[:i], l.list[i+1:]...)
	l.n.Store(int32(len(l.list)))
}

func (l *refusals) forget(id ClientID) {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i].Client == id {
			l.dropLocked(i)
			return
		}
	}
}

// Refusal returns the last registrations of a client that the gateway itself has refused
// since the client last registered; ok is false if none is kept.
func (g *Gateway) Refusal(id ClientID) (r RefusedRegistration, ok bool) {
	l := &g.refusals
	if l.n.Load() == 0 {
		return r, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i].Client == id {
			return l.list[i], true
		}
	}
	return r, false
}

// maxForgotten bounds the forgotten clients that are remembered; the oldest give way.
const maxForgotten = 4096

// forgottenClients remembers when clients were forgotten, while the process runs.
type forgottenClients struct {
	mu    sync.Mutex
	at    map[ClientID]time.Time
	order []ClientID // a ring once it has maxForgotten
	next  int        // the oldest entry of the ring
}

func (f *forgottenClients) add(id ClientID, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = make(map[ClientID]time.Time)
	}
	if _, known := f.at[id]; !known {
		if len(f.order) < maxForgotten {
			f.order = append(f.order, id)
		} else {
			delete(f.at, f.order[f.next])
			f.order[f.next] = id
			f.next = (f.next + 1) % maxForgotten
		}
	}
	f.at[id] = at
}

// ForgottenAt returns when a client was forgotten; zero if this process does not know that
// it was.
func (g *Gateway) ForgottenAt(id ClientID) time.Time {
	f := &g.forgotten
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[id]
}
