package gateway

import (
	"net/netip"
	"time"
)

// Knock is a device that was refused, as whoever authenticates devices
// remembers it.
type Knock struct {
	Client  ClientID
	Count   uint64 // refusals since FirstAt
	FirstAt time.Time
	LastAt  time.Time
	Remote  netip.AddrPort // of the last one, as are the next two
	Dialect string
	Reason  string // of a fixed list
}
