package api

// ServerStats is a snapshot for metrics.
type ServerStats struct {
	LinesHeld map[string]uint64 // lines about refused requests that were counted and not written, by log
}

// Stats returns a snapshot.
func (s *Server) Stats() ServerStats {
	return ServerStats{LinesHeld: s.api.traces.held()}
}
