package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OnlineRequest is a request for an online delivery to one client.
type OnlineRequest struct {
	Client   ClientID
	Payload  []byte
	Wait     time.Duration // for the ack; 0 = Config.OnlineWait
	Linger   time.Duration // how long PushOnline still waits after its context has ended
	Metadata map[string]string
	Owner    string // Message.Owner

	// IdempotencyKey makes the message durable before it is sent, and sends it at
	// most once; "" for none. Encoding, Scope and Fingerprint belong to it; see
	// PushRequest. StartOnline takes none.
	IdempotencyKey string
	Encoding       Encoding
	Scope          string
	Fingerprint    [32]byte
}

// OnlineResult is the device's answer.
type OnlineResult struct {
	Message MessageID
	Client  ClientID
	State   State // Acked or Rejected
	Reason  string
	Result  []byte
	SentAt  time.Time
	At      time.Time
	RTT     time.Duration

	Replayed  bool      // the outcome of an earlier call with the idempotency key
	CreatedAt time.Time // of the stored message, if there is an idempotency key
}

// maxOnlineCalls bounds the calls that wait for one client's window at a time;
// more get CodeQueueFull.
const maxOnlineCalls = 64

// OnlineCall is one online delivery, from StartOnline until its waiter is called.
// It belongs to the caller, which may then use it again.
type OnlineCall struct {
	gateway *Gateway
	session sessionRef
	waiter  OnlineWaiter
	message MessageID
	payload []byte
	wait    time.Duration

	// stored is the sequence of the message in the store, 0 if it is not there. The
	// next fields are kept for a late answer.
	stored   Seq
	owner    string
	metadata map[string]string

	// The fields below are guarded by the session's mutex.
	sentAt   time.Time   // last flush; zero = not flushed yet
	entered  bool        // in the window: the frame may leave at any moment, or has left
	misacked Seq         // its number, if the device acked it as a stored delivery's; else 0
	next     *OnlineCall // in the urgent queue
}

// OnlineWaiter receives the end of an OnlineCall.
type OnlineWaiter interface {
	// Answered is called once, from any goroutine, with no lock held, and maybe
	// before StartOnline has returned. It must not block. Its errors are those of
	// PushOnline that can come after the start: CodeClientOffline,
	// CodePayloadTooLarge, CodeAckTimeout.
	Answered(OnlineResult, error)
}

// onlineQueue is a linked list of calls.
type onlineQueue struct {
	head, tail *OnlineCall
	n          int
}

func (q *onlineQueue) push(c *OnlineCall) {
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
	q.n++
}

func (q *onlineQueue) pushFront(c *OnlineCall) {
	c.next, c.entered = q.head, false
	q.head = c
	if q.tail == nil {
		q.tail = c
	}
	q.n++
}

// pop removes and returns the first call, nil if there is none.
func (q *onlineQueue) pop() *OnlineCall {
	c := q.head
	if c != nil {
		q.unlink(nil, c)
	}
	return c
}

// remove takes c out. It returns false if c is not in the queue.
func (q *onlineQueue) remove(c *OnlineCall) bool {
	var before *OnlineCall
	for e := q.head; e != nil; before, e = e, e.next {
		if e == c {
			q.unlink(before, c)
			return true
		}
	}
	return false
}

func (q *onlineQueue) unlink(before, c *OnlineCall) {
	if before == nil {
		q.head = c.next
	} else {
		before.next = c.next
	}
	if q.tail == c {
		q.tail = before
	}
	c.next = nil
	q.n--
}

// OnlineBatch collects calls that begin together, so that calls to one client
// leave in one write. It belongs to one goroutine.
type OnlineBatch struct{ sessions []*Session }

// Flush sends the calls that were started with b since the last Flush.
func (b *OnlineBatch) Flush() {
	for _, s := range b.sessions {
		s.wakeHere()
	}
	clear(b.sessions)
	b.sessions = b.sessions[:0]
}

// Clients is the number of clients that Flush will write to.
func (b *OnlineBatch) Clients() int { return len(b.sessions) }

// StartOnline begins to deliver to a connected client now, or refuses; nothing is
// stored. With a batch the delivery begins at its Flush. After StartOnline has
// returned nil, w is called once, at the latest when the session ends. The caller
// must call TimeOut when c.Wait is over. r.Payload must not change any more: its
// frame may leave after the call has ended.
//
// Errors: CodeValidation, CodeClientNotFound, CodeClientOffline,
// CodePayloadTooLarge, CodeQueueFull (too many callers wait for this client),
// CodeDraining.
func (g *Gateway) StartOnline(c *OnlineCall, r OnlineRequest, w OnlineWaiter, b *OnlineBatch) error {
	return g.startOnline(c, &r, g.newMessageID(), 0, w, b)
}

