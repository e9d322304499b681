package gateway

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one registered connection, as its link drives it: the link
// reports what happened on the wire, the session moves deliveries. An idle
// session holds this struct and nothing else, about 250 bytes.
//
// Its methods may wait briefly while the store's queue is full. They must not
// be called while holding a lock that the Link's methods take: the session
// calls those with its own lock held.
type Session struct {
	// Fixed after construction.
	g           *Gateway
	link        Link
	id          SessionID
	client      ClientID
	connectedAt time.Time
	ref         uint32 // ClientRecord.Ref

	run     atomic.Int32 // idle, queued, running, again
	nextRun *Session     // guarded by the run queue

	// Owned by the goroutine that pumps.
	cursor    Seq  // highest sequence taken from the store
	unflushed bool // the link has taken something that Flush must follow

	mu         sync.Mutex
	flight     []inflight    // unacked, in the order of first transmission; nil when empty
	urgent     []*onlineCall // online deliveries that wait for room; nil when empty
	tried      []attempt     // transmissions of earlier sessions; nil when used up
	localSeq   Seq           // last number given to an online delivery
	lastUplink uint64        // highest uplink id stored in this session
	started    bool          // the device has its REGISTER_ACK
	closed     bool          // ended or replaced; nothing more is sent
	fresh      bool          // the store may hold parcels above cursor
	flaps      uint8         // quick takeovers in a row that led to this session
}

// inflight is one delivery in the session's window.
type inflight struct {
	seq       Seq
	message   MessageID
	expiresAt time.Time
	sentAt    time.Time // last flush; zero = not flushed yet
	attempts  int       // flushes, earlier sessions included
	call      *onlineCall
	many      bool
	waiting   bool // to be sent again, not before its delay is over
	due       bool // to be sent again now
	gone      bool // final by another way; kept so that a late ack is recognised
}

// maxGone bounds the entries kept for late acks only.
const maxGone = 64

// Start lets deliveries flow: the device's REGISTER_ACK is in the output.
func (s *Session) Start() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.wake()
}

// Writable tells that Deliver may succeed again after ErrLinkBusy or
// ErrWindowFull.
func (s *Session) Writable() { s.wake() }

// Sent tells that the frame of seq has been flushed to the socket.
func (s *Session) Sent(seq Seq, ephemeral bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.find(seq, ephemeral)
	if f == nil {
		return
	}
	first := f.sentAt.IsZero()
	f.sentAt = time.Now()
	f.attempts++
	s.g.counts.delivered.Add(1)
	if f.attempts > 1 {
		s.g.counts.redelivered.Add(1)
	}
	if first && f.many && !f.gone {
		s.g.sent.add(f.message, 1)
	}
	if f.call != nil {
		f.call.sent(f.sentAt)
	}
}

// Acked tells the device's verdict on seq, also when the link no longer has it
// in its window: a late ack is kept with the delivery.
func (s *Session) Acked(seq Seq, ephemeral bool, code AckCode, result []byte) {
	s.mu.Lock()
	f := s.find(seq, ephemeral)
	if f == nil {
		s.mu.Unlock()
		return
	}
	if f.call != nil {
		call := f.call
		s.drop(f)
		s.mu.Unlock()
		s.g.answer(s, call, code, result)
		s.wakeIfWaiting()
		return
	}
	if code == AckRetry {
		s.retryLater(f)
		return
	}
	o := s.outcome(f, Acked, "")
	o.Result = result
	if code != AckOK {
		o.State, o.Reason = Rejected, ReasonDeviceRejected
	}
	s.drop(f)
	s.mu.Unlock()
	s.settle(o)
	s.wakeIfWaiting()
}

// AckTimeout tells that seq was not acked in time after its last flush. It is
// sent again unless its attempts are used up.
func (s *Session) AckTimeout(seq Seq, ephemeral bool) {
	s.mu.Lock()
	f := s.find(seq, ephemeral)
	switch {
	case f == nil || f.gone || f.call != nil:
		s.mu.Unlock()
		s.link.Forget(seq, ephemeral) // an online caller's own deadline decides
	case f.attempts >= s.g.cfg.MaxAttempts:
		s.giveUp(f)
	default:
		f.due = true
		s.mu.Unlock()
		s.wake()
	}
}

// retryLater sends f again after a delay that doubles with each attempt, 1 s
// to 30 s; it keeps its place in the window meanwhile, so that a window of one
// stays strict. s.mu is held and released.
func (s *Session) retryLater(f *inflight) {
	switch {
	case f.gone:
		s.mu.Unlock()
		return
	case f.attempts >= s.g.cfg.MaxAttempts:
		s.giveUp(f)
		return
	}
	seq := f.seq
	f.waiting = true
	d := jitter(min(time.Second<<min(f.attempts, 5), 30*time.Second))
	s.mu.Unlock()
	s.g.cfg.After(d, func() { s.retryNow(seq) })
}

func (s *Session) retryNow(seq Seq) {
	s.mu.Lock()
	if f := s.find(seq, false); f != nil && f.waiting {
		f.waiting, f.due = false, true
	}
	s.mu.Unlock()
	s.wake()
}

// giveUp settles f as failed. s.mu is held and released.
func (s *Session) giveUp(f *inflight) {
	o := s.outcome(f, Failed, ReasonAttemptsUsedUp)
	f.gone, f.due, f.waiting = true, false, false
	seq := f.seq
	s.trimGone()
	s.mu.Unlock()
	s.link.Forget(seq, false)
	s.settle(o)
	s.wake()
}

