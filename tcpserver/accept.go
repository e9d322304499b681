package tcpserver

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Reasons for which a connection is refused before a byte is read.
const (
	refusedDraining          = "draining"
	refusedMaxConns          = "max_connections"
	refusedUnregistered      = "max_unregistered"
	refusedUnregisteredPerIP = "max_unregistered_per_ip"
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
	remote := addrPort(nc.RemoteAddr())
	c := newConn(s, nc, remote, time.Now())
	if reason := s.admit(c); reason != "" {
		s.stats.refused.add(reason)
		abandon(nc, true)
		return
	}
	s.stats.accepted.Add(1)
	c.start()
}

// admit takes c into the counts and the list, or says why not.
func (s *Server) admit(c *conn) (refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	source := sourceOf(c.remote)
	switch {
	case s.closing:
		return refusedDraining
	case s.open >= s.cfg.MaxConns:
		return refusedMaxConns
	case s.unregistered >= s.cfg.MaxUnregistered:
		return refusedUnregistered
	case source.IsValid() && s.perIP[source] >= s.cfg.MaxUnregisteredPerIP:
		return refusedUnregisteredPerIP
	}
	s.open++
	s.unregistered++
	c.isUnregistered = true
	if source.IsValid() {
		s.perIP[source]++
	}
	c.next = s.first
	if s.first != nil {
		s.first.prev = c
	}
	s.first = c
	return ""
}

// registered frees c's place among the unregistered.
func (s *Server) registered(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveUnregistered(c)
}

// leaveUnregistered is harmless when c has left before. s.mu is held.
func (s *Server) leaveUnregistered(c *conn) {
	if !c.isUnregistered {
		return
	}
	c.isUnregistered = false
	s.unregistered--
	source := sourceOf(c.remote)
	if !source.IsValid() {
		return
	}
	if s.perIP[source]--; s.perIP[source] == 0 {
		delete(s.perIP, source)
	}
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