// startOnline is StartOnline for the message id, whose sequence in the store is stored.
func (g *Gateway) startOnline(c *OnlineCall, r *OnlineRequest, id MessageID, stored Seq, w OnlineWaiter, b *OnlineBatch) error {
	if g.draining.Load() {
		return errDraining
	}
	if !r.Client.Valid() {
		return errNotClientID
	}
	session, ok := g.presence.holder(r.Client)
	if !ok {
		if _, err := g.store.Client(r.Client); err != nil {
			return err
		}
		return errOffline
	}
	*c = OnlineCall{gateway: g, session: session, waiter: w, message: id, payload: r.Payload, wait: g.onlineWait(r.Wait),
		stored: stored, owner: r.Owner, metadata: r.Metadata}
	if err := g.presence.begin(c, b); err != nil {
		return err
	}
	if g.draining.Load() && c.Withdraw() { // Drain may have visited the session before the call was in its queue
		c.drained()
	}
	return nil
}

// onlineWait is how long a call waits that asks for wait.
func (g *Gateway) onlineWait(wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = g.cfg.OnlineWait
	}
	return min(wait, MaxWait)
}

// Wait is how long the caller should wait for the answer.
func (c *OnlineCall) Wait() time.Duration { return c.wait }

var errOffline = &Error{Code: CodeClientOffline, Message: "the client is not connected, and mode=online does not queue"}

// call puts a call into the session's urgent queue and pumps the session, unless
// b does that later. Before Start the call waits in the queue.
func (s *Session) call(c *OnlineCall, b *OnlineBatch) error {
	s.mu.Lock()
	if s.flags.has(flagClosed) {
		s.mu.Unlock()
		return errOffline
	}
	w := s.busyLocked()
	if w.urgent.n >= maxOnlineCalls {
		s.mu.Unlock()
		return &Error{Code: CodeQueueFull, Limit: maxOnlineCalls, Message: "too many callers wait for this client"}
	}
	first := w.urgent.head == nil
	w.urgent.push(c)
	s.mu.Unlock()
	switch {
	case b == nil:
		s.wakeHere()
	case first: // the first call of the batch pumps for all
		b.sessions = append(b.sessions, s)
	}
	return nil
}

// TimeOut ends the call with CodeAckTimeout, unless it has been answered.
func (c *OnlineCall) TimeOut() {
	if c.Withdraw() {
		c.waiter.Answered(OnlineResult{}, c.timedOut())
	}
}

// timedOut counts a withdrawn call and returns its error.
func (c *OnlineCall) timedOut() error {
	c.gateway.counts.onlineTimeouts.Add(1)
	text, reason := "the client has not acked in time: the message may or may not have been handled", ReasonAckTimeout
	if !c.entered {
		text, reason = "the message could not be sent in time: the client is busy with earlier ones", ReasonNotSent
	}
	return c.unanswered(reason, text)
}

// unanswered is CodeAckTimeout with a reason and a text. If the device acked
// without the flag, that mistake is the reason.
func (c *OnlineCall) unanswered(reason, text string) error {
	if c.misacked != 0 {
		reason = ReasonEphemeralFlagMissing
		text = fmt.Sprintf("the device acked %d without the EPHEMERAL flag (text: ACK %[1]d, not ACK e%[1]d), so the ack does not count: "+
			"the message has arrived, and may have been handled", c.misacked)
	}
	return &Error{Code: CodeAckTimeout, MessageID: c.message, Message: text, Reason: reason}
}

// drained ends the call because the gateway stops. Like lost it is called by the
// goroutine that took the call out of the session.
func (c *OnlineCall) drained() {
	if !c.entered {
		c.waiter.Answered(OnlineResult{}, &Error{Code: CodeDraining, MessageID: c.message, RetryAfter: errDraining.RetryAfter,
			Message: "the gateway is shutting down; nothing was sent to the client"})
		return
	}
	c.waiter.Answered(OnlineResult{}, c.unanswered(ReasonDraining,
		"the gateway is shutting down and the client has not acked yet: the message may or may not have been handled"))
}

// Withdraw takes the call out of the session; its waiter is not called. It
// returns false if the waiter is being called already.
func (c *OnlineCall) Withdraw() bool { return c.gateway.presence.withdraw(c) }

func (s *Session) withdraw(c *OnlineCall) bool {
	s.mu.Lock()
	w := s.work
	if w == nil {
		s.mu.Unlock()
		return false
	}
	if w.urgent.remove(c) {
		s.relaxLocked()
		s.mu.Unlock()
		return true
	}
	for i := range w.flight {
		if f := &w.flight[i]; f.call == c {
			seq := f.seq
			s.waitLateLocked(seq, c)
			s.dropLocked(f)
			waits := s.waitsLocked()
			s.mu.Unlock()
			if s.link.Forget(seq, true) {
				c.entered = false
			}
			s.wakeIf(waits)
			return true
		}
	}
	s.mu.Unlock()
	return false
}

