package tcpserver

import (
	"log/slog"
	"net/netip"
)

// address is a netip.AddrPort in 18 bytes instead of 32, without a zone.
type address struct {
	ip   [16]byte // IPv4 as ::ffff:a.b.c.d; all zero for none
	port uint16
}

func addressOf(a netip.AddrPort) address {
	if !a.IsValid() {
		return address{}
	}
	return address{a.Addr().As16(), a.Port()}
}

// AddrPort returns the address, invalid for none.
func (a address) AddrPort() netip.AddrPort {
	if a == (address{}) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.ip).Unmap(), a.port)
}

// LogValue shows the address in logs, even in JSON, which omits private fields.
func (a address) LogValue() slog.Value { return slog.StringValue(a.AddrPort().String()) }
