package gateway

import "time"

// This file has the notes that a session keeps of an unanswered delivery for people: the
// answers that settled nothing, and the times of its transmissions. Nothing is decided by
// it. A delivery that is sent once and acked has no notes.

// flightNotes are the notes of one delivery in a window.
type flightNotes struct {
	progress   []byte // text of the device's last AckWorking that had any; else nil
	workingAt  int64  // last AckWorking, Unix nanoseconds, as the other times; 0 = none
	retryAt    int64  // first of the last row of answers retry later
	nextAt     int64  // when the last of them makes it due
	misackedAt int64  // last ack in the wrong number space
	askedAt    int64  // when its ASK left on this connection
	later      uint8  // answers retry later, also on earlier connections; stops at 255
	happened   []happening
}

// happening is one line of a delivery's history.
type happening struct {
	at   int64 // Unix nanoseconds
	what Happening
}

// Happening is what happened to a delivery that is not final.
type Happening uint8

// The kinds of happenings.
const (
	HappenedSent        Happening = iota + 1 // its payload was flushed to the socket
	HappenedAsked                            // an ASK for its verdict was flushed
	HappenedRetryLater                       // the device wants it later
	HappenedWorking                          // the device works on it
	HappenedMisacked                         // an ack came in the other number space
	HappenedSentEarlier                      // sent on an earlier connection
)

// Bounds of the notes.
const (
	maxNotes     = 1 << 16 // deliveries that have notes; further ones have none, nor progress
	maxHappening = 16      // of one delivery; the oldest give way
)

// notesLocked returns the notes of f, nil if too many deliveries have some.
func (s *Session) notesLocked(f *inflight) *flightNotes {
	if f.notes == nil {
		if s.g.notes.Add(1) > maxNotes {
			s.g.notes.Add(-1)
			return nil
		}
		f.notes = &flightNotes{}
	}
	return f.notes
}

// dropNotesLocked removes the notes of a delivery that leaves the window.
func (s *Session) dropNotesLocked(f *inflight) {
	if f.notes != nil {
		s.g.notes.Add(-1)
		f.notes = nil
	}
}

func (n *flightNotes) add(at int64, what Happening) {
	if len(n.happened) == maxHappening {
		n.happened = append(n.happened[:0], n.happened[1:]...)
	}
	n.happened = append(n.happened, happening{at, what})
}

// noteRepeatLocked notes a transmission that is not the first one. before is the time of
// the last one.
func (s *Session) noteRepeatLocked(f *inflight, before, now int64) {
	if n := s.notesLocked(f); n != nil {
		s.beginLocked(n, before)
		n.add(now, HappenedSent)
	}
}

// beginLocked begins the lines of a delivery with its transmission at sentAt, 0 for none.
func (s *Session) beginLocked(n *flightNotes, sentAt int64) {
	switch {
	case len(n.happened) > 0 || sentAt == 0:
	case sentAt < s.connectedAt*int64(time.Millisecond):
		n.add(sentAt, HappenedSentEarlier)
	default:
		n.add(sentAt, HappenedSent)
	}
}

// noteLocked notes an answer that settles nothing, or an ASK.
func (s *Session) noteLocked(f *inflight, what Happening) *flightNotes {
	n := s.notesLocked(f)
	if n == nil {
		return nil
	}
	s.beginLocked(n, f.sentAt)
	now := s.g.now().UnixNano()
	n.add(now, what)
	switch what {
	case HappenedRetryLater:
		if n.later < 255 {
			n.later++
		}
		if n.retryAt == 0 || f.retries == 0 {
			n.retryAt = now
		}
	case HappenedWorking:
		n.workingAt = now
	case HappenedAsked:
		n.askedAt = now
	case HappenedMisacked:
		n.misackedAt = now
	}
	return n
}

// forgetProgress removes the progress that the device has reported: it has given up.
func (f *inflight) forgetProgress() {
	if f.notes != nil {
		f.notes.progress, f.notes.workingAt = nil, 0
	}
}
