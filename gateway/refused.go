package gateway

import (
	"net/netip"
	"time"
)

// RefusedRegistration is a device that asked to register and was refused, as
// the authenticator remembers it.
type RefusedRegistration struct {
	Client  ClientID
	Count   uint64 // refusals since FirstAt
	FirstAt time.Time
	LastAt  time.Time
	Remote  netip.AddrPort // of the last one, as are the next two
	Dialect string
	Reason  string // of a fixed list
}
