package memstore

// Footprint counts everything that is kept for messages.
func Footprint(s *Store) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.messages) + len(s.order) + len(s.done) + len(s.keys) + len(s.deadlines)
	for _, l := range s.lanes {
		n += len(l.queue) + len(l.history)
	}
	return n
}
