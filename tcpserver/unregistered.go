package tcpserver

import (
	"net/netip"

	"github.com/longwire/longwire/internal/shares"
)

// A connection without a registration costs its device nothing, and an attacker
// opens many. When all places are taken, the source that holds most of them loses
// its oldest, and the newcomer gets in.

// unregistered is the holder of a place: a preamble, or the connection that it
// has led to.
type unregistered struct {
	preamble *preamble
	conn     *conn
}

type (
	waiting      = shares.Book[netip.Addr, unregistered]
	waitingPlace = shares.Place[netip.Addr, unregistered]
)

// displaceOldestOf makes room for one more connection of a source that has as
// many as it may have. It returns false when there is room. s.mu is held.
func (s *Server) displaceOldestOf(source netip.Addr) bool {
	return source.IsValid() && s.unregistered.Of(source) >= s.cfg.MaxUnregisteredPerIP &&
		s.displace(s.unregistered.Oldest(source), refusedUnregisteredPerIP)
}

// displace cuts off the connection that holds place and takes the place back. It
// returns false for no place. s.mu is held.
func (s *Server) displace(place *waitingPlace, reason string) bool {
	if place == nil {
		return false
	}
	s.unregistered.Leave(place)
	s.leaving++
	s.stats.refused.add(reason)
	h := place.Holder
	if h.conn == nil {
		h.preamble.place = nil
		abandon(h.preamble.base, true) // its goroutine wakes and leaves
		return true
	}
	s.waits[h.conn] = nil // until it is removed
	s.tasks.Go(func() { h.conn.cut(*overloaded()) })
	return true
}

// displaced reports whether another connection has got p's place.
func (s *Server) displaced(p *preamble) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.counted && p.place == nil
}

// registered frees c's place among the unregistered.
func (s *Server) registered(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if place := s.waits[c]; place != nil {
		s.unregistered.Leave(place)
		delete(s.waits, c)
	}
}

// forget takes a removed connection out of the counts. s.mu is held.
func (s *Server) forget(c *conn) {
	place, waits := s.waits[c]
	if !waits {
		return
	}
	delete(s.waits, c)
	if place == nil {
		s.leaving--
	} else {
		s.unregistered.Leave(place)
	}
}
