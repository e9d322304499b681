package memstore

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// maxScan bounds how many rows a filter may pass over for one page, so that a
// page costs some milliseconds at most.
const maxScan = 2_000

// page collects the rows of one page.
type page[T, K any] struct {
	gateway.Page[T, K]
	limit   int
	scanned int
}

func newPage[T, K any](limit int) *page[T, K] {
	if limit <= 0 {
		limit = gateway.DefaultListSize
	}
	return &page[T, K]{limit: limit}
}

// next notes that the page has reached row k; false when it ends before.
func (p *page[T, K]) next(k K) bool {
	if p.More = len(p.Items) >= p.limit || p.scanned >= maxScan; p.More {
		return false
	}
	p.Next = k
	p.scanned++
	return true
}

// behind returns the index of the first item behind the place of key.
func behind[E, K any](items []E, key K, order func(E, K) int) int {
	i, found := slices.BinarySearchFunc(items, key, order)
	if found {
		i++
	}
	return i
}

func (p *page[T, K]) add(item T) { p.Items = append(p.Items, item) }

// Next appends queued transmissions of one client.
func (s *Store) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) (transmissions []gateway.Transmission, last gateway.Seq, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[q.Client]
	if l == nil {
		return buf, s.seq, nil
	}
	from := behind(l.queue, q.After, bySeq)
	count, size := 0, 0
	for _, d := range l.queue[from:] {
		if count >= q.Max || count > 0 && size >= q.MaxBytes {
			break
		}
		buf = append(buf, d.transmission())
		size += len(d.message.Payload)
		count++
	}
	return buf, s.seq, nil
}

// Transmission returns one queued transmission.
func (s *Store) Transmission(client gateway.ClientID, seq gateway.Seq) (gateway.Transmission, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[client]
	if l == nil {
		return gateway.Transmission{}, false, nil
	}
	i, ok := slices.BinarySearchFunc(l.queue, seq, bySeq)
	if !ok {
		return gateway.Transmission{}, false, nil
	}
	return l.queue[i].transmission(), true, nil
}

func (d *delivery) transmission() gateway.Transmission {
	return gateway.Transmission{Message: d.Message, Seq: d.Seq, ExpiresAt: d.ExpiresAt,
		Payload: d.message.Payload, Many: d.message.many()}
}

// Client returns the record of one client.
func (s *Store) Client(id gateway.ClientID) (gateway.ClientRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		return gateway.ClientRecord{}, clientNotFound(id)
	}
	return c.export(), nil
}

// Clients returns known clients in id order.
func (s *Store) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newPage[gateway.ClientRecord, gateway.ClientID](q.Limit)
	start, exclusive := q.Start()
	ids := s.ids.from(start)
	if q.Descending {
		ids = s.ids.back(start)
	}
	for id := range ids {
		if exclusive && id == start {
			continue
		}
		if !strings.HasPrefix(string(id), q.Prefix) || !p.next(id) {
			break
		}
		c := s.clients[id]
		if (q.Group == "" || inGroup(c, q.Group)) && hasLabels(c, q.Labels) && c.Queued > q.QueuedGT && s.queuedBefore(id, q.QueuedBefore) {
			p.add(c.export())
		}
	}
	return p.Page, nil
}

// queuedBefore reports whether the oldest delivery in a client's queue is from before t,
// which is zero for any queue.
func (s *Store) queuedBefore(id gateway.ClientID, t time.Time) bool {
	if t.IsZero() {
		return true
	}
	l := s.lanes[id]
	return l != nil && len(l.queue) > 0 && l.queue[0].CreatedAt.Before(t)
}

// Message returns a message with its payload.
func (s *Store) Message(id gateway.MessageID) (gateway.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return gateway.Message{}, messageNotFound(id)
	}
	return m.export(true), nil
}

// export returns a copy that the caller may keep.
func (m *message) export(payload bool) gateway.Message {
	e := m.head()
	e.Metadata = maps.Clone(m.Metadata)
	if payload {
		e.Payload = bytes.Clone(m.Payload)
	}
	return e
}

// Messages returns messages, newest first or oldest first.
func (s *Store) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.order)
	if q.Before != "" {
		before, _ = slices.BinarySearchFunc(s.order, q.Before, byID)
	}
	after := 0
	if q.Ascending && q.After != "" {
		after = behind(s.order, q.After, byID)
	}
	p := newPage[gateway.Message, gateway.MessageID](q.Limit)
	for i := range max(0, before-after) {
		m := s.order[before-1-i]
		if q.Ascending {
			m = s.order[after+i]
		}
		if !p.next(m.ID) {
			break
		}
		if !m.CreatedAt.Before(q.Since) && (q.CreatedBefore.IsZero() || m.CreatedAt.Before(q.CreatedBefore)) && m.matches(q.State) {
			p.add(m.export(true))
		}
	}
	return p.Page, nil
}

// matches reports whether m belongs in a list for state.
func (m *message) matches(state gateway.State) bool {
	switch {
	case state == 0:
		return true
	case state == gateway.Queued:
		return !m.Completed()
	case state.Final():
		return m.Completed() && *m.Counts.Of(state) > 0
	}
	return false
}

// Delivery returns one delivery.
func (s *Store) Delivery(id gateway.MessageID, client gateway.ClientID) (gateway.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[id]
	if m == nil {
		return gateway.Delivery{}, messageNotFound(id)
	}
	d := m.delivery(client)
	if d == nil {
		return gateway.Delivery{}, clientNotFound(client)
	}
	return d.Delivery, nil
}

// Deliveries returns a message's deliveries in client id order.
func (s *Store) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newPage[gateway.Delivery, gateway.ClientID](q.Limit)
	m := s.messages[q.Message]
	if m == nil {
		return p.Page, messageNotFound(q.Message)
	}
	from, _ := slices.BinarySearchFunc(m.deliveries, q.After, func(d *delivery, after gateway.ClientID) int {
		if d.Client <= after {
			return -1
		}
		return 1
	})
	for _, d := range m.deliveries[from:] {
		if !p.next(d.Client) {
			break
		}
		if q.State == 0 || d.State == q.State {
			p.add(d.Delivery)
		}
	}
	return p.Page, nil
}

// ClientDeliveries returns a client's deliveries, newest first.
func (s *Store) ClientDeliveries(q gateway.ClientDeliveryQuery) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newPage[gateway.Delivery, gateway.Seq](q.Limit)
	l := s.lanes[q.Client]
	if l == nil {
		return p.Page, nil
	}
	before := len(l.history)
	if q.Before != 0 {
		before, _ = slices.BinarySearchFunc(l.history, q.Before, bySeq)
	}
	for _, d := range slices.Backward(l.history[:before]) {
		if !p.next(d.Seq) {
			break
		}
		if !d.CreatedAt.Before(q.Since) && (q.State == 0 || d.State == q.State) {
			p.add(d.Delivery)
		}
	}
	return p.Page, nil
}
