package gateway

import (
	"context"
	"sync"
	"time"
)

// This file has online deliveries with an idempotency key, which are sent at most once.
// The message is durable before its frame is sent, and its delivery reads Unknown with
// ReasonGatewayRestart from then on. The outcome of the call replaces that. A repeat
// sends nothing: it waits for the first call while that is under way, and gets its
// outcome.

// onceCalls are the messages whose first call is under way in this process.
type onceCalls struct {
	mu    sync.Mutex
	calls map[MessageID]bool
	ended uint64 // calls so far
}

func (o *onceCalls) enter(id MessageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls == nil {
		o.calls = make(map[MessageID]bool)
	}
	o.calls[id] = true
}

func (o *onceCalls) leave(id MessageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.calls, id)
	o.ended++
}

// mark names this moment for endedSince.
func (o *onceCalls) mark() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// endedSince reports whether a call has ended since mark. A delivery that was read before
// may have its outcome now.
func (o *onceCalls) endedSince(mark uint64) bool { return o.mark() > mark }

func (o *onceCalls) has(id MessageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls[id]
}

// pushOnce is PushOnline for a request with an idempotency key.
func (g *Gateway) pushOnce(ctx context.Context, r OnlineRequest) (OnlineResult, error) {
	id := g.newMessageID()
	wait := g.onlineWait(r.Wait)
	p := PushRequest{To: Audience{Client: r.Client}, Payload: r.Payload, Encoding: r.Encoding, TTL: max(wait, MinTTL), Metadata: r.Metadata,
		Owner: r.Owner, IdempotencyKey: r.IdempotencyKey, Scope: r.Scope, Fingerprint: r.Fingerprint}
	a, busy, err := g.acceptance(&p, id)
	if err != nil {
		return OnlineResult{}, err
	}
	a.Online, a.ExpiresAt = true, a.CreatedAt.Add(wait)
	// A refusal stores nothing, so that the caller may try again with the key.
	if _, online := g.presence.holder(r.Client); !online || busy != nil {
		return g.refusedOnce(ctx, &r, a, busy)
	}
	g.once.enter(id)
	defer g.once.leave(id)
	receipt, err := g.store.Accept(context.WithoutCancel(ctx), a)
	switch {
	case err != nil: // nothing was sent
		return OnlineResult{}, named(g.counts.eventsFull(refusedPush, err), id)
	case receipt.Replayed:
		return g.repeatOnce(ctx, &r, &receipt.Message)
	}
	result, err := g.pushNow(ctx, &r, id, receipt.Message.Seq)
	g.settleOnce(r.Client, &receipt.Message, &result, err)
	result.CreatedAt = a.CreatedAt
	return result, err
}

// refusedOnce returns the outcome of an earlier call with the key, or the reason why
// none can begin: the client is offline, or s cannot carry the payload.
func (g *Gateway) refusedOnce(ctx context.Context, r *OnlineRequest, a Acceptance, s *Session) (OnlineResult, error) {
	receipt, ok, err := g.store.Repeated(a)
	switch {
	case err != nil:
		return OnlineResult{}, err
	case ok:
		return g.repeatOnce(ctx, r, &receipt.Message)
	case s != nil:
		return OnlineResult{}, tooLargeFor(s)
	}
	if _, err := g.store.Client(r.Client); err != nil {
		return OnlineResult{}, err
	}
	return OnlineResult{}, errOffline
}

// settleTime bounds the wait for the store to write an outcome.
const settleTime = 5 * time.Second

// settleOnce makes the outcome of a call durable, so that a repeat and a read agree
// with its answer. If the store cannot, they read Unknown.
func (g *Gateway) settleOnce(client ClientID, m *Message, r *OnlineResult, failure error) {
	o := Outcome{Message: m.ID, Client: client, Seq: m.Seq, Attempts: 1, At: g.now()}
	if failure == nil {
		o.State, o.Reason, o.Result, o.SentAt, o.At = r.State, r.Reason, r.Result, r.SentAt, r.At
	} else {
		o.State, o.Reason = unansweredState(failure)
	}
	if o.State == Failed {
		o.Attempts = 0
	}
	w := g.waiters.join(m.ID)
	defer g.waiters.leave(m.ID, w)
	if g.store.Settle(o, true) != nil {
		return
	}
	over := time.NewTimer(settleTime)
	defer over.Stop()
	select {
	case <-w.done:
	case <-over.C:
	}
}

