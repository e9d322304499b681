package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// keyLife is how long an idempotency key is remembered.
const keyLife = 24 * time.Hour

// Accept stores a message with its audience.
func (s *Store) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	began := time.Now()
	audience, err := s.audience(a)
	if err == nil {
		err = s.enterWithRoom(ctx)
	}
	if err != nil {
		return gateway.Receipt{}, err
	}
	defer s.mu.Unlock()
	if m, err := s.acceptedLocked(a); m != nil || err != nil {
		if err != nil {
			return gateway.Receipt{}, err
		}
		return gateway.Receipt{Message: m.export(false), Replayed: true}, nil
	}
	if err := a.TooMany(len(audience)); err != nil {
		return gateway.Receipt{}, err
	}
	if err := s.admitLocked(a); err != nil {
		return gateway.Receipt{}, err
	}
	if err := s.makeRoomLocked(int64(len(a.Payload))); err != nil {
		return gateway.Receipt{}, err
	}
	m := s.storeLocked(a, audience)
	observe(&s.accepts, time.Since(began))
	return gateway.Receipt{Message: m.export(false)}, nil
}

// StartAccept is Accept, which never waits: there is no disk.
func (s *Store) StartAccept(a gateway.Acceptance, done func(gateway.Receipt, error)) {
	done(s.Accept(context.Background(), a))
}

// audience returns the recipients, sorted and without duplicates. It calls a.Only
// without mu, because that may take the caller's locks.
func (s *Store) audience(a gateway.Acceptance) ([]gateway.ClientID, error) {
	switch {
	case a.To.Client != "":
		return []gateway.ClientID{a.To.Client}, nil
	case len(a.To.Clients) > 0:
		return sortedSet(a.To.Clients), nil
	case a.To.Group == "" && len(a.To.Labels) == 0 && !a.To.All:
		return nil, invalid("the message has no audience")
	}
	members := s.members(a.To)
	if a.Among != nil {
		named := map[gateway.ClientID]bool{}
		for id := range a.Among {
			named[id] = true
		}
		members = slices.DeleteFunc(members, func(id gateway.ClientID) bool { return !named[id] })
	}
	if a.Only != nil {
		members = slices.DeleteFunc(members, func(id gateway.ClientID) bool { return !a.Only(id) })
	}
	return members, nil
}

