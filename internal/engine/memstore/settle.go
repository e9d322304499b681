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
	switch o.State {
	case gateway.Acked, gateway.Rejected, gateway.Failed:
	default:
		return invalid("%q is no outcome of a delivery", o.State)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !wait && len(s.notes) >= maxNotes {
		return unavailable(errors.New("too much waits for the observer"))
	}
	s.awaitRoom()
	if err := s.usable(); err != nil {
		return err
	}
	m := s.messages[o.Message]
	if m == nil {
		return nil
	}
	d := m.delivery(o.Client)
	switch {
	case d == nil:
	case !d.State.Final():
		o.Result = bytes.Clone(o.Result)
		s.finish(d, o)
	case o.LateFor(&d.Delivery):
		s.events++
		d.LateCode, _ = o.Verdict()
		d.LateAckAt, d.LateResult = o.At, bytes.Clone(o.Result)
		s.note(&gateway.Settlement{Delivery: d.Delivery, Late: true})
	}
	return nil
}

// ProposeExpiry makes the open deliveries of a message expired if it was due at
// the time at.
func (s *Store) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitRoom()
	if err := s.usable(); err != nil {
		return err
	}
	if m := s.messages[id]; m != nil && !m.Completed() && !m.ExpiresAt.After(at) {
		s.finishMessage(m, gateway.Expired, at)
	}
	return nil
}

// Undurable returns zero: this store has nothing to make durable.
func (s *Store) Undurable(gateway.ClientID) (n, bytes int) { return 0, 0 }

// Purge cancels everything queued for client.
func (s *Store) Purge(ctx context.Context, client gateway.ClientID, at time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitRoom()
	if err := s.usable(); err != nil {
		return 0, err
	}
	l := s.lanes[client]
	if l == nil {
		return 0, nil
	}
	n := 0
	for ; len(l.queue) > 0; n++ {
		s.finish(l.queue[0], gateway.Outcome{State: gateway.Canceled, Reason: gateway.ReasonPurged, At: at})
	}
	s.awaitNotified()
	return n, nil
}

// Cancel cancels every delivery of a message that is not final.
func (s *Store) Cancel(ctx context.Context, id gateway.MessageID, at time.Time) (gateway.Message, error) {
	if err := ctx.Err(); err != nil {
		return gateway.Message{}, unavailable(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitRoom()
	if err := s.usable(); err != nil {
		return gateway.Message{}, err
	}
	m := s.messages[id]
	if m == nil {
		return gateway.Message{}, messageNotFound(id)
	}
	if m.Completed() {
		return m.export(true), &gateway.Error{Code: gateway.CodeAlreadyFinal, MessageID: id,
			Message: "every delivery of the message is final"}
	}
	s.finishMessage(m, gateway.Canceled, at)
	now := m.export(true)
	s.awaitNotified()
	return now, nil
}

// finishMessage gives one final state to all open deliveries of m: in one step if
// the message is to many. The caller holds mu.
func (s *Store) finishMessage(m *message, state gateway.State, at time.Time) {
	o := gateway.Outcome{State: state, At: at}
	if !m.many() {
		s.finish(m.deliveries[0], o)
		return
	}
	n := 0
	for _, d := range m.deliveries {
		if !d.State.Final() {
			s.dequeue(d)
			s.setFinal(d, o)
			n++
		}
	}
	s.events++
	s.complete(m, at)
	s.note(&gateway.SettledAll{Message: m.head(), State: state, N: n})
}

// finish makes a queued delivery final and notifies the observer. The caller
// holds mu.
func (s *Store) finish(d *delivery, o gateway.Outcome) {
	m := d.message
	s.events++
	s.dequeue(d)
	full := s.setFinal(d, o)
	if m.Completed() {
		s.complete(m, o.At)
	}
	s.note(settled(full, m, m.Completed()))
}

// setFinal writes the outcome into the delivery and the message's counts. It
// returns the delivery with everything in the outcome; a plain ack of a message
// to many is kept without times and attempts. The caller holds mu.
func (s *Store) setFinal(d *delivery, o gateway.Outcome) gateway.Delivery {
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

// dequeue removes a delivery from its client's queue. The caller holds mu.
func (s *Store) dequeue(d *delivery) {
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

// complete notes that the last delivery of m is final: the message is only kept
// for reads now. The caller holds mu.
func (s *Store) complete(m *message, at time.Time) {
	s.open--
	s.unschedule(m.due)
	s.retain(m, at)
	s.trimPending()
}

// retain keeps a completed message for the retention of its status. The caller
// holds mu.
func (s *Store) retain(m *message, at time.Time) {
	m.CompletedAt = at
	s.done = append(s.done, m)
	m.due = s.schedule(at.Add(s.opt.StatusRetention), func(time.Time) { s.drop(m) })
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