// unansweredState returns the state and the reason of a call that ended with an error.
func unansweredState(err error) (State, string) {
	e, ok := err.(*Error)
	switch {
	case !ok:
		return Failed, ReasonNotSent
	case e.Code == CodeAckTimeout && e.Reason != ReasonNotSent:
		return Unknown, e.Reason
	case e.Code == CodeClientOffline:
		return Failed, ReasonConnectionLost
	case e.Code == CodePayloadTooLarge:
		return Failed, ReasonTooLargeForProtocol
	case e.Code == CodeQueueFull:
		return Failed, ReasonQueueFull
	case e.Code == CodeDraining:
		return Failed, ReasonDraining
	}
	return Failed, ReasonNotSent
}

// repeatOnce returns the outcome of the first call, whose message is m. It waits for it
// as long as PushOnline would.
func (g *Gateway) repeatOnce(ctx context.Context, r *OnlineRequest, m *Message) (OnlineResult, error) {
	w := g.waiters.join(m.ID)
	defer g.waiters.leave(m.ID, w)
	underWay := g.once.has(m.ID)
	d, err := g.store.Delivery(m.ID, r.Client) // after join and has, so that no outcome is missed
	if err == nil && underWay && d.Restarted() {
		lingering(ctx, w.done, g.onlineWait(r.Wait), r.Linger)
		underWay = g.once.has(m.ID) // before the outcome is read
		d, err = g.store.Delivery(m.ID, r.Client)
	}
	if err != nil {
		return OnlineResult{}, named(err, m.ID)
	}
	if d.Restarted() && underWay {
		reason, text := ReasonAckTimeout, "the first call with this idempotency key still waits for the client"
		if g.draining.Load() {
			reason, text = ReasonDraining, "the gateway is shutting down, and the first call with this idempotency key has no outcome"
		}
		return OnlineResult{}, &Error{Code: CodeAckTimeout, MessageID: m.ID, Reason: reason, Message: text}
	}
	return d.onceOutcome()
}

// Restarted reports whether the delivery is that of an online call which has no outcome,
// or whose process has ended.
func (d *Delivery) Restarted() bool { return d.State == Unknown && d.Reason == ReasonGatewayRestart }

// onceOutcome is the answer to a repeat of an online call.
func (d *Delivery) onceOutcome() (OnlineResult, error) {
	e := &Error{Code: CodeAckTimeout, MessageID: d.Message, Reason: d.Reason}
	switch d.State {
	case Acked, Rejected:
		r := OnlineResult{Message: d.Message, Client: d.Client, State: d.State, Reason: d.Reason, Result: d.Result, Replayed: true,
			CreatedAt: d.CreatedAt, SentAt: d.SentAt, At: d.FinalAt}
		if !d.SentAt.IsZero() {
			r.RTT = d.FinalAt.Sub(d.SentAt)
		}
		return r, nil
	case Unknown:
		e.Message = "the first call with this idempotency key got no ack: the message may or may not have been handled, and is not sent again"
		if d.Restarted() {
			e.Message = "the gateway was restarted during the first call with this idempotency key: " +
				"the message may or may not have been sent and handled, and is not sent again"
		}
		return OnlineResult{}, e
	}
	e.Message = "the first call with this idempotency key did not send the message; use a new key to try again"
	switch d.Reason {
	case ReasonConnectionLost:
		e.Code, e.Reason = CodeClientOffline, ""
	case ReasonTooLargeForProtocol:
		e.Code, e.Reason = CodePayloadTooLarge, ""
	case ReasonQueueFull:
		e.Code, e.Reason = CodeQueueFull, ""
	}
	return OnlineResult{}, e
}

// showOnce shows a delivery whose first call is under way as queued.
func (g *Gateway) showOnce(d *Delivery) {
	if d.Restarted() && g.once.has(d.Message) {
		d.State, d.Reason, d.FinalAt = Queued, "", time.Time{}
	}
}

// showOnceMessage is showOnce for its message.
func (g *Gateway) showOnceMessage(m *Message) {
	if m.Online && m.Counts.Unknown > 0 && g.once.has(m.ID) {
		m.Counts.Unknown, m.Counts.Queued, m.CompletedAt, m.Delivery = 0, 1, time.Time{}, nil
	}
}
