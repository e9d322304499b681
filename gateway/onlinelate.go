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

// lateAnswers remembers ended online calls and keeps the answers to them. At a bound the
// oldest of the owner with the most give way, so that one tenant's calls do not push out
// those of another.
type lateAnswers struct {
	mu      sync.Mutex
	calls   map[lateKey]lateCall
	answers map[MessageID]lateAnswer
	owners  map[string]*lateOwner // those that have any
	ended   int                   // of all owners
	kept    int                   // of all owners
	bytes   int                   // of the results of answers
}

// lateOwner has what one owner has of them, the oldest first.
type lateOwner struct {
	name  string
	ended []lateKey // of calls; some have been answered
	kept  []MessageID
	bytes int
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
	o := l.ownerLocked(c.owner, c.endedAt)
	l.calls[k] = c
	o.ended = append(o.ended, k)
	l.ended++
	if l.ended > maxLateCalls {
		l.trimLocked(c.endedAt)
	}
	for l.ended > maxLateCalls {
		l.forgetLocked(l.mostLocked(func(o *lateOwner) int { return len(o.ended) }))
	}
}

// take removes and returns the call of an answer.
func (l *lateAnswers) take(k lateKey, now time.Time) (c lateCall, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok = l.calls[k]
	delete(l.calls, k)
	return c, ok && now.Sub(c.endedAt) < lateTime
}

// keep keeps the answer to a call that is not stored.
func (l *lateAnswers) keep(c lateCall, d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.ownerLocked(c.owner, d.FinalAt)
	l.answers[d.Message] = lateAnswer{c, d}
	o.kept = append(o.kept, d.Message)
	l.kept++
	o.bytes += len(d.Result)
	l.bytes += len(d.Result)
	if l.bytes > maxLateBytes || l.kept > maxLateAnswers {
		l.trimLocked(d.FinalAt)
	}
	for l.bytes > maxLateBytes {
		l.dropLocked(l.mostLocked(func(o *lateOwner) int { return o.bytes }))
	}
	for l.kept > maxLateAnswers {
		l.dropLocked(l.mostLocked(func(o *lateOwner) int { return len(o.kept) }))
	}
}

// trimLocked makes room: it drops what is past its time.
func (l *lateAnswers) trimLocked(now time.Time) {
	for _, o := range l.owners {
		l.trimOwnerLocked(o, now)
	}
}

// ownerLocked returns what is kept for an owner, after a trim.
func (l *lateAnswers) ownerLocked(name string, now time.Time) *lateOwner {
	if l.owners == nil {
		l.calls, l.answers, l.owners = make(map[lateKey]lateCall), make(map[MessageID]lateAnswer), make(map[string]*lateOwner)
	}
	o := l.owners[name]
	if o == nil {
		o = &lateOwner{name: name}
	}
	l.trimOwnerLocked(o, now)
	l.owners[name] = o
	return o
}

func (l *lateAnswers) trimOwnerLocked(o *lateOwner, now time.Time) {
	for len(o.ended) > 0 {
		if c, waits := l.calls[o.ended[0]]; waits && now.Sub(c.endedAt) < lateTime {
			break
		}
		l.forgetLocked(o)
	}
	for len(o.kept) > 0 && now.Sub(l.answers[o.kept[0]].delivery.FinalAt) >= lateTime {
		l.dropLocked(o)
	}
}

// mostLocked returns the owner that has most of what of counts.
func (l *lateAnswers) mostLocked(of func(*lateOwner) int) (most *lateOwner) {
	for _, o := range l.owners {
		if most == nil || of(o) > of(most) {
			most = o
		}
	}
	return most
}

// forgetLocked forgets the oldest call of an owner.
func (l *lateAnswers) forgetLocked(o *lateOwner) {
	delete(l.calls, o.ended[0])
	o.ended = o.ended[1:]
	l.ended--
	l.leaveLocked(o)
}

// dropLocked drops the oldest answer of an owner.
func (l *lateAnswers) dropLocked(o *lateOwner) {
	n := len(l.answers[o.kept[0]].delivery.Result)
	delete(l.answers, o.kept[0])
	o.kept = o.kept[1:]
	l.kept--
	o.bytes -= n
	l.bytes -= n
	l.leaveLocked(o)
}

func (l *lateAnswers) leaveLocked(o *lateOwner) {
	if len(o.ended) == 0 && len(o.kept) == 0 {
		delete(l.owners, o.name)
	}
}

// message returns the message of a late answer; ok is false if none is kept.
func (l *lateAnswers) message(id MessageID, now time.Time) (m Message, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.answers[id]
	if !ok || now.Sub(a.delivery.FinalAt) >= lateTime {
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
