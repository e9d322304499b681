package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/simulator"
)

// openSimulator makes the simulator, unless the settings forbid simulated devices.
// The gateway and the device listener must be open.
func (a *App) openSimulator() {
	if a.simulatedToken == "" {
		return
	}
	a.simulator = simulator.New(simulator.Config{
		Clients: a.gw,
		Dial:    a.dialOwn,
		Enabled: func() bool { return a.cfg.Simulator.Enabled == config.On || !a.callers.keys.Required() },
		Token:   a.simulatedToken,
	})
	a.opened.addQuiet("simulator", a.simulator.Close)
}

// authenticate decides about a registration. Simulated devices show the token of this
// process, and need no other credential.
func (a *App) authenticate(ctx context.Context, h gateway.Hello) (gateway.Grant, error) {
	if a.simulatedToken != "" && simulator.Admits(a.simulatedToken, &h) {
		return gateway.Grant{}, nil
	}
	return a.auth.Authenticate(ctx, h)
}

// dialOwn connects to the device listener, which is on loopback, as a device must
// under the settings.
func (a *App) dialOwn(ctx context.Context) (net.Conn, error) {
	c := &a.cfg.TCP
	if c.TLSClientAuth == config.Required && c.TLS == config.Required {
		return nil, errors.New("tcp.tls_client_auth is required, and simulated devices have no certificate")
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", a.tcp.Addr().String())
	if err != nil {
		return nil, err
	}
	if trusts(c.ProxyTrusted, nc.LocalAddr()) {
		if _, err := nc.Write([]byte("PROXY UNKNOWN\r\n")); err != nil {
			nc.Close()
			return nil, err
		}
	}
	if c.TLS != config.Required {
		return nc, nil
	}
	// The listener is this process's own, so there is nothing to verify.
	t := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return t, nil
}

// trusts reports whether networks include addr.
func trusts(networks []string, addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return false
	}
	for _, p := range trustedProxies(networks) {
		if p.Contains(at.Addr().Unmap()) {
			return true
		}
	}
	return false
}
