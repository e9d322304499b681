package gateway

import "time"

// Presence is the state of a client's connection.
type Presence uint8

const (
	Offline Presence = iota
	Suspect          // connected, but the answer to a heartbeat is overdue
	Online
)

var presenceNames = [...]string{Offline: "offline", Suspect: "suspect", Online: "online"}

// String returns the presence as the API shows it.
func (p Presence) String() string { return presenceNames[p] }

// Presence returns the state of the client's connection.
func (c *Client) Presence() Presence {
	switch {
	case !c.Online:
		return Offline
	case c.Suspect:
		return Suspect
	}
	return Online
}

// Suspect reports that the device owes the answer to a heartbeat for a second. It
// stays connected, and gets deliveries, until it answers or the connection ends. The
// hub lists it, so a session has no field for it.
func (s *Session) Suspect() {
	h := s.g.hub
	sh := h.shard(s.client)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[s.client] == s {
		h.suspects.add(s.client)
	}
}

// Alive reports a sign of life of a suspect device, or the answer to a Link.Probe:
// then rtt is above 0.
func (s *Session) Alive(rtt time.Duration) {
	h := s.g.hub
	sh := h.shard(s.client)
	sh.mu.Lock()
	if sh.sessions[s.client] == s {
		h.suspects.remove(s.client)
	}
	sh.mu.Unlock()
	if rtt > 0 {
		s.g.probes.answered(s, rtt)
	}
}