// members returns the known clients of a group, label or all audience, in id
// order.
func (s *Store) members(to gateway.Audience) []gateway.ClientID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []gateway.ClientID
	for id := range s.ids.from("") {
		c := s.clients[id]
		if to.All || (to.Group != "" && inGroup(c, to.Group)) || (len(to.Labels) > 0 && hasLabels(c, to.Labels)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Repeated looks for the message of an idempotency key.
func (s *Store) Repeated(a gateway.Acceptance) (r gateway.Receipt, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return r, false, err
	}
	m, err := s.acceptedLocked(a)
	if m == nil || err != nil {
		return r, false, err
	}
	return gateway.Receipt{Message: m.export(false), Replayed: true}, true, nil
}

// acceptedLocked returns the message that a repeats, nil if there is none.
func (s *Store) acceptedLocked(a gateway.Acceptance) (*message, error) {
	if m := s.messages[a.ID]; m != nil {
		return m, nil
	}
	if a.IdempotencyKey == "" {
		return nil, nil
	}
	m := s.keys[key{scope: a.Scope, name: a.IdempotencyKey}]
	if m == nil || !s.opt.Now().Before(m.CreatedAt.Add(keyLife)) {
		return nil, nil
	}
	if m.fingerprint != a.Fingerprint || m.Online != a.Online {
		return nil, &gateway.Error{Code: gateway.CodeIdempotencyMismatch, MessageID: m.ID,
			Message: "the idempotency key was used for another request"}
	}
	return m, nil
}

// admitLocked refuses a message to one client that is unknown or has a full
// queue.
func (s *Store) admitLocked(a gateway.Acceptance) error {
	id := a.To.Client
	if id == "" {
		return nil
	}
	c := s.clients[id]
	switch {
	case c != nil:
	case a.QueueUnknown && !a.Online:
		if err := s.roomForClientLocked(a.Account); err != nil {
			return err
		}
		c = &client{} // nothing queued yet
	default:
		return clientNotFound(id)
	}
	if a.Online {
		return nil
	}
	if c.Queued >= s.opt.QueueLen {
		return queueFull(id, "messages", int64(s.opt.QueueLen))
	}
	if c.QueuedBytes+int64(len(a.Payload)) > s.opt.QueueBytes {
		return queueFull(id, "bytes", s.opt.QueueBytes)
	}
	return nil
}

func queueFull(id gateway.ClientID, what string, limit int64) error {
	return &gateway.Error{Code: gateway.CodeQueueFull, Limit: limit,
		Message: fmt.Sprintf("the queue of client %q has reached its limit of %d %s", id, limit, what)}
}

// makeRoomLocked drops the oldest completed messages until a message of n bytes
// fits.
func (s *Store) makeRoomLocked(n int64) error {
	for len(s.messages) >= s.opt.MaxMessages || s.bytes+n > s.opt.MaxBytes {
		if len(s.done) == 0 {
			return unavailable(errFull)
		}
		s.dropLocked(s.done[0])
	}
	return nil
}

// storeLocked adds the message to the log and its deliveries to the lanes.
func (s *Store) storeLocked(a gateway.Acceptance, audience []gateway.ClientID) *message {
	s.seq++
	s.events++
	m := &message{Message: gateway.Message{
		ID: a.ID, Seq: s.seq, Payload: bytes.Clone(a.Payload), Encoding: a.Encoding,
		Metadata: maps.Clone(a.Metadata), CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt,
		Client: a.To.Client, Owner: a.Owner, Online: a.Online,
	}}
	s.insertLocked(m)
	if a.IdempotencyKey != "" {
		s.rememberLocked(m, a)
	}
	var failed []*delivery
	for _, id := range audience {
		if d := s.enqueueLocked(m, id, &a); d.State == gateway.Failed {
			failed = append(failed, d)
		}
	}
	if m.Completed() { // no recipients, or none that can have it
		s.retainLocked(m, m.CreatedAt)
	} else {
		m.due = s.scheduleLocked(m.ExpiresAt, func(now time.Time) { s.finishMessageLocked(m, gateway.Expired, now) })
	}
	for i, d := range failed {
		s.logFinalLocked(&d.Delivery)
		s.noteLocked(settled(d.Delivery, m, i == len(failed)-1 && m.Completed()))
	}
	if m.Completed() {
		s.logCompletedLocked(m)
	}
	switch {
	case m.Online:
	case !m.many():
		s.noteLocked(&gateway.Accepted{Client: m.Client, Transmission: m.deliveries[0].transmission()})
	case !m.Completed():
		s.noteLocked(&gateway.AcceptedMany{Message: m.ID, Seq: m.Seq, Total: m.Counts.Total, To: a.To, Rate: a.Rate})
	}
	return m
}

// insertLocked adds m to the messages, by its id.
func (s *Store) insertLocked(m *message) {
	s.messages[m.ID] = m
	s.bytes += int64(len(m.Payload))
	i, _ := slices.BinarySearchFunc(s.order, m.ID, byID)
	s.order = slices.Insert(s.order, i, m)
	s.oldest = min(s.oldest, m.ID)
}

func byID(m *message, id gateway.MessageID) int { return cmp.Compare(m.ID, id) }

// rememberLocked keeps the idempotency key of m.
func (s *Store) rememberLocked(m *message, a gateway.Acceptance) {
	m.key, m.fingerprint = key{scope: a.Scope, name: a.IdempotencyKey}, a.Fingerprint
	s.keys[m.key] = m
	m.keyDue = s.scheduleLocked(m.CreatedAt.Add(keyLife), func(time.Time) { s.forgetKeyLocked(m) })
}

// enqueueLocked adds the delivery of m to one client: queued, unknown if m is online,
// or failed if m is to many and the client is unknown or its queue full.
func (s *Store) enqueueLocked(m *message, id gateway.ClientID, a *gateway.Acceptance) *delivery {
	d := &delivery{message: m, Delivery: gateway.Delivery{
		Message: m.ID, Client: id, Seq: m.Seq, Online: m.Online, State: gateway.Queued, CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt,
	}}
	c := s.clients[id]
	if c == nil && a.QueueUnknown && s.roomForClientLocked(a.Account) == nil {
		c = s.newClientLocked(id, m.CreatedAt, a.Account)
	}
	switch {
	case m.Online:
		d.State, d.Reason, d.FinalAt = gateway.Unknown, gateway.ReasonGatewayRestart, m.CreatedAt
	case c == nil && a.QueueUnknown:
		d.State, d.Reason, d.FinalAt = gateway.Failed, gateway.ReasonTooManyClients, m.CreatedAt
	case c == nil:
		d.State, d.Reason, d.FinalAt = gateway.Failed, gateway.ReasonUnknownClient, m.CreatedAt
	case c.Queued >= s.opt.QueueLen:
		d.State, d.Reason, d.FinalAt = gateway.Failed, gateway.ReasonQueueFull, m.CreatedAt
	}
	m.deliveries = append(m.deliveries, d)
	m.Counts.Total++
	*m.Counts.Of(d.State)++
	l := s.laneLocked(id)
	l.history = append(l.history, d)
	if d.State == gateway.Queued {
		if !c.connected {
			s.logLocked(gateway.Event{Type: gateway.EventMessageQueued, At: m.CreatedAt, Client: id, Message: m.ID})
		}
		l.queue = append(l.queue, d)
		s.queued++
		c.Queued++
		if !m.many() {
			c.QueuedBytes += int64(len(m.Payload))
		}
	}
	return d
}
