package memstore

import "github.com/longwire/longwire/gateway"

// maxNotes bounds the changes that wait for the observer. Writers wait beyond it;
// a writer that settles many at once (a purge, an expiry) may exceed it by their
// number.
const maxNotes = 8192

// settled returns the change for one delivery that became final; with last it is
// the last one of its message.
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

// noteLocked queues c in log order.
func (s *Store) noteLocked(c gateway.Change) {
	if s.observer == nil {
		return
	}
	s.notes = append(s.notes, c)
	s.noted++
	s.changed.Broadcast()
}

// awaitRoomLocked waits while too many changes wait for the observer.
func (s *Store) awaitRoomLocked() {
	for len(s.notes) >= maxNotes && !s.closed {
		s.changed.Wait()
	}
}

// awaitNotifiedLocked waits until the observer has received all current changes.
func (s *Store) awaitNotifiedLocked() {
	for mine := s.noted; s.passed < mine; {
		s.changed.Wait()
	}
}

// notify is the goroutine that calls the observer, without mu. It ends after Close,
// when the observer has received all changes.
func (s *Store) notify() {
	for {
		notes := s.takeNotes()
		if notes == nil {
			return
		}
		s.observer.Changed(notes)
		s.mu.Lock()
		s.passed += uint64(len(notes))
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// takeNotes waits for changes and takes them all; nil after Close.
func (s *Store) takeNotes() []gateway.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.notes) == 0 && !s.closed {
		s.changed.Wait()
	}
	notes := s.notes
	s.notes = nil
	s.changed.Broadcast() // there is room
	return notes
}