// lost ends the call because the session has ended. The goroutine that took the
// call out of the session calls it, and the functions below. Its entered says whether the
// frame has left, or may leave with the link's last output.
func (c *OnlineCall) lost() {
	if !c.entered {
		c.waiter.Answered(OnlineResult{}, &Error{Code: CodeClientOffline, MessageID: c.message,
			Message: "the client disconnected before the message was sent"})
		return
	}
	c.waiter.Answered(OnlineResult{}, c.unanswered(ReasonConnectionLost,
		"the connection was lost before the message was acked: it may or may not have arrived"))
}

// loseAll ends calls whose session has ended.
func loseAll(calls []*OnlineCall) {
	for _, c := range calls {
		c.lost()
	}
}

// refused ends the call because the link cannot carry it.
func (c *OnlineCall) refused(err error) {
	if errors.Is(err, ErrTooLarge) {
		c.waiter.Answered(OnlineResult{}, &Error{Code: CodePayloadTooLarge, MessageID: c.message,
			Message: "the client's protocol cannot carry the payload"})
		return
	}
	c.lost()
}

// answer passes the device's verdict, which came at the time at, to the waiter. The event
// log has it only if the message is stored.
func (c *OnlineCall) answer(code AckCode, result []byte, at time.Time) {
	g, s := c.gateway, &c.session
	state, reason := onlineVerdict(code)
	r := OnlineResult{Message: c.message, Client: s.client, State: state, Reason: reason, Result: result,
		SentAt: c.sentAt.Round(0), At: at.Round(0)}
	if !c.sentAt.IsZero() {
		r.RTT = at.Sub(c.sentAt)
		g.acks.add(r.RTT)
	}
	g.counts.onlineAcked.Add(1)
	if set := g.tallies.Load(); set != nil {
		set.answered(s.client, r.RTT)
	}
	c.waiter.Answered(r, nil)
}

// onlineWait is the state of one PushOnline. It is pooled: when its call has
// ended, done is empty and the timer stopped.
type onlineWait struct {
	call   OnlineCall
	done   chan struct{} // capacity 1, for the answer
	timer  *time.Timer
	result OnlineResult
	err    error
}

func newOnlineWait() *onlineWait {
	w := &onlineWait{done: make(chan struct{}, 1), timer: time.NewTimer(MaxWait)}
	w.timer.Stop()
	return w
}

// Answered implements OnlineWaiter.
func (w *onlineWait) Answered(r OnlineResult, err error) {
	w.result, w.err = r, err
	w.done <- struct{}{}
}

// PushOnline delivers to a connected client now and waits for its answer; nothing
// is stored. Errors are those of StartOnline and CodeAckTimeout. The end of ctx,
// and r.Linger after it, end the wait as its timeout does.
//
// With r.IdempotencyKey the message is stored first, and sent at most once. A repeat
// waits for the first call and returns its outcome; CodeIdempotencyMismatch and
// CodeUnavailable are errors too.
func (g *Gateway) PushOnline(ctx context.Context, r OnlineRequest) (OnlineResult, error) {
	if r.IdempotencyKey != "" {
		return g.pushOnce(ctx, r)
	}
	return g.pushNow(ctx, &r, g.newMessageID(), 0)
}

// pushNow sends the message id and waits for its answer.
func (g *Gateway) pushNow(ctx context.Context, r *OnlineRequest, id MessageID, stored Seq) (OnlineResult, error) {
	w := g.onlineWaits.Get().(*onlineWait)
	defer g.release(w)
	if err := g.startOnline(&w.call, r, id, stored, w, nil); err != nil {
		return OnlineResult{}, err
	}
	w.timer.Reset(w.call.wait)
	select {
	case <-w.done:
		return w.result, w.err
	case <-w.timer.C:
	case <-ctx.Done():
		linger := time.NewTimer(r.Linger)
		defer linger.Stop()
		select {
		case <-w.done:
			return w.result, w.err
		case <-w.timer.C:
		case <-linger.C:
		}
	}
	if w.call.Withdraw() {
		return OnlineResult{}, w.call.timedOut()
	}
	<-w.done // the answer came at the last moment
	return w.result, w.err
}

// release clears w and returns it to the pool.
func (g *Gateway) release(w *onlineWait) {
	w.timer.Stop()
	w.call, w.result, w.err = OnlineCall{}, OnlineResult{}, nil
	g.onlineWaits.Put(w)
}
