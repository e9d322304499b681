package memstore

import "github.com/longwire/longwire/gateway"

// maxNotes bounds what waits for the observer. Writers wait beyond it; one that
// settles many at once (a purge, an expiry) may pass it by its own number.
const maxNotes = 8192

// note is one thing to tell the observer: all, or the settlement.
type note struct {
	settlement gateway.Settlement
	all        *settledAll
}

type settledAll struct {
	message gateway.Message
	state   gateway.State
	n       int
}

// settled returns the note of one delivery that became final, the last one of
// its message when last is set.
func settled(d gateway.Delivery, m *message, last bool) note {
	st := gateway.Settlement{Delivery: d}
	if last {
		h := m.head()
		st.Completed = &h
	}
	return note{settlement: st}
}

// Observe names who is told of final states. It is called once, before use.
func (s *Store) Observe(o gateway.Observer) { s.observer = o }

// note queues n in log order. Caller holds mu.
func (s *Store) note(n note) {
	if s.observer == nil {
		return
	}
	s.notes = append(s.notes, n)
	s.told.Broadcast()
}

// awaitRoom waits while too much waits for the observer. Caller holds mu.
func (s *Store) awaitRoom() {
	for len(s.notes) >= maxNotes && !s.closed {
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
		var run []gateway.Settlement
		flush := func() {
			if len(run) > 0 {
				s.observer.Settled(run)
				run = nil
			}
		}
		for _, n := range notes {
			if n.all == nil {
				run = append(run, n.settlement)
				continue
			}
			flush()
			s.observer.SettledAll(n.all.message, n.all.state, n.all.n)
		}
		flush()
	}
}

// takeNotes waits for notes and takes them all; nil after Close.
func (s *Store) takeNotes() []note {
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
