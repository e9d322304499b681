package tcpserver

import (
	"net/netip"

	"github.com/longwire/longwire/internal/shares"
)

// A connection without a registration costs its device nothing, and an attacker
// opens many. When all places are taken, the source with most places loses its
// oldest, and the newcomer gets in.

// unregistered is the holder of a place: a preamble, or the connection after it.
type unregistered struct {
	preamble *preamble
	conn     *conn
}

type (
	waiting      = shares.Book[netip.Addr, unregistered]
	waitingPlace = shares.Place[netip.Addr, unregistered]
)

// displaceOldestOfLocked makes room for one more connection of a source at its
// limit. It returns false if there is room. The caller holds s.mu.
func (s *Server) displaceOldestOfLocked(source netip.Addr) bool {
	return source.IsValid() && s.unregistered.Of(source) >= s.cfg.MaxUnregisteredPerIP &&
		s.displaceLocked(s.unregistered.Oldest(source), refusedUnregisteredPerIP)
}

// displaceLocked cuts off the connection that holds place and frees the place. It
// returns false if place is nil. The caller holds s.mu.
func (s *Server) displaceLocked(place *waitingPlace, reason string) bool {
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
	s.waits[h.conn] = nil // until the connection is removed
	s.tasks.Go(func() { h.conn.cut(*overloaded()) })
	return true
}

// displaced reports whether a newcomer has replaced p.
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

// forgetLocked removes a removed connection's place from the counts. The caller
// holds s.mu.
func (s *Server) forgetLocked(c *conn) {
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
