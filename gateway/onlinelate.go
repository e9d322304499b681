package gateway

import (
	"context"
	"sync"
	"time"
)

const (
	// lateTime is how long the answer of a device to an online call that has ended is
	// waited for, and how long it is then kept.
	lateTime = 10 * time.Minute

	maxLateCalls   = 10_000  // ended calls that are waited for
	maxLateAnswers = 10_000  // late answers that are kept
	maxLateBytes   = 8 << 20 // bytes of their results
)

// lateKey names an online delivery: its number counts within the session.
type lateKey struct {
	session uid
	seq     Seq
}

// lateCall is an online call that has ended without an answer.
type lateCall struct {
	message  MessageID
	stored   Seq // of a message with an idempotency key; 0 = not stored
	client   ClientID
	owner    string
	metadata map[string]string
	sentAt   time.Time
	endedAt  time.Time
}

// lateAnswers remembers ended online calls and keeps the answers to them. The oldest
// give way at a bound.
type lateAnswers struct {
	mu      sync.Mutex
	calls   map[lateKey]lateCall
	ended   []lateKey // of calls, the oldest first; some have been answered
	answers map[MessageID]lateAnswer
	kept    []MessageID // of answers, the oldest first
	bytes   int         // of the results of answers
}

// lateAnswer is the answer to an ended call that is not stored.
type lateAnswer struct {
	call     lateCall
	delivery Delivery
}

// wait remembers a call that has ended.
func (l *lateAnswers) wait(k lateKey, c lateCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = make(map[lateKey]lateCall)
	}
	l.trimLocked(c.endedAt)
	l.calls[k] = c
	l.ended = append(l.ended, k)
}

// take removes and returns the call of an answer.
func (l *lateAnswers) take(k lateKey, now time.Time) (c lateCall, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimLocked(now)
	c, ok = l.calls[k]
	delete(l.calls, k)
	return c, ok
}

// keep keeps the answer to a call that is not stored.
func (l *lateAnswers) keep(c lateCall, d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers == nil {
		l.answers = make(map[MessageID]lateAnswer)
	}
	l.answers[d.Message] = lateAnswer{c, d}
	l.kept = append(l.kept, d.Message)
	l.bytes += len(d.Result)
	l.trimLocked(d.FinalAt)
}

// trimLocked drops entries that are past their time or above a bound.
func (l *lateAnswers) trimLocked(now time.Time) {
	for len(l.ended) > 0 {
		c, waits := l.calls[l.ended[0]]
		if waits && len(l.ended) < maxLateCalls && now.Sub(c.endedAt) < lateTime {
			break
		}
		delete(l.calls, l.ended[0])
		l.ended = l.ended[1:]
	}
	for len(l.kept) > 0 {
		d := l.answers[l.kept[0]].delivery
		if len(l.kept) <= maxLateAnswers && l.bytes <= maxLateBytes && now.Sub(d.FinalAt) < lateTime {
			break
		}
		l.bytes -= len(d.Result)
		delete(l.answers, d.Message)
		l.kept = l.kept[1:]
	}
}

// message returns the message of a late answer; ok is false if none is kept.
func (l *lateAnswers) message(id MessageID, now time.Time) (m Message, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimLocked(now)
	a, ok := l.answers[id]
	if !ok {
		return m, false
	}
	c, d := a.call, a.delivery
	m = Message{ID: id, Online: true, Client: d.Client, Owner: c.owner, Metadata: c.metadata, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt,
		CompletedAt: d.FinalAt, Counts: Counts{Total: 1}, Delivery: &d}
	*m.Counts.Of(d.State) = 1
	return m, true
}

// waitLateLocked remembers a call that leaves the window without an answer.
func (s *Session) waitLateLocked(seq Seq, c *OnlineCall) {
	s.g.late.wait(lateKey{s.id, seq}, lateCall{message: c.message, stored: c.stored, client: s.client, owner: c.owner, metadata: c.metadata,
		sentAt: c.sentAt.Round(0), endedAt: s.g.now()})
}

// answeredLate passes on the answer to a call that has ended. The answer to a stored
// call is its outcome; another one is kept for some time.
func (s *Session) answeredLate(seq Seq, code AckCode, result []byte) {
	now := s.g.now()
	c, ok := s.g.late.take(lateKey{s.id, seq}, now)
	if !ok {
		return
	}
	s.g.counts.lateAcks.Add(1)
	state, reason := onlineVerdict(code)
	if c.stored != 0 {
		o := Outcome{Message: c.message, Client: c.client, Seq: c.stored, State: state, Reason: reason, Attempts: 1,
			SentAt: c.sentAt, At: now, Result: result}
		if !s.g.store.TrySettle(o, true) { // this goroutine may not wait
			s.g.cfg.After(jitter(time.Second), func() { s.g.store.Settle(o, true) })
		}
		return
	}
	s.g.late.keep(c, Delivery{Message: c.message, Client: c.client, Online: true, State: state, Reason: reason, Attempts: 1,
		CreatedAt: c.message.madeAt(), ExpiresAt: c.endedAt, SentAt: c.sentAt, FinalAt: now, Result: result})
	e := Event{Type: FinalEvent(state), At: now, Client: c.client, Message: c.message, State: state, Reason: reason, Attempts: 1, Result: result}
	s.g.cfg.After(0, func() { // this goroutine may not wait
		if err := s.g.store.Note(context.Background(), e); err != nil {
			s.g.cfg.Logger.Warn("the late answer to an online push is no event", "message", e.Message, "cause", err)
		}
	})
}

// onlineVerdict is the state of an online delivery after the device's answer. Retry
// later counts as a rejection, because an online delivery has no later. So does
// AckSend, because the payload was sent.
func onlineVerdict(code AckCode) (State, string) {
	switch code {
	case AckOK:
		return Acked, ""
	case AckNotKept:
		return Acked, ReasonVerdictNotKept
	}
	return Rejected, ReasonDeviceRejected
}
