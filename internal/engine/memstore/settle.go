package memstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Settle proposes a final state. This store writes at once, whether urgent or
// not.
func (s *Store) Settle(o gateway.Outcome, _ bool) error { return s.settle(o, true) }

// TrySettle is Settle if it need not wait.
func (s *Store) TrySettle(o gateway.Outcome, _ bool) bool { return s.settle(o, false) == nil }

func (s *Store) settle(o gateway.Outcome, wait bool) error {
	if !o.State.Final() {
		return invalid("%q is no outcome of a delivery", o.State)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !wait && len(s.notes) >= maxNotes {
		return unavailable(errors.New("too much waits for the observer"))
	}
	s.awaitRoomLocked()
	if err := s.usableLocked(); err != nil {
		return err
	}
	m := s.messages[o.Message]
	if m == nil {
		return nil
	}
	d := m.delivery(o.Client)
	switch {
	case d == nil:
	case o.Reports():
		if o.ReportedFor(&d.Delivery) {
			d.Attempts, d.SentAt = o.Attempts, o.SentAt
		}
	case !d.State.Final():
		o.Result = bytes.Clone(o.Result)
		s.finishLocked(d, o)
	case o.Resolves(&d.Delivery) && (!d.former || d.Restarted()):
		o.Result = bytes.Clone(o.Result)
		s.resolveLocked(d, o)
	case !d.former && o.LateFor(&d.Delivery):
		s.events++
		d.LateCode, _ = o.Verdict()
		d.LateAckAt, d.LateResult = o.At, bytes.Clone(o.Result)
		if d.SentAt.IsZero() { // the cancellation or expiry did not know of it
			d.Attempts, d.SentAt = o.Attempts, o.SentAt
		}
		s.logLocked(gateway.Event{Type: gateway.EventMessageLateAck, At: o.At, Client: d.Client, Message: d.Message,
			State: d.State, Attempts: d.Attempts, Result: d.LateResult})
		s.noteLocked(&gateway.Settlement{Delivery: d.Delivery, Late: true})
	}
	return nil
}

// ProposeExpiry makes the open deliveries of a message expired if it was due at
// the time at.
func (s *Store) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	if err := s.enterWithRoom(context.Background()); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if m := s.messages[id]; m != nil && !m.Completed() && !m.ExpiresAt.After(at) {
		s.finishMessageLocked(m, gateway.Expired, at)
	}
	return nil
}

// Undurable returns zero: this store has nothing to make durable.
func (s *Store) Undurable(gateway.ClientID) (n, bytes int) { return 0, 0 }

// Purge cancels the queued deliveries of client within span.
func (s *Store) Purge(ctx context.Context, client gateway.ClientID, span gateway.Span, at time.Time) (int, error) {
	if err := s.enterWithRoom(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := s.cancelQueuedLocked(client, span, gateway.ReasonPurged, at)
	s.awaitNotifiedLocked()
	return n, nil
}

// cancelQueuedLocked cancels the queue of a client within span.
func (s *Store) cancelQueuedLocked(id gateway.ClientID, span gateway.Span, reason string, at time.Time) int {
	l := s.lanes[id]
	if l == nil {
		return 0
	}
	gone := slices.DeleteFunc(slices.Clone(l.queue), func(d *delivery) bool { return !span.Has(d.Seq) })
	for _, d := range gone {
		s.finishLocked(d, gateway.Outcome{State: gateway.Canceled, Reason: reason, At: at})
	}
	return len(gone)
}

// Cancel cancels every delivery of a message that is not final.
func (s *Store) Cancel(ctx context.Context, id gateway.MessageID, at time.Time) (gateway.Message, error) {
	if err := s.enterWithRoom(ctx); err != nil {
		return gateway.Message{}, err
	}
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return gateway.Message{}, messageNotFound(id)
	}
	if m.Completed() {
		return m.export(true), &gateway.Error{Code: gateway.CodeAlreadyFinal, MessageID: id,
			Message: "every delivery of the message is final"}
	}
	s.finishMessageLocked(m, gateway.Canceled, at)
	now := m.export(true)
	s.awaitNotifiedLocked()
	return now, nil
}

