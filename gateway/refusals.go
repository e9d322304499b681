package gateway

import (
	"sync"
	"time"
)

// Reasons of registrations that the gateway itself refuses. Those of the authenticator
// are its own.
const (
	RefusedBlocked        = "blocked"          // an operator has blocked the client
	RefusedIDInUse        = "id_in_use"        // a device with the same id is connected
	RefusedTooManyClients = "too_many_clients" // there is no room for another client
	RefusedEventsFull     = "events_full"      // it has used up its share of the event log
)

// refusals has the codes of registrations that the gateway itself refuses.
var refusals = []struct {
	code   Code
	reason string
}{
	{CodeBlocked, RefusedBlocked},
	{CodeIDInUse, RefusedIDInUse},
	{CodeTooManyClients, RefusedTooManyClients},
	{CodeEventsFull, RefusedEventsFull},
}

// RefusalReasons returns the reasons of registrations that the gateway itself refuses.
func RefusalReasons() (all []string) {
	for _, r := range refusals {
		all = append(all, r.reason)
	}
	return all
}

// noteRefusal notes the result of a registration.
func (g *Gateway) noteRefusal(h *Hello, err error) {
	if err == nil {
		g.refusals.Forget(h.Client)
		return
	}
	code := CodeOf(err)
	for _, r := range refusals {
		if r.code == code {
			g.refusals.Add(h, r.reason, g.now())
		}
	}
}

// Refusal returns the last registrations of a client that the gateway itself has refused
// since the client last registered; ok is false if none is kept.
func (g *Gateway) Refusal(id ClientID) (r RefusedRegistration, ok bool) { return g.refusals.Of(id) }

// Refused returns the clients with a Refusal, in the order of their ids.
func (g *Gateway) Refused() []RefusedRegistration { return g.refusals.All() }

// unnamedFor is how long a registration without a valid id is listed.
const unnamedFor = 24 * time.Hour

// NoteUnnamed notes a registration that was refused because it cannot be read or has no
// valid id; id is what stood in its place, and reason a close reason. h has the address
// and the dialect.
func (g *Gateway) NoteUnnamed(h Hello, reason string, id []byte) {
	g.unnamed.AddUnnamed(&h, reason, id, g.now())
}

// Unnamed returns the registrations without a valid id of the last day, one for each
// source, the latest first.
func (g *Gateway) Unnamed() []RefusedRegistration { return g.unnamed.latest(g.now().Add(-unnamedFor)) }

// Dismiss removes the Refusal of a client, and reports whether there was one.
func (g *Gateway) Dismiss(id ClientID) bool { return g.refusals.Forget(id) }

// maxForgotten bounds the forgotten clients that are remembered; the oldest give way.
const maxForgotten = 4096

// forgottenClients remembers when clients were forgotten, while the process runs.
type forgottenClients struct {
	mu sync.Mutex
	at recent[ClientID, time.Time]
}

func (f *forgottenClients) add(id ClientID, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at.put(id, at, maxForgotten)
}

// ForgottenAt returns when a client was forgotten; zero if this process does not know that
// it was.
func (g *Gateway) ForgottenAt(id ClientID) time.Time {
	f := &g.forgotten
	f.mu.Lock()
	defer f.mu.Unlock()
	at, _ := f.at.get(id)
	return at
}
