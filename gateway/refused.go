package gateway

import (
	"net/netip"
	"time"
)

// RefusedRegistration is a refused device, as the authenticator remembers it.
type RefusedRegistration struct {
	Client  ClientID
	Count   uint64 // refusals since FirstAt
	FirstAt time.Time
	LastAt  time.Time
	Remote  netip.AddrPort // of the last refusal, as are the next two
	Dialect string
	Reason  string // from a fixed list
}
