package gateway

import (
	"context"
	"slices"
)

// CanceledQueue is the result of CancelQueue.
type CanceledQueue struct {
	Canceled int // deliveries
	// UnderWay are those of them that had left for the device, on this connection or an
	// earlier one, and were not answered: the device may have them. A late answer is kept
	// with the delivery.
	UnderWay int
}

// CancelQueue cancels the queue of a client up to and including a message, durably,
// and keeps the connection. Message "" is everything. Deliveries up to after stay: for
// the caller there are none. Errors: CodeClientNotFound, CodeMessageNotFound (also if the
// message is not for the client), CodeUnavailable.
func (g *Gateway) CancelQueue(ctx context.Context, id ClientID, after Seq, through MessageID) (done CanceledQueue, err error) {
	if _, err := g.store.Client(id); err != nil {
		return done, err
	}
	span := Span{After: after}
	if through != "" {
		d, err := g.store.Delivery(through, id)
		if CodeOf(err) == CodeClientNotFound || err == nil && d.Seq <= after {
			err = &Error{Code: CodeMessageNotFound, Message: "the message is not for this client"}
		}
		if err != nil {
			return done, err
		}
		span.Through = d.Seq
	}
	at := g.now()
	left := g.left(id, nil)
	if done.Canceled, err = g.store.Purge(ctx, id, span, at); err != nil || done.Canceled == 0 {
		return done, err
	}
	for _, d := range g.left(id, left) { // those that left in between, too
		if !span.Has(d.Seq) {
			continue
		}
		now, err := g.store.Delivery(d.Message, id)
		if err == nil && now.State == Canceled && now.Reason == ReasonPurged && now.FinalAt.Equal(at) {
			done.UnderWay++
		}
	}
	return done, nil
}

// left appends the client's deliveries that have left for it to list, each once. Those of
// earlier connections have no message, and are counted if the store still has them queued.
func (g *Gateway) left(id ClientID, list []Delivery) []Delivery {
	add := func(seq Seq, m MessageID) {
		if !slices.ContainsFunc(list, func(d Delivery) bool { return d.Seq == seq }) {
			list = append(list, Delivery{Seq: seq, Message: m})
		}
	}
	s, tried := g.hub.triedAll(id)
	if s != nil {
		tried = s.left(add)
	}
	for _, t := range tried {
		if t.attempts == 0 {
			continue
		}
		if p, ok, err := g.store.Transmission(id, t.seq); ok && err == nil {
			add(t.seq, p.Message)
		}
	}
	return list
}

// left calls add for the deliveries of the window that have left for the device, and returns
// the attempts of earlier sessions and of answered deliveries.
func (s *Session) left(add func(Seq, MessageID)) (tried []attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.work == nil {
		return nil
	}
	for i := range s.work.flight {
		f := &s.work.flight[i]
		if f.call == nil && (f.gone() && f.sentAt != 0 || !f.gone() && !f.is(flightAway)) {
			add(f.seq, f.message)
		}
	}
	return s.work.appendAnswered(slices.Clone(s.work.tried))
}

// triedAll returns the live session of a client, and a copy of the attempts of its sessions
// before while it is offline.
func (h *hub) triedAll(id ClientID) (*Session, []attempt) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.sessions[id], slices.Clone(sh.tried[id])
}
