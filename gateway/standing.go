package gateway

import "time"

// Standing is the place of a queued delivery at its client's live session: in the window,
// or the reason why it is not. That of an offline client has MayHaveLeft at most.
type Standing struct {
	Live bool // the client has a session

	// MayHaveLeft is set if only the last output of an ended connection can have carried the
	// delivery: the link has not reported that.
	MayHaveLeft bool

	// In the window.
	InWindow   bool
	Flushed    bool      // its last transmission is flushed and not answered
	Asked      bool      // an ASK for its verdict is not answered
	AskedAt    time.Time // when that left; zero if it is not kept
	RetryLater int       // answers retry later on this connection while it waits for the next transmission; ManyRetries = that or more
	Retried    int       // the same when it was sent again since
	RetrySince time.Time // the first of them
	NextAt     time.Time // when it is due again
	WorkingAt  time.Time // when the device said last that it works on it, since the last transmission
	MisackedAt time.Time // when an ack came in the other number space

	// Of the session.
	Window   int       // deliveries that may be unacked at once
	InFlight int       // those that are
	First    *Delivery // the first of them but this one: ids, attempts, last transmission, and the reason retry_later
	Asking   bool      // no payload leaves before the ASKs are answered; First is asked
	Waking   bool      // the message's broadcast has not come to all recipients
	Link     LinkStats
	Flaps    int // quick takeovers in a row that led to the session

	History []HistoryLine // of this delivery, while it is in the window
}

// HistoryLine is one happening of a delivery.
type HistoryLine struct {
	At   time.Time
	What Happening
}

// ManyRetries is how far answers retry later are counted: it stands for itself and more.
const ManyRetries = 6

// Standing returns the place of a queued delivery, and brings d up to date with it.
func (g *Gateway) Standing(d *Delivery) Standing {
	var st Standing
	s, before := g.hub.triedBefore(d.Client, d.Seq, func(s *Session) { st = s.standing(d) })
	if s == nil {
		return Standing{MayHaveLeft: before.seq != 0 && before.sentAt == 0}
	}
	st.Waking = !st.InWindow && g.sent.isWalking(d.Message)
	st.Link = s.link.Stats()
	return st
}

// Flaps returns the number of quick takeovers in a row that led to the client's session.
func (g *Gateway) Flaps(id ClientID) int {
	if s := g.hub.session(id); s != nil {
		return int(s.flaps)
	}
	return 0
}

func (s *Session) standing(d *Delivery) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.State, d.Reason, d.Progress = Queued, "", nil
	s.overlayLocked(d)
	seq := d.Seq
	st := Standing{Live: true, Window: int(s.window), InFlight: s.liveLocked(), Asking: s.askingLocked(), Flaps: int(s.flaps)}
	if f := s.firstLocked(seq, st.Asking); f != nil {
		st.First = &Delivery{Message: f.message, Client: s.client, Seq: f.seq, Attempts: int(f.attempts), SentAt: timeOf(f.sentAt)}
		if f.retries > 0 && !f.is(flightAsked) {
			st.First.Reason = ReasonRetryLater
		}
	}
	f := s.findLocked(seq, false)
	if f == nil || f.gone() {
		if d.State == Sent { // answered: the verdict is on its way to the store
			st.InWindow, st.Flushed, st.History = true, true, []HistoryLine{{d.SentAt, HappenedSent}}
		}
		return st
	}
	st.InWindow, st.Flushed = true, f.is(flightFlushed)
	st.Asked = f.is(flightAsked) && f.stage == stageOut
	if f.is(flightAway) {
		st.RetryLater = int(f.retries)
	} else if !st.Asked {
		st.Retried = int(f.retries)
	}
	n := f.notes
	if n == nil {
		if f.sentAt != 0 {
			st.History = []HistoryLine{{timeOf(f.sentAt), HappenedSent}}
		}
		return st
	}
	st.RetrySince, st.NextAt, st.MisackedAt, st.AskedAt = timeOf(n.retryAt), timeOf(n.nextAt), timeOf(n.misackedAt), timeOf(n.askedAt)
	if n.workingAt >= f.sentAt {
		st.WorkingAt = timeOf(n.workingAt)
	}
	for _, h := range n.happened {
		st.History = append(st.History, HistoryLine{timeOf(h.at), h.what})
	}
	return st
}

// firstLocked returns the first delivery of the window except seq, nil for none; with
// asking the first one with an open ASK.
func (s *Session) firstLocked(seq Seq, asking bool) *inflight {
	if s.work == nil {
		return nil
	}
	for i := range s.work.flight {
		if f := &s.work.flight[i]; !f.gone() && f.call == nil && f.seq != seq && (!asking || f.is(flightOpen)) {
			return f
		}
	}
	return nil
}
