package apikey

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is a set of permissions of a key.
type Scope uint16

// The permissions. Writing does not include reading: a write answers only with
// the written resource.
const (
	ClientsRead   Scope = 1 << iota // see clients
	ClientsWrite                    // change labels and groups, disconnect
	MessagesRead                    // see messages, deliveries and uplinks
	MessagesWrite                   // push and cancel
	EventsRead                      // follow the event stream
	WebhooksWrite                   // set up webhooks
	DevicesWrite                    // list, create and revoke tokens of devices
	MetricsRead                     // metrics and totals; with a limit to a prefix, totals of its clients
	Admin                           // everything, including the keys
	WebhooksRead                    // see webhooks
)

// scopeNames are the names of the scopes, in the order of their bits.
var scopeNames = [...]string{"clients:read", "clients:write", "messages:read", "messages:write",
	"events:read", "webhooks:write", "devices:write", "metrics:read", "admin", "webhooks:read"}

// ScopeNames returns the names of all scopes.
func ScopeNames() []string { return slices.Clone(scopeNames[:]) }

// ParseScopes reads scopes by name.
func ParseScopes(names []string) (Scope, error) {
	var s Scope
	for _, name := range names {
		i := slices.Index(scopeNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("%q is no scope: want some of %s", name, strings.Join(scopeNames[:], ", "))
		}
		s |= 1 << i
	}
	return s, nil
}

// Allows reports whether s includes all of need. Admin includes everything.
func (s Scope) Allows(need Scope) bool { return s&Admin != 0 || s&need == need }

// Names lists the scopes of s.
func (s Scope) Names() []string {
	names := []string{}
	for i, name := range scopeNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String joins the names by commas.
func (s Scope) String() string { return strings.Join(s.Names(), ",") }
