package gateway

import (
	"errors"
	"sync"
	"time"
)

// pumpBytes bounds the payload bytes that one step takes from the store.
const pumpBytes = 256 << 10

// notify tells the session that the store holds something new for it.
// here = the calling goroutine may do the work.
func (s *Session) notify(here bool) {
	s.mu.Lock()
	s.fresh = true
	ready := s.started && !s.closed
	s.mu.Unlock()
	switch {
	case !ready:
	case here:
		s.wakeHere()
	default:
		s.wake()
	}
}

// pump moves what can be sent now to the link: online deliveries first, for
// somebody waits for them, then repeats, then what is new. It runs on one
// goroutine at a time per session, which keeps first transmissions in order.
func (s *Session) pump() {
	s.mu.Lock()
	ready := s.started && !s.closed
	s.mu.Unlock()
	if !ready {
		return
	}
	if s.pumpUrgent() && s.pumpRepeats() {
		s.pumpFresh()
	}
}

// pumpUrgent reports whether the link can take more.
func (s *Session) pumpUrgent() bool {
	for {
		s.mu.Lock()
		if len(s.urgent) == 0 {
			s.urgent = nil
			s.mu.Unlock()
			return true
		}
		if s.room() == 0 {
			s.mu.Unlock()
			return false
		}
		call := s.urgent[0]
		s.urgent = s.urgent[1:]
		s.localSeq++
		seq := s.localSeq
		s.enter(inflight{seq: seq, message: call.message, call: call})
		payload := call.payload
		s.mu.Unlock()

		err := s.deliver(Parcel{Message: call.message, Seq: seq, Payload: payload, Ephemeral: true})
		if err == nil {
			continue
		}
		s.mu.Lock()
		// Whoever takes a call out of the window replies to it, and nobody else:
		// the session may have ended, or the caller left, meanwhile.
		f := s.find(seq, true)
		if f != nil {
			s.drop(f)
			if retryable(err) {
				s.urgent = append([]*onlineCall{call}, s.urgent...)
			}
		}
		s.mu.Unlock()
		if retryable(err) {
			return false
		}
		if f != nil {
			call.refused(err)
		}
	}
}

// pumpRepeats sends again what is due; it reports whether the link can take
// more.
func (s *Session) pumpRepeats() bool {
	for {
		s.mu.Lock()
		var seq Seq
		for i := range s.flight {
			if f := &s.flight[i]; f.due && !f.gone {
				seq = f.seq
				f.due = false
				break
			}
		}
		s.mu.Unlock()
		if seq == 0 {
			return true
		}
		p, ok, err := s.g.store.Parcel(s.client, seq)
		switch {
		case err != nil:
			s.laterAgain(seq)
			return false
		case !ok: // final meanwhile
			s.evict(seq)
			continue
		case !p.ExpiresAt.After(time.Now()):
			s.link.Forget(seq, false) // the expiry driver settles it
			continue
		}
		p.Dup = true
		switch err := s.deliver(p); {
		case err == nil:
		case retryable(err):
			s.mu.Lock()
			if f := s.find(seq, false); f != nil {
				f.due = true
			}
			s.mu.Unlock()
			return false
		default:
			return false
		}
	}
}

// laterAgain tries a repeat again when the store may have recovered.
func (s *Session) laterAgain(seq Seq) {
	s.mu.Lock()
	if f := s.find(seq, false); f != nil {
		f.waiting = true
	}
	s.mu.Unlock()
	s.g.cfg.After(jitter(5*time.Second), func() { s.retryNow(seq) })
}

// pumpFresh takes parcels above the cursor from the store, as many as there is
// room for, and hands them to the link.
func (s *Session) pumpFresh() {
	if s.roomForFresh(false) == 0 {
		return
	}
	buf := parcelBuffers.Get().(*[]Parcel)
	defer parcelBuffers.Put(buf)
	for {
		room := s.roomForFresh(true)
		if room == 0 {
			return
		}
		parcels, err := s.g.store.Next(s.client, s.cursor, room, pumpBytes, (*buf)[:0])
		if err != nil {
			s.g.cfg.After(jitter(5*time.Second), func() { s.notify(false) })
			return
		}
		dry := len(parcels) < room && payloadBytes(parcels) < pumpBytes
		all := s.sendAll(parcels)
		clear(parcels)
		*buf = parcels[:0]
		if !all || !dry {
			s.setFresh()
		}
		if !all || dry {
			return
		}
	}
}

