package api

// ServerStats is a snapshot for metrics.
type ServerStats struct {
	Connections int               // open
	Displaced   map[string]uint64 // connections that were closed for want of room, by reason
	LinesHeld   map[string]uint64 // lines about refused requests that were counted and not written, by log
}

// Stats returns a snapshot.
func (s *Server) Stats() ServerStats {
	open, displaced := s.api.conns.Counts()
	return ServerStats{Connections: open, Displaced: displaced, LinesHeld: s.api.traces.held()}
}

// Streams returns how many callers wait for events or uplinks.
func (s *Server) Streams() int { return int(s.api.streams.Load()) }
