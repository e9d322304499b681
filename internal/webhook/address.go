package webhook

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// sharedNetworks are not public although net/netip does not say so: RFC 6598, RFC 2544,
// RFC 6890, RFC 3879, RFC 6666, RFC 9602 (segments of a provider's own network), those for
// documentation, and the IPv4 addresses in IPv6 ones: NAT64, 6to4, its relays, Teredo,
// IPv4-translated and IPv4-compatible.
var sharedNetworks = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("::ffff:0:0:0/96"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20")}

// refusedAddress is why no connection is made.
type refusedAddress struct {
	addr netip.Addr
	why  string
}

func (e *refusedAddress) Error() string {
	return fmt.Sprintf("the address %s is not allowed: %s", e.addr, e.why)
}

// refuse returns why webhooks may not go to an address, nil if they may. A connection to the
// unspecified address goes to this machine.
func (m *Manager) refuse(to netip.AddrPort) error {
	addr := to.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(m.cfg.Own, func(own netip.AddrPort) bool {
		return own.Port() == to.Port() && (own.Addr().Unmap() == addr || own.Addr().IsUnspecified() && isLocal(addr) || addr.IsUnspecified())
	}) {
		return &refusedAddress{addr, "it is a listener of the gateway"}
	}
	if slices.ContainsFunc(m.cfg.AllowNetworks, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	if addr.IsLoopback() {
		if m.cfg.AllowLoopback != nil && m.cfg.AllowLoopback() {
			return nil
		}
		return &refusedAddress{addr, fmt.Sprintf("webhooks reach this machine only while the API is on loopback and needs no key (list %s in webhooks.allow_networks)", addr)}
	}
	if addr.IsGlobalUnicast() && !addr.IsPrivate() && !slices.ContainsFunc(sharedNetworks, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	return &refusedAddress{addr, fmt.Sprintf("it is not public (list %s in webhooks.allow_networks)", addr)}
}

// refuseURL returns why webhooks may not go to any of the addresses that a URL itself
// names. It returns nil if they may, and if the host must be looked up first.
func (m *Manager) refuseURL(u *url.URL) (err error) {
	if m.cfg.transport != nil {
		return nil
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(p)
	}
	for _, addr := range namedBy(u.Hostname()) {
		refused := m.refuse(netip.AddrPortFrom(addr, port))
		if refused == nil {
			return nil
		}
		err = cmp.Or(err, refused)
	}
	return err
}

// namedBy returns the addresses that a host name stands for without a look-up.
func namedBy(host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return nil
}

// isLocal reports whether an address is one of this machine's.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(list, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == addr
	})
}
