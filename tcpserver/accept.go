package tcpserver

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/longwire/longwire/protocol"
)

// Reasons for which a connection is refused before the device protocol begins,
// beside those of the protocol.
const (
	refusedDraining          = "draining"
	refusedMaxConns          = "max_connections"
	refusedUnregistered      = "max_unregistered"
	refusedUnregisteredPerIP = "max_unregistered_per_ip"
	refusedMemory            = "memory_limit"
	refusedAcceptRate        = "accept_rate"
	refusedAcceptRatePerIP   = "accept_rate_per_ip"
)

// Back-off of the accept loop while the system has no more files or memory.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// Serve accepts connections until Drain or Close is called, or the listener
// breaks; only the last is an error. Connections live on.
func (s *Server) Serve() error {
	pause := firstAcceptPause
	for {
		nc, err := s.ln.Accept()
		switch {
		case err == nil:
			pause = firstAcceptPause
			s.welcome(nc)
		case s.stopped():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Mostly out of files: connections end and make room, and those
			// that are open must not suffer.
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

// pause waits for d; false when the server stops meanwhile.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stopping:
		return false
	}
}

// welcome starts a connection, or refuses it where a limit is reached.
func (s *Server) welcome(nc net.Conn) {
	now, remote := time.Now(), addrPort(nc.RemoteAddr())
	source, proxied := sourceOf(remote), s.isTrustedProxy(remote.Addr())
	if proxied {
		source = netip.Addr{} // the device's, which its header will tell
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

// known returns nc as a connection that can be read and written.
func known(nc net.Conn) net.Conn {
	if s, ok := nc.(interface{ known() net.Conn }); ok {
		return s.known()
	}
	return nc
}

// admit takes one more connection into the counts, or returns why not. When too
// many have not registered yet, the newcomer gets the place of another one.
func (s *Server) admit(p *preamble, source netip.Addr) (refused string) {
	if s.memory.exhausted() {
		return refusedMemory
	}
	if reason := s.limits.accept(source); reason != "" {
		return reason
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return refusedDraining
	case s.displaceOldestOf(source):
	case s.open-s.leaving >= s.cfg.MaxConns:
		if !s.displace(s.unregistered.Hoarder(), refusedMaxConns) {
			return refusedMaxConns
		}
	case s.unregistered.Len() >= s.cfg.MaxUnregistered:
		s.displace(s.unregistered.Hoarder(), refusedUnregistered)
	}
	s.open++
	p.counted, p.place = true, s.unregistered.Enter(source, unregistered{preamble: p})
	return ""
}

// attribute counts a connection that came through a proxy under the address of
// its device, or returns why it is one too many from there.
func (s *Server) attribute(p *preamble) (refused string) {
	source := sourceOf(p.remote)
	if !s.limits.acceptBehindProxy(source) {
		return refusedAcceptRatePerIP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.place != nil {
		s.unregistered.Leave(p.place)
		s.displaceOldestOf(source)
		p.place = s.unregistered.Enter(source, unregistered{preamble: p})
	}
	return ""
}

// turnAway refuses nc. A few at a time are told why and when to come back, in
// the dialect that their first bytes show; the others, whose number is in the
// attacker's hands, are cut off.
func (s *Server) turnAway(nc net.Conn, remote netip.AddrPort, reason string) {
	s.stats.refused.add(reason)
	select {
	case s.turningAway <- struct{}{}:
	default:
		abandon(nc, true)
		return
	}
	nc = known(nc)
	p := &preamble{srv: s, base: nc, nc: nc, remote: remote}
	if !s.enter(p) {
		<-s.turningAway
		return
	}
	s.tasks.Go(func() {
		defer func() { <-s.turningAway }()
		defer p.releaseInput()
		p.tell(*overloaded())
		abandon(nc, true)
		s.leave(p)
	})
}

// enter notes p, so that a closing server can cut it off; when that has begun p
// is cut off and forgotten.
func (s *Server) enter(p *preamble) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		abandon(p.base, true)
		s.release(p)
		return false
	}
	s.entering[p] = struct{}{}
	return true
}

// leave forgets p, which has not led to a connection.
func (s *Server) leave(p *preamble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entering, p)
	s.release(p)
}

// release takes p out of the counts. s.mu is held.
func (s *Server) release(p *preamble) {
	if !p.counted {
		return
	}
	p.counted = false
	if p.place == nil {
		s.leaving--
	} else {
		s.unregistered.Leave(p.place)
	}
	s.closed()
}

// join puts c into the list, with the place that p had, or returns why not: the
// server is closing, or p's place is gone.
func (s *Server) join(c *conn, p *preamble) (refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entering, p)
	if s.closing {
		s.release(p)
		return protocol.ReasonShutdown
	}
	if p.place == nil {
		s.release(p)
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

// sourceOf is what counts as one address: an IPv4 address or an IPv6 /64. It
// is invalid for loopback, which has only ourselves and local proxies behind
// it, and for addresses that are none.
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

// addrPort returns a's address and port, invalid where it has none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if t, ok := a.(*net.TCPAddr); ok {
		ap = t.AddrPort()
	} else if a != nil {
		ap, _ = netip.ParseAddrPort(a.String()) // a pipe's address is none
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