// finishMessageLocked gives one final state to all open deliveries of m: in one
// step if the message is to many.
func (s *Store) finishMessageLocked(m *message, state gateway.State, at time.Time) {
	o := gateway.Outcome{State: state, At: at}
	if !m.many() {
		s.finishLocked(m.deliveries[0], o)
		return
	}
	n := 0
	for _, d := range m.deliveries {
		if !d.State.Final() {
			s.dequeueLocked(d)
			full := s.setFinalLocked(d, o)
			s.logFinalLocked(&full)
			n++
		}
	}
	s.events++
	s.completeLocked(m, at)
	s.logCompletedLocked(m)
	s.noteLocked(&gateway.SettledAll{Message: m.head(), State: state, N: n})
}

// finishLocked makes a queued delivery final and notifies the observer.
func (s *Store) finishLocked(d *delivery, o gateway.Outcome) {
	m := d.message
	s.events++
	s.dequeueLocked(d)
	full := s.setFinalLocked(d, o)
	s.logFinalLocked(&full)
	if m.Completed() {
		s.completeLocked(m, o.At)
		s.logCompletedLocked(m)
	}
	s.noteLocked(settled(full, m, m.Completed()))
}

// resolveLocked gives an online delivery its outcome and notifies the observer.
func (s *Store) resolveLocked(d *delivery, o gateway.Outcome) {
	m := d.message
	s.events++
	full := s.setFinalLocked(d, o)
	s.unscheduleLocked(m.due)
	s.dropAtLocked(m, o.At)
	if full.State == gateway.Acked || full.State == gateway.Rejected {
		s.logFinalLocked(&full)
	}
	s.noteLocked(settled(full, m, true))
}

// setFinalLocked writes the outcome into the delivery and the message's counts.
// It returns the delivery with everything in the outcome; a plain ack of a
// message to many is kept without times and attempts.
func (s *Store) setFinalLocked(d *delivery, o gateway.Outcome) gateway.Delivery {
	m := d.message
	*m.Counts.Of(d.State)--
	*m.Counts.Of(o.State)++
	d.State, d.Reason, d.Result = o.State, o.Reason, o.Result
	full := d.Delivery
	full.Attempts, full.SentAt, full.FinalAt = o.Attempts, o.SentAt, o.At
	if plain := m.many() && o.State == gateway.Acked && o.Reason == "" && len(o.Result) == 0; !plain {
		d.Delivery = full
	}
	return full
}

// dequeueLocked removes a delivery from its client's queue.
func (s *Store) dequeueLocked(d *delivery) {
	l := s.lanes[d.Client]
	if i, ok := slices.BinarySearchFunc(l.queue, d.Seq, bySeq); ok {
		l.queue = cut(l.queue, i)
	}
	s.queued--
	c := s.clients[d.Client]
	c.Queued--
	if !d.message.many() {
		c.QueuedBytes -= int64(len(d.message.Payload))
	}
}

func bySeq(d *delivery, seq gateway.Seq) int { return cmp.Compare(d.Seq, seq) }

// completeLocked notes that the last delivery of m is final: the message is only
// kept for reads now.
func (s *Store) completeLocked(m *message, at time.Time) {
	s.unscheduleLocked(m.due)
	s.retainLocked(m, at)
}

// retainLocked keeps a completed message for the retention of its status.
func (s *Store) retainLocked(m *message, at time.Time) {
	s.done = append(s.done, m)
	s.dropAtLocked(m, at)
}

// dropAtLocked lets a message that was completed at the time at be dropped after its
// retention.
func (s *Store) dropAtLocked(m *message, at time.Time) {
	m.CompletedAt = at
	m.due = s.scheduleLocked(at.Add(s.opt.StatusRetention), func(time.Time) { s.dropLocked(m) })
}

// delivery returns the delivery to one client, nil if there is none.
func (m *message) delivery(id gateway.ClientID) *delivery {
	i, ok := slices.BinarySearchFunc(m.deliveries, id, func(d *delivery, id gateway.ClientID) int {
		return cmp.Compare(d.Client, id)
	})
	if !ok {
		return nil
	}
	return m.deliveries[i]
}