// settle proposes an outcome to the store. When the store cannot take it the
// delivery is still queued there; a session that is live sends it again, and
// the next session would in any case.
func (s *Session) settle(o Outcome) {
	if err := s.g.store.Settle(o, s.g.waiters.has(o.Message)); err == nil {
		return
	}
	s.g.cfg.After(jitter(5*time.Second), func() {
		s.mu.Lock()
		if !s.closed && s.find(o.Seq, false) == nil {
			s.enter(inflight{seq: o.Seq, message: o.Message, attempts: o.Attempts, due: true})
		}
		s.mu.Unlock()
		s.wake()
	})
}

// Received stores an uplink. After it has returned nil the device may be
// acked. A repeat within the session (an id that is not above the last one; 0
// is no id) is not stored again.
func (s *Session) Received(ctx context.Context, id uint64, payload []byte) error {
	s.mu.Lock()
	repeat := id != 0 && id <= s.lastUplink
	s.mu.Unlock()
	if repeat {
		return nil
	}
	u := Uplink{Client: s.client, Session: s.id, DeviceID: id, At: time.Now(), Payload: payload}
	seq, err := s.g.store.AppendUplink(ctx, u)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.lastUplink = max(s.lastUplink, id)
	s.mu.Unlock()
	u.Seq = seq
	s.g.counts.uplinks.Add(1)
	s.g.events.add(Event{Type: EventMessageReceived, At: u.At, Client: s.client, Session: s.id, Uplink: &u})
	return nil
}

// Closed tells that the connection has ended and why; the link calls it once,
// as the last thing.
func (s *Session) Closed(reason string) { s.g.disconnected(s, reason) }

// retire stops the session's deliveries and returns what was unacked.
func (s *Session) retire() []attempt {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	tried := s.tried
	calls := s.urgent
	for i := range s.flight {
		f := &s.flight[i]
		switch {
		case f.call != nil:
			calls = append(calls, f.call)
		case f.gone:
		default:
			if f.attempts > 0 {
				tried = append(tried, attempt{f.seq, f.attempts, f.sentAt})
			}
			if f.many && !f.sentAt.IsZero() {
				s.g.sent.add(f.message, -1)
			}
		}
		if !f.gone {
			s.g.hub.inFlight.Add(-1)
		}
	}
	// An ack that is still on its way to this session must find its delivery:
	// what the device said stays true.
	s.flight = slices.DeleteFunc(s.flight, func(f inflight) bool { return f.call != nil })
	for i := range s.flight {
		s.flight[i].gone = true
	}
	s.urgent, s.tried = nil, nil
	s.mu.Unlock()
	for _, c := range calls {
		c.lost()
	}
	return tried
}

// evict takes seq out of the window: it is final.
func (s *Session) evict(seq Seq) {
	s.mu.Lock()
	f := s.find(seq, false)
	if f == nil || f.gone {
		s.mu.Unlock()
		return
	}
	s.leave(f)
	f.gone, f.due, f.waiting = true, false, false
	s.trimGone()
	s.mu.Unlock()
	s.link.Forget(seq, false)
	s.wake()
}

// evictMessage takes all of a message out of the window.
func (s *Session) evictMessage(id MessageID) {
	s.mu.Lock()
	var seq Seq
	for i := range s.flight {
		if f := &s.flight[i]; f.message == id && !f.gone {
			seq = f.seq
		}
	}
	s.mu.Unlock()
	if seq != 0 {
		s.evict(seq)
	}
}

// overlay shows what only the live session knows of a queued delivery.
func (s *Session) overlay(d *Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.find(d.Seq, false)
	if f == nil || f.gone {
		return
	}
	d.Attempts = f.attempts
	d.SentAt = f.sentAt
	if !f.sentAt.IsZero() && !s.closed {
		d.State = Sent
	}
}

// inFlight returns how many deliveries are unacked.
func (s *Session) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live()
}

// The helpers below are called with s.mu held.

func (s *Session) find(seq Seq, ephemeral bool) *inflight {
	for i := range s.flight {
		if f := &s.flight[i]; f.seq == seq && (f.call != nil) == ephemeral {
			return f
		}
	}
	return nil
}

// live counts the entries that hold a place in the window.
func (s *Session) live() int {
	n := 0
	for i := range s.flight {
		if !s.flight[i].gone {
			n++
		}
	}
	return n
}

// leave takes a live entry out of the counts.
func (s *Session) leave(f *inflight) {
	if f.gone {
		return
	}
	s.g.hub.inFlight.Add(-1)
	if f.many && !f.sentAt.IsZero() {
		s.g.sent.add(f.message, -1)
	}
}

// drop removes an entry; the slice is released when it was the last.
func (s *Session) drop(f *inflight) {
	s.leave(f)
	seq, eph := f.seq, f.call != nil
	for i := range s.flight {
		if g := &s.flight[i]; g.seq == seq && (g.call != nil) == eph {
			s.flight = append(s.flight[:i], s.flight[i+1:]...)
			break
		}
	}
	if len(s.flight) == 0 {
		s.flight = nil
	}
}

// trimGone forgets the oldest entries that are kept for late acks only.
func (s *Session) trimGone() {
	for gone := len(s.flight) - s.live(); gone > maxGone; gone-- {
		for i := range s.flight {
			if s.flight[i].gone {
				s.flight = append(s.flight[:i], s.flight[i+1:]...)
				break
			}
		}
	}
}

func (s *Session) outcome(f *inflight, st State, reason string) Outcome {
	return Outcome{Message: f.message, Client: s.client, Ref: s.ref, Seq: f.seq, State: st, Reason: reason,
		Attempts: f.attempts, SentAt: f.sentAt, At: time.Now()}
}

// wakeIfWaiting wakes the pump when something waits for the room that an ack
// has made.
func (s *Session) wakeIfWaiting() {
	s.mu.Lock()
	waits := !s.closed && (s.fresh || len(s.urgent) > 0)
	s.mu.Unlock()
	if waits {
		s.wake()
	}
}
