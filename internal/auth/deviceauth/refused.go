package deviceauth

import "github.com/longwire/longwire/gateway"

// Refusal returns the refusals of one device; ok is false if none is kept.
func (a *Authenticator) Refusal(id gateway.ClientID) (r gateway.RefusedRegistration, ok bool) {
	return a.refused.Of(id)
}

// Dismiss removes the refusals of one device, and reports whether there were any.
func (a *Authenticator) Dismiss(id gateway.ClientID) bool { return a.refused.Forget(id) }

// Refused returns the devices that were refused, in the order of their ids.
func (a *Authenticator) Refused() []gateway.RefusedRegistration { return a.refused.All() }
