package gateway

import (
	"sync"
	"time"
)

// maxEnds bounds the deliveries whose transmissions are remembered after their end; the
// oldest give way.
const maxEnds = 1 << 14

// sentEnds remembers the transmissions of deliveries that ended without an answer, such as
// expired ones. The store does not know them before a late answer.
type sentEnds struct {
	mu   sync.Mutex
	of   recent[endKey, endEntry]
	lost int64 // when the newest entry was made that has given way; 0 = none
}

type endKey struct {
	client ClientID
	seq    Seq
}

type endEntry struct {
	attempt
	at int64 // when it was made, Unix nanoseconds
}

func (e *sentEnds) add(id ClientID, t attempt, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := endKey{id, t.seq}
	if before, _ := e.of.get(k); t.sentAt == 0 && before.sentAt != 0 {
		return
	}
	if gone, full := e.of.put(k, endEntry{t, now.UnixNano()}, maxEnds); full {
		e.lost = max(e.lost, gone.at)
	}
}

// keepEnd remembers the transmissions of a delivery that has ended.
func (g *Gateway) keepEnd(id ClientID, t attempt) { g.ends.add(id, t, g.now()) }

func (e *sentEnds) get(id ClientID, seq Seq) (t attempt, lost int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	end, _ := e.of.get(endKey{id, seq})
	return end.attempt, e.lost
}

// Transmissions are the transmissions of a delivery that ended without an answer.
type Transmissions struct {
	Known      bool // this process knows whether there were any
	Attempts   int  // without those that the device answered with retry later
	Broken     int  // attempts whose connection ended before an answer or the ack timeout
	RetryLater int  // answers retry later
	SentAt     time.Time
}

// TransmissionsOf returns the transmissions of a delivery that has expired, was canceled, or
// has used up its attempts. The store has them if the device has answered late, and those of
// most messages to one client.
// Known is false if a process before this one, or more than 16,384 such deliveries after it,
// may have made it forgotten, or if it was on its way when its connection ended.
func (g *Gateway) TransmissionsOf(d *Delivery) Transmissions {
	var t attempt
	if s, before := g.hub.triedBefore(d.Client, d.Seq, func(s *Session) { t = s.attemptOf(d.Seq) }); s == nil {
		t = before
	}
	end, lost := g.ends.get(d.Client, d.Seq) // the last place: they come here from the other two
	if end.seq != 0 {
		t = end
	}
	if t.sentAt == 0 && !d.SentAt.IsZero() {
		t = attempt{seq: d.Seq, sentAt: d.SentAt.UnixNano(), attempts: int32(d.Attempts)}
	}
	known := t.sentAt != 0 || t.seq == 0 && !d.CreatedAt.Before(g.startedAt) && d.FinalAt.UnixNano() > lost && !g.hub.triedLost.Load()
	return Transmissions{Known: known, Attempts: int(t.attempts), Broken: int(t.broken), RetryLater: int(t.later), SentAt: timeOf(t.sentAt)}
}

// keepSends gives the store the transmissions of a delivery that has expired or was canceled,
// if it has room at once: after a restart only the store knows them.
func (g *Gateway) keepSends(d *Delivery) {
	g.store.TrySettle(Outcome{Message: d.Message, Client: d.Client, Seq: d.Seq, State: d.State, Attempts: d.Attempts, SentAt: d.SentAt, At: d.FinalAt}, false)
}

// showSends adds the transmissions of a delivery that has expired or was canceled, as far as
// they are known.
func (g *Gateway) showSends(d *Delivery) {
	if d.State != Expired && d.State != Canceled || d.Online {
		return
	}
	if t := g.TransmissionsOf(d); t.Known {
		d.Attempts, d.SentAt = t.Attempts, t.SentAt
	}
}

// attemptOf returns the transmissions of a delivery in the session, the zero value for none.
func (s *Session) attemptOf(seq Seq) attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.findLocked(seq, false); f != nil {
		return f.attempt()
	}
	if s.work == nil {
		return attempt{}
	}
	if t := s.work.answerTo(seq); t.seq != 0 {
		return t
	}
	return attemptAt(s.work.tried, seq)
}
