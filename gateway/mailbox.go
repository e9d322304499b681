package gateway

import "slices"

// mailbox holds parcels that the store accepted for a connected client with an
// empty queue; they are sent without a read of the store. It is part of work, and
// so guarded by the session's mutex.
//
// The store is the truth and the mailbox a shortcut: any parcel may be dropped if
// the session is marked to read the store (flagFresh). The first transmissions of
// a session rise and skip none, because
//   - the mailbox ignores a parcel that is not above the last one taken: it was read
//     from the store before;
//   - a session that is marked or reading gets no parcel: the store may have an earlier one;
//   - nor does a session that has not read beyond the last message to many: that message
//     may be for it, and its broadcast may come later (a rate);
//   - parcels leave before the store is read, and the cursor moves with them.
type mailbox struct {
	parcels []Parcel // in rising order
	bytes   int      // as mailSize counts
}

// Bounds of the mailboxes, in bytes. The feed holds less than 4 MiB in addition: the
// payloads of the records under way.
const (
	maxMail        = 12 << 20 // in all sessions
	maxSessionMail = 64 << 10
)

// mailSize is the memory that a parcel in a mailbox takes, in bytes.
func mailSize(p *Parcel) int { return len(p.Payload) + 128 }

// offer puts a parcel that the store has just made readable into the mailbox, or
// marks the session to read the store. many is the sequence of the last message
// to many before it. offer reports whether to pump the session.
func (s *Session) offer(p *Parcel, many Seq) (pump bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.lastTaken()
	switch {
	case p.Seq <= last:
		return false
	case many > last || !s.takesMail(p):
		s.flags |= flagFresh
	default:
		m := &s.busy().mail
		m.parcels = append(m.parcels, *p)
		m.bytes += mailSize(p)
		s.g.mail.Add(int64(mailSize(p)))
	}
	return s.flowing()
}

// The functions below are called with s.mu held.

// lastTaken is the highest sequence in the mailbox or behind the cursor.
func (s *Session) lastTaken() Seq {
	if s.hasMail() {
		mail := s.work.mail.parcels
		return mail[len(mail)-1].Seq
	}
	return s.cursor
}

func (s *Session) hasMail() bool { return s.work != nil && len(s.work.mail.parcels) > 0 }

// takesMail reports whether p may be put into the mailbox.
func (s *Session) takesMail(p *Parcel) bool {
	if !s.flowing() || s.is(flagFresh|flagReading) {
		return false
	}
	mail, bytes := 0, 0
	if s.work != nil {
		mail, bytes = len(s.work.mail.parcels), s.work.mail.bytes
	}
	return s.room() > mail && bytes+mailSize(p) <= maxSessionMail && s.g.mail.Load()+int64(mailSize(p)) <= maxMail
}

// takeMail moves up to n parcels from the mailbox to buf. The mailbox may have
// become empty since nextStep chose it.
func (s *Session) takeMail(n int, buf []Parcel) []Parcel {
	if !s.hasMail() {
		return buf
	}
	m := &s.work.mail
	n = min(n, len(m.parcels))
	for i := range m.parcels[:n] {
		s.uncountMail(&m.parcels[i])
	}
	buf = append(buf, m.parcels[:n]...)
	rest := copy(m.parcels, m.parcels[n:])
	clear(m.parcels[rest:])
	m.parcels = m.parcels[:rest]
	return buf
}

func (s *Session) uncountMail(p *Parcel) {
	s.work.mail.bytes -= mailSize(p)
	s.g.mail.Add(-int64(mailSize(p)))
}

// dropMail empties the mailbox. The caller marks the session to read the store,
// or has ended it.
func (s *Session) dropMail() {
	if s.hasMail() {
		m := &s.work.mail
		s.g.mail.Add(-int64(m.bytes))
		clear(m.parcels)
		m.parcels, m.bytes = m.parcels[:0], 0
	}
}

// cancelMail removes a parcel that became final.
func (s *Session) cancelMail(seq Seq) {
	if s.work == nil {
		return
	}
	m := &s.work.mail
	for i := range m.parcels {
		if p := &m.parcels[i]; p.Seq == seq {
			s.uncountMail(p)
			m.parcels = slices.Delete(m.parcels, i, i+1)
			s.relax()
			return
		}
	}
}
