package gateway

import (
	"slices"
	"time"
)

// Registration is a client that has connected. Nil Reported or Groups keep the
// stored ones.
type Registration struct {
	Client   ClientID
	Reported map[string]string // labels that the device sends; audiences ignore them
	Groups   []string
	// Guarded are groups that a registration neither enters nor leaves.
	Guarded map[string]bool
	Account string // the tenant that the client belongs to, "" for none; see AccountAfter, TooManyClients
	At      time.Time
	// Session, Dialect and Remote are of the connection, for its event.
	Session SessionID
	Dialect string
	Remote  string // address and port
}

// Disconnection is the end of a session.
type Disconnection struct {
	Client  ClientID
	Epoch   uint64 // ClientRecord.Epoch of the session's registration
	Session SessionID
	At      time.Time // when the client was last seen
	Reason  string
}

// Refusal returns why a client that is blocked until then may not register, nil
// if it may.
func (r *Registration) Refusal(blockedUntil time.Time) error {
	if wait := blockedUntil.Sub(r.At); wait > 0 {
		return &Error{Code: CodeBlocked, Message: "the client is blocked", RetryAfter: wait}
	}
	return nil
}

// IDInUse returns the refusal of a registration whose id is connected elsewhere, under
// Config.RejectTwins.
func IDInUse() error {
	return &Error{Code: CodeIDInUse, Message: "a client with this id is connected", RetryAfter: 10 * time.Second}
}

// GroupsOf returns the sorted groups of a client that was in known before it
// registers. If they exceed limit, guarded groups have precedence.
func (r *Registration) GroupsOf(known []string, limit int) []string {
	if r.Groups == nil {
		return known
	}
	if len(r.Guarded) == 0 {
		return slices.Compact(slices.Sorted(slices.Values(r.Groups)))
	}
	var groups []string
	for _, name := range known {
		if r.Guarded[name] {
			groups = append(groups, name)
		}
	}
	for _, name := range r.Groups {
		if !r.Guarded[name] && !slices.Contains(groups, name) && len(groups) < limit {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}

// ClientChange changes a client record; nil fields leave theirs unchanged.
type ClientChange struct {
	Labels       map[string]*string // merge: nil value removes the label
	Groups       *[]string          // replaces
	BlockedUntil *time.Time
	Account      string // with Groups, of a known client: as Registration.Account; set by the gateway
	Owner        string // of the limited key that asks, as Acceptance.Owner; "" for others
}