func payloadBytes(parcels []Parcel) (n int) {
	for i := range parcels {
		n += len(parcels[i].Payload)
	}
	return n
}

// parcelBuffers holds *[]Parcel for the time of one pumpFresh.
var parcelBuffers = sync.Pool{New: func() any { b := make([]Parcel, 0, 16); return &b }}

// roomForFresh returns how many new parcels the window has room for, 0 when the
// store has none to give. With take the caller is about to ask the store: fresh
// is then cleared, and set again by whoever finds or adds more.
func (s *Session) roomForFresh(take bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh || s.closed {
		return 0
	}
	room := s.room()
	if room > 0 && take {
		s.fresh = false
	}
	return room
}

func (s *Session) setFresh() {
	s.mu.Lock()
	s.fresh = true
	s.mu.Unlock()
}

// sendAll hands parcels to the link in order, until one cannot go now.
func (s *Session) sendAll(parcels []Parcel) (all bool) {
	for i := range parcels {
		if !s.send(parcels[i]) {
			return false
		}
	}
	return true
}

// send hands one new parcel to the link; it reports whether to go on.
func (s *Session) send(p Parcel) bool {
	if !p.ExpiresAt.After(time.Now()) {
		s.cursor = p.Seq // never sent past its expiry; the expiry driver settles it
		return true
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	f := inflight{seq: p.Seq, message: p.Message, expiresAt: p.ExpiresAt, many: p.Many}
	f.attempts = s.triedBefore(p.Seq)
	p.Dup = f.attempts > 0
	if f.attempts >= s.g.cfg.MaxAttempts {
		s.mu.Unlock()
		s.cursor = p.Seq
		s.settle(s.outcome(&f, Failed, ReasonAttemptsUsedUp))
		return true
	}
	s.enter(f)
	s.mu.Unlock()

	err := s.deliver(p)
	if err == nil {
		s.cursor = p.Seq
		return true
	}
	s.mu.Lock()
	if e := s.find(p.Seq, false); e != nil {
		s.drop(e)
	}
	if f.attempts > 0 && retryable(err) {
		s.tried = append(s.tried, attempt{seq: p.Seq, attempts: f.attempts})
	}
	s.mu.Unlock()
	if errors.Is(err, ErrTooLarge) {
		s.cursor = p.Seq
		s.settle(s.outcome(&f, Rejected, ReasonTooLargeForProtocol))
		return true
	}
	return false
}

// deliver hands a parcel to the link; runPump flushes.
func (s *Session) deliver(p Parcel) error {
	err := s.link.Deliver(p)
	s.unflushed = s.unflushed || err == nil
	return err
}

// retryable reports whether Deliver may succeed later on the same link.
func retryable(err error) bool {
	return errors.Is(err, ErrLinkBusy) || errors.Is(err, ErrWindowFull)
}

// room is how many deliveries fit into the window now. s.mu is held.
func (s *Session) room() int { return max(0, s.link.Window()-s.live()) }

// enter puts an entry into the window before its frame is written, for the
// answer may come at once. s.mu is held.
func (s *Session) enter(f inflight) {
	s.flight = append(s.flight, f)
	s.g.hub.inFlight.Add(1)
}

// triedBefore takes the transmissions of earlier sessions for seq. s.mu is held.
func (s *Session) triedBefore(seq Seq) int {
	for i, t := range s.tried {
		if t.seq == seq {
			s.tried = append(s.tried[:i], s.tried[i+1:]...)
			if len(s.tried) == 0 {
				s.tried = nil
			}
			return t.attempts
		}
	}
	return 0
}
