package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// isProxy reports whether remote, an address with its port, is a trusted proxy's.
func (c *Config) isProxy(remote string) bool {
	if len(c.ProxyTrusted) == 0 {
		return false
	}
	at, err := netip.ParseAddrPort(remote)
	return err == nil && c.trusts(at.Addr())
}

// isSecure reports whether the caller's connection has TLS: this one, or that of a trusted
// proxy, which names it in X-Forwarded-Proto.
func (c *Config) isSecure(r *http.Request) bool {
	return r.TLS != nil || c.isProxy(r.RemoteAddr) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func (c *Config) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(c.ProxyTrusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// callerOf returns the address of the caller. A trusted proxy names it in
// X-Forwarded-For. Each proxy on the way appends the address that called it, so the
// caller's is the last address that is not a trusted proxy's. The caller may have
// written the addresses before it. The port is unknown: callerOf returns 0 for it.
func (c *Config) callerOf(r *http.Request) string {
	if !c.isProxy(r.RemoteAddr) {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	caller := r.RemoteAddr
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		caller = netip.AddrPortFrom(a.Unmap(), 0).String()
		if !c.trusts(a) {
			break
		}
	}
	return caller
}
