package gateway

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxOnlineCalls bounds the callers that wait for one client at a time; more
// get CodeQueueFull.
const maxOnlineCalls = 64

// onlineCall is one caller that waits for one delivery. It is owned by the
// session's urgent list or window until a reply is sent; reply has room for
// one, so nobody waits to send it.
type onlineCall struct {
	message MessageID
	payload []byte // read-only until the reply
	reply   chan onlineReply

	mu     sync.Mutex
	sentAt time.Time
}

type onlineReply struct {
	state  State
	result []byte
	err    error
}

func (c *onlineCall) sent(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sentAt = at
}

func (c *onlineCall) wasSent() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sentAt
}

// lost ends the call because the session has.
func (c *onlineCall) lost() {
	if c.wasSent().IsZero() {
		c.reply <- onlineReply{err: &Error{Code: CodeClientOffline, MessageID: c.message,
			Message: "the client disconnected before the message was sent"}}
		return
	}
	c.reply <- onlineReply{err: &Error{Code: CodeAckTimeout, MessageID: c.message,
		Message: "the connection was lost after the message was sent and before it was acked: it may or may not have arrived"}}
}

// refused ends the call because the link cannot take it.
func (c *onlineCall) refused(err error) {
	if errors.Is(err, ErrTooLarge) {
		c.reply <- onlineReply{err: &Error{Code: CodePayloadTooLarge, MessageID: c.message, Message: "the client's protocol cannot carry the payload"}}
		return
	}
	c.lost()
}

// PushOnline delivers to a connected client now and waits for its answer, or
// never: nothing is stored. Errors: CodeClientNotFound, CodeClientOffline,
// CodePayloadTooLarge, CodeQueueFull (too many callers wait for this client),
// CodeAckTimeout, CodeDraining; ctx.Err when the caller left.
func (g *Gateway) PushOnline(ctx context.Context, r OnlineRequest) (OnlineResult, error) {
	if g.draining.Load() {
		return OnlineResult{}, errDraining
	}
	if !r.Client.Valid() {
		return OnlineResult{}, invalid("not a client id: 1 to 128 of A-Z a-z 0-9 . _ : @ -")
	}
	s := g.hub.session(r.Client)
	if s == nil {
		if _, err := g.store.Client(r.Client); err != nil {
			return OnlineResult{}, err
		}
		return OnlineResult{}, errOffline
	}
	if limit := s.link.MaxPayload(); len(r.Payload) > limit {
		return OnlineResult{}, tooLargeFor(s)
	}
	wait := r.Wait
	if wait <= 0 {
		wait = g.cfg.OnlineWait
	}
	call := &onlineCall{message: g.cfg.NewMessageID(), payload: r.Payload, reply: make(chan onlineReply, 1)}
	if err := s.call(call); err != nil {
		return OnlineResult{}, err
	}
	timeout := time.NewTimer(min(wait, MaxWait))
	defer timeout.Stop()
	select {
	case reply := <-call.reply:
		return g.onlineResult(s, call, reply)
	case <-timeout.C:
		return g.onlineTimeout(s, call)
	case <-ctx.Done():
		s.withdraw(call)
		return OnlineResult{}, ctx.Err()
	}
}

var errOffline = &Error{Code: CodeClientOffline, Message: "the client is not connected, and mode=online does not queue"}

// call puts a call into the session's urgent list and pumps it.
func (s *Session) call(c *onlineCall) error {
	s.mu.Lock()
	switch {
	case s.closed || !s.started:
		s.mu.Unlock()
		return errOffline
	case len(s.urgent) >= maxOnlineCalls:
		s.mu.Unlock()
		return &Error{Code: CodeQueueFull, Limit: maxOnlineCalls, RetryAfter: time.Second,
			Message: "too many callers wait for this client"}
	}
	s.urgent = append(s.urgent, c)
	s.mu.Unlock()
	s.wakeHere()
	return nil
}

// withdraw takes a call out of the session; false when its reply has been sent.
func (s *Session) withdraw(c *onlineCall) bool {
	s.mu.Lock()
	for i, u := range s.urgent {
		if u == c {
			s.urgent = append(s.urgent[:i], s.urgent[i+1:]...)
			s.mu.Unlock()
			return true
		}
	}
	for i := range s.flight {
		if f := &s.flight[i]; f.call == c {
			seq := f.seq
			s.drop(f)
			s.mu.Unlock()
			s.link.Forget(seq, true)
			s.wakeIfWaiting()
			return true
		}
	}
	s.mu.Unlock()
	return false
}

func (g *Gateway) onlineTimeout(s *Session, c *onlineCall) (OnlineResult, error) {
	if !s.withdraw(c) {
		return g.onlineResult(s, c, <-c.reply) // answered at the last moment
	}
	g.counts.onlineTimeouts.Add(1)
	text := "the client has not acked in time: the message may or may not have been handled"
	if c.wasSent().IsZero() {
		text = "the message could not be sent in time: the client is busy with earlier ones"
	}
	return OnlineResult{}, &Error{Code: CodeAckTimeout, MessageID: c.message, Message: text}
}

func (g *Gateway) onlineResult(s *Session, c *onlineCall, reply onlineReply) (OnlineResult, error) {
	if reply.err != nil {
		return OnlineResult{}, reply.err
	}
	now, sentAt := time.Now(), c.wasSent()
	r := OnlineResult{Message: c.message, Client: s.client, Session: s.id, State: reply.state,
		Result: reply.result, SentAt: sentAt, At: now}
	if !sentAt.IsZero() {
		r.RTT = now.Sub(sentAt)
	}
	if reply.state != Acked {
		r.Reason = ReasonDeviceRejected
	}
	g.counts.onlineAcked.Add(1)
	return r, nil
}

// answer hands a device's verdict to the caller that waits. Retry later is a
// no: there is no later for an online delivery.
func (g *Gateway) answer(s *Session, c *onlineCall, code AckCode, result []byte) {
	state, typ := Acked, EventMessageAcked
	if code != AckOK {
		state, typ = Rejected, EventMessageRejected
	}
	e := Event{Type: typ, At: time.Now(), Client: s.client, Session: s.id, Message: c.message,
		State: state, Attempts: 1, Result: result}
	if state == Rejected {
		e.Reason = ReasonDeviceRejected
	}
	g.events.add(e)
	c.reply <- onlineReply{state: state, result: result}
}
