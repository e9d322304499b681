package memstore

import "github.com/longwire/longwire/gateway"

// maxNotes bounds what waits for the observer. Writers wait beyond it; one that
// settles many at once (a purge, an expiry) may pass it by its own number.
const maxNotes = 8192

// settled returns the note of one delivery that became final, the last one of
// its message when last is set.
func settled(d gateway.Delivery, m *message, last bool) *gateway.Settlement {
	st := &gateway.Settlement{Delivery: d}
	if last {
		h := m.head()
		st.Completed = &h
	}
	return st
}

// Observe sets the observer. It is called once, before use.
func (s *Store) Observe(o gateway.Observer) { s.observer = o }

// note queues c in log order. Caller holds mu.
func (s *Store) note(c gateway.Change) {
	if s.observer == nil {
		return
	}
	s.notes = append(s.notes, c)
	s.noted++
	s.told.Broadcast()
}

// awaitRoom waits while too much waits for the observer. Caller holds mu.
func (s *Store) awaitRoom() {
	for len(s.notes) >= maxNotes && !s.closed {
		s.told.Wait()
	}
}

// awaitTold waits until the observer has taken all notes that there are now. Caller
// holds mu.
func (s *Store) awaitTold() {
	for mine := s.noted; s.passed < mine; {
		s.told.Wait()
	}
}

// tell is the goroutine that calls the observer, without mu. It ends after
// Close, when all is told.
func (s *Store) tell() {
	for {
		notes := s.takeNotes()
		if notes == nil {
			return
		}
		s.observer.Changed(notes)
		s.mu.Lock()
		s.passed += uint64(len(notes))
		s.told.Broadcast()
		s.mu.Unlock()
	}
}

// takeNotes waits for notes and takes them all; nil after Close.
func (s *Store) takeNotes() []gateway.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.notes) == 0 && !s.closed {
		s.told.Wait()
	}
	notes := s.notes
	s.notes = nil
	s.told.Broadcast() // there is room
	return notes
}
