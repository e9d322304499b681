package tcpserver

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/longwire/longwire/protocol"
)

// Reasons to refuse a connection before the device protocol begins. The protocol
// has others.
const (
	refusedDraining          = "draining"
	refusedMaxConns          = "max_connections"
	refusedUnregistered      = "max_unregistered"
	refusedUnregisteredPerIP = "max_unregistered_per_ip"
	refusedMemory            = "memory_limit"
	refusedAcceptRate        = "accept_rate"
	refusedAcceptRatePerIP   = "accept_rate_per_ip"
)

// Pauses of the accept loop while the system has no more files or memory.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// Serve accepts connections until Drain or Close is called or the listener fails;
// only a failure is an error. Open connections continue.
func (s *Server) Serve() error {
	pause := firstAcceptPause
	for {
		nc, err := s.ln.Accept()
		switch {
		case err == nil:
			pause = firstAcceptPause
			s.handleAccepted(nc)
		case s.stopped():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Mostly the process is out of files. Ending connections free some, and
			// open connections must not suffer.
			s.stats.acceptErrors.Add(1)
			s.log.Warn("cannot accept a connection; trying again", "error", err, "pause", pause)
			if !s.pause(pause) {
				return nil
			}
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

func (s *Server) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// pause waits for d. It returns false if the server stops first.
func (s *Server) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.stopping:
		return false
	}
}

// handleAccepted starts a connection, or refuses it if a limit is reached.
func (s *Server) handleAccepted(nc net.Conn) {
	now, remote := time.Now(), addrPort(nc.RemoteAddr())
	source, proxied := sourceOf(remote), s.isTrustedProxy(remote.Addr())
	if proxied {
		source = netip.Addr{} // unknown until the proxy's header names the device
	}
	p := &preamble{srv: s, base: nc, nc: nc, since: now, remote: remote}
	if reason := s.admit(p, source); reason != "" {
		s.turnAway(nc, remote, reason)
		return
	}
	s.stats.accepted.Add(1)
	if s.cfg.TLS == nil && !proxied {
		s.begin(p)
		return
	}
	if s.enter(p) {
		s.tasks.Go(p.run)
	}
}

// netConnOf returns nc as a connection that can be read and written.
func netConnOf(nc net.Conn) net.Conn {
	if s, ok := nc.(interface{ asNetConn() net.Conn }); ok {
		return s.asNetConn()
	}
	return nc
}

// admit counts one more connection, or returns the reason to refuse it. If too many
// have not registered yet, the newcomer replaces one of them.
func (s *Server) admit(p *preamble, source netip.Addr) (refused string) {
	if s.memory.exhausted() {
		return refusedMemory
	}
	if reason := s.limits.accepts.take(source); reason != "" {
		return reason
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return refusedDraining
	case s.displaceOldestOfLocked(source):
	case s.open-s.leaving >= s.cfg.MaxConns:
		if !s.displaceLocked(s.unregistered.Hoarder(), refusedMaxConns) {
			return refusedMaxConns
		}
	case s.unregistered.Len() >= s.cfg.MaxUnregistered:
		s.displaceLocked(s.unregistered.Hoarder(), refusedUnregistered)
	}
	s.open++
	p.counted, p.place = true, s.unregistered.Enter(source, unregistered{preamble: p})
	return ""
}

// attribute counts a connection through a proxy under the address of its device, or
// returns the reason to refuse it.
func (s *Server) attribute(p *preamble) (refused string) {
	source := sourceOf(p.remote)
	if !s.limits.accepts.takeOne(source, time.Now()) { // the accept could not count for it
		return refusedAcceptRatePerIP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.place != nil {
		s.unregistered.Leave(p.place)
		s.displaceOldestOfLocked(source)
		p.place = s.unregistered.Enter(source, unregistered{preamble: p})
	}
	return ""
}

// turnAway refuses nc. It sends a few at a time a close with the time to come back,
// in the dialect that their first bytes show. It cuts off the others, because an
// attacker can make any number of them.
func (s *Server) turnAway(nc net.Conn, remote netip.AddrPort, reason string) {
	s.stats.refused.add(reason)
	select {
	case s.turningAway <- struct{}{}:
	default:
		abandon(nc, true)
		return
	}
	nc = netConnOf(nc)
	p := &preamble{srv: s, base: nc, nc: nc, remote: remote}
	if !s.enter(p) {
		<-s.turningAway
		return
	}
	s.tasks.Go(func() {
		defer func() { <-s.turningAway }()
		defer p.releaseInput()
		p.sendClose(*overloaded())
		abandon(nc, true)
		s.leave(p)
	})
}

// enter adds p to the preambles that a closing server cuts off. If the server is
// already closing, enter cuts p off and returns false.
func (s *Server) enter(p *preamble) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		abandon(p.base, true)
		s.releaseLocked(p)
		return false
	}
	s.entering[p] = struct{}{}
	return true
}

// leave removes p, which has not led to a connection.
func (s *Server) leave(p *preamble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entering, p)
	s.releaseLocked(p)
}

// releaseLocked removes p from the counts. The caller holds s.mu.
func (s *Server) releaseLocked(p *preamble) {
	if !p.counted {
		return
	}
	p.counted = false
	if p.place == nil {
		s.leaving--
	} else {
		s.unregistered.Leave(p.place)
	}
	s.connClosedLocked()
}

// join adds c to the list in the place of p, or returns the reason not to: the
// server is closing, or a newcomer has replaced p.
func (s *Server) join(c *conn, p *preamble) (refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entering, p)
	if s.closing {
		s.releaseLocked(p)
		return protocol.ReasonShutdown
	}
	if p.place == nil {
		s.releaseLocked(p)
		return protocol.ReasonOverloaded
	}
	p.counted = false
	p.place.Holder = unregistered{conn: c}
	s.waits[c] = p.place
	c.next = s.first
	if s.first != nil {
		s.first.prev = c
	}
	s.first = c
	return ""
}

// sourceOf returns the address that counts as one source: an IPv4 address or an
// IPv6 /64. It is invalid for no address, and for loopback, which has only this
// machine and local proxies behind it.
func sourceOf(remote netip.AddrPort) netip.Addr {
	a := remote.Addr()
	if !a.IsValid() || a.IsLoopback() {
		return netip.Addr{}
	}
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // 64 fits an IPv6 address
		return p.Addr()
	}
	return a
}

// sourceName is sourceOf for a log.
func sourceName(remote netip.AddrPort) string {
	if a := sourceOf(remote); a.IsValid() {
		return a.String()
	}
	return "loopback"
}

// addrPort returns a's address and port, invalid if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if t, ok := a.(*net.TCPAddr); ok {
		ap = t.AddrPort()
	} else if a != nil {
		ap, _ = netip.ParseAddrPort(a.String()) // a pipe has no such address
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
