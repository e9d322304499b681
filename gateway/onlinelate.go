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
	maxLateBytes   = 8 << 20 // memory of the calls, and of the answers

	// Memory in bytes, without texts: of a call, of an answer in addition to its call, of
	// metadata and of each entry in it. A test measures them.
	lateCallSize   = 320
	lateAnswerSize = 190
	metadataSize   = 300
	entrySize      = 64
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

// size is the memory that the call takes, in bytes.
func (c *lateCall) size() int {
	n := lateCallSize + len(c.owner)
	if len(c.metadata) > 0 {
		n += metadataSize
	}
	for k, v := range c.metadata {
		n += entrySize + len(k) + len(v)
	}
	return n
}

// lateAnswers remembers ended online calls and keeps the answers to them. At a bound the
// oldest of the owner with the most give way, so that one tenant's calls do not push out
// those of another.
type lateAnswers struct {
	mu      sync.Mutex
	calls   map[lateKey]lateCall
	answers map[MessageID]lateAnswer
	owners  map[string]*lateOwner // those that have any
	ended   lateSum
	kept    lateSum
}

// lateSum is how many there are, and their size.
type lateSum struct{ n, bytes int }

func (s *lateSum) add(n, bytes int) { s.n, s.bytes = s.n+n, s.bytes+bytes }

// exceeds reports whether there are more than the bounds allow.
func (s *lateSum) exceeds(n int) bool { return s.n > n || s.bytes > maxLateBytes }

// lateOwner has what one owner has of them, the oldest first.
type lateOwner struct {
	name       string
	ended      []lateKey // of calls; some have been answered
	kept       []MessageID
	endedBytes int
	keptBytes  int
}

// lateAnswer is the answer to an ended call that is not stored.
type lateAnswer struct {
	call     lateCall
	delivery Delivery
}

func (a *lateAnswer) size() int { return a.call.size() + lateAnswerSize + len(a.delivery.Result) }

// wait remembers a call that has ended.
func (l *lateAnswers) wait(k lateKey, c lateCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.ownerLocked(c.owner, c.endedAt)
	l.calls[k] = c
	o.ended = append(o.ended, k)
	o.endedBytes += c.size()
	l.ended.add(1, c.size())
	if l.ended.exceeds(maxLateCalls) {
		l.trimLocked(c.endedAt)
	}
	for l.ended.bytes > maxLateBytes {
		l.forgetLocked(l.mostLocked(func(o *lateOwner) int { return o.endedBytes }))
	}
	for l.ended.n > maxLateCalls {
		l.forgetLocked(l.mostLocked(func(o *lateOwner) int { return len(o.ended) }))
	}
}

// take removes and returns the call of an answer.
func (l *lateAnswers) take(k lateKey, now time.Time) (c lateCall, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok = l.calls[k]; ok {
		l.removeLocked(k, l.owners[c.owner])
	}
	return c, ok && now.Sub(c.endedAt) < lateTime
}

// removeLocked removes a call of an owner. Its key stays in ended.
func (l *lateAnswers) removeLocked(k lateKey, o *lateOwner) {
	if c, waits := l.calls[k]; waits {
		o.endedBytes -= c.size()
		l.ended.add(0, -c.size())
		delete(l.calls, k)
	}
}

// keep keeps the answer to a call that is not stored.
func (l *lateAnswers) keep(c lateCall, d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.ownerLocked(c.owner, d.FinalAt)
	a := lateAnswer{c, d}
	l.answers[d.Message] = a
	o.kept = append(o.kept, d.Message)
	o.keptBytes += a.size()
	l.kept.add(1, a.size())
	if l.kept.exceeds(maxLateAnswers) {
		l.trimLocked(d.FinalAt)
	}
	for l.kept.bytes > maxLateBytes {
		l.dropLocked(l.mostLocked(func(o *lateOwner) int { return o.keptBytes }))
	}
	for l.kept.n > maxLateAnswers {
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
	l.removeLocked(o.ended[0], o)
	o.ended = o.ended[1:]
	l.ended.add(-1, 0)
	l.leaveLocked(o)
}

// dropLocked drops the oldest answer of an owner.
func (l *lateAnswers) dropLocked(o *lateOwner) {
	a := l.answers[o.kept[0]]
	delete(l.answers, o.kept[0])
	o.kept = o.kept[1:]
	o.keptBytes -= a.size()
	l.kept.add(-1, -a.size())
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
