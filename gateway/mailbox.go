package gateway

import "slices"

// mailbox holds transmissions that the store accepted for a connected client with an
// empty queue; they are sent without a read of the store. It is part of work, and
// so guarded by the session's mutex.
//
// The store is the truth and the mailbox a shortcut: any transmission may be dropped if
// the session is marked to read the store (flagFresh). The first transmissions of
// a session rise and skip none, because
//   - the mailbox ignores a transmission that is not above the last one taken: it was read
//     from the store before;
//   - a session that is marked or reading gets no transmission: the store may have
//     an earlier one;
//   - nor does a session that has not read beyond the last message to many: that message
//     may be for it, and its broadcast may come later (a rate);
//   - transmissions leave before the store is read, and the cursor moves with them.
type mailbox struct {
	transmissions []Transmission // in rising order
	bytes         int            // as mailSize counts
}

// Bounds of the mailboxes, in bytes. The feed holds less than 4 MiB in addition: the
// payloads of the records under way.
const (
	maxMail        = 12 << 20 // in all sessions
	maxSessionMail = 64 << 10
)

// mailSize is the memory that a transmission in a mailbox takes, in bytes.
func mailSize(p *Transmission) int { return len(p.Payload) + 128 }

// offer puts a transmission that the store has just made readable into the mailbox, or
// marks the session to read the store. many is the sequence of the last message
// to many before it. offer reports whether to pump the session.
func (s *Session) offer(p *Transmission, many Seq) (pump bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.lastTakenLocked()
	switch {
	case p.Seq <= last:
		return false
	case many > last || !s.takesMailLocked(p):
		s.flags |= flagFresh
	default:
		m := &s.busyLocked().mail
		m.transmissions = append(m.transmissions, *p)
		m.bytes += mailSize(p)
		s.g.mail.Add(int64(mailSize(p)))
	}
	return s.flags.flowing()
}

// lastTakenLocked is the highest sequence in the mailbox or behind the cursor.
func (s *Session) lastTakenLocked() Seq {
	if s.hasMailLocked() {
		mail := s.work.mail.transmissions
		return mail[len(mail)-1].Seq
	}
	return s.cursor
}

func (s *Session) hasMailLocked() bool { return s.work != nil && len(s.work.mail.transmissions) > 0 }

// takesMailLocked reports whether p may be put into the mailbox.
func (s *Session) takesMailLocked(p *Transmission) bool {
	if !s.flags.flowing() || s.flags.has(flagFresh|flagReading) {
		return false
	}
	mail, bytes := 0, 0
	if s.work != nil {
		mail, bytes = len(s.work.mail.transmissions), s.work.mail.bytes
	}
	return s.roomLocked() > mail && bytes+mailSize(p) <= maxSessionMail && s.g.mail.Load()+int64(mailSize(p)) <= maxMail
}

// takeMailLocked moves up to n transmissions from the mailbox to buf. The mailbox
// may have become empty since nextStep chose it.
func (s *Session) takeMailLocked(n int, buf []Transmission) []Transmission {
	if !s.hasMailLocked() {
		return buf
	}
	m := &s.work.mail
	n = min(n, len(m.transmissions))
	for i := range m.transmissions[:n] {
		s.uncountMailLocked(&m.transmissions[i])
	}
	buf = append(buf, m.transmissions[:n]...)
	rest := copy(m.transmissions, m.transmissions[n:])
	clear(m.transmissions[rest:])
	m.transmissions = m.transmissions[:rest]
	return buf
}

func (s *Session) uncountMailLocked(p *Transmission) {
	s.work.mail.bytes -= mailSize(p)
	s.g.mail.Add(-int64(mailSize(p)))
}

// dropMailLocked empties the mailbox. The caller marks the session to read the
// store, or has ended it.
func (s *Session) dropMailLocked() {
	if s.hasMailLocked() {
		m := &s.work.mail
		s.g.mail.Add(-int64(m.bytes))
		clear(m.transmissions)
		m.transmissions, m.bytes = m.transmissions[:0], 0
	}
}

// cancelMailLocked removes a transmission that became final.
func (s *Session) cancelMailLocked(seq Seq) {
	if s.work == nil {
		return
	}
	m := &s.work.mail
	for i := range m.transmissions {
		if p := &m.transmissions[i]; p.Seq == seq {
			s.uncountMailLocked(p)
			m.transmissions = slices.Delete(m.transmissions, i, i+1)
			s.relaxLocked()
			return
		}
	}
}
