package memstore

import (
	"container/heap"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// expireBatch bounds the work under the mutex at once.
const expireBatch = 1024

// deadline is work that is due at a time.
type deadline struct {
	at     time.Time
	number uint64              // in the order of scheduling, which decides between equal times
	do     func(now time.Time) // called with mu held
	index  int                 // in the heap; -1 if it is no longer there
}

// deadlines is a heap, the earliest first.
type deadlines []*deadline

func (h deadlines) Len() int { return len(h) }
func (h deadlines) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*h)
	*h = append(*h, d)
}

func (h *deadlines) Pop() any {
	i := len(*h) - 1
	d := (*h)[i]
	(*h)[i] = nil
	*h = (*h)[:i]
	d.index = -1
	return d
}

// scheduleLocked runs do at a time.
func (s *Store) scheduleLocked(at time.Time, do func(now time.Time)) *deadline {
	s.scheduled++
	d := &deadline{at: at, number: s.scheduled, do: do}
	heap.Push(&s.deadlines, d)
	if d.index == 0 { // the driver sleeps for a later deadline
		select {
		case s.rearm <- struct{}{}:
		default:
		}
	}
	return d
}

// unscheduleLocked withdraws d, which may be nil or done.
func (s *Store) unscheduleLocked(d *deadline) {
	if d != nil && d.index >= 0 {
		heap.Remove(&s.deadlines, d.index)
	}
}

// lookEvery bounds how long the driver sleeps if there is a deadline: a timer
// does not notice a step of the wall clock.
const lookEvery = time.Second

// drive is the goroutine that calls Expire when work is due. It ends at Close.
func (s *Store) drive() {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		if next, ok := s.nextDeadline(); ok {
			alarm.Reset(min(next.Sub(s.opt.Now()), lookEvery))
		}
		select {
		case <-s.ending:
			return
		case <-s.rearm:
		case <-alarm.C:
			s.Expire(s.opt.Now())
		}
	}
}

func (s *Store) nextDeadline() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.deadlines) == 0 {
		return time.Time{}, false
	}
	return s.deadlines[0].at, true
}

// Expire does everything due at now: it expires deliveries, forgets idempotency
// keys and clients, and drops messages and uplinks after their retention. The
// store calls it; it is exported for tests whose clocks jump.
func (s *Store) Expire(now time.Time) {
	for s.expireSome(now) {
	}
}

// expireSome does a batch and reports whether more may be due.
func (s *Store) expireSome(now time.Time) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitRoomLocked()
	for range expireBatch {
		if s.closed || len(s.deadlines) == 0 || s.deadlines[0].at.After(now) {
			return false
		}
		heap.Pop(&s.deadlines).(*deadline).do(now)
	}
	return true
}

// forgetKeyLocked forgets the idempotency key of m, if it has one.
func (s *Store) forgetKeyLocked(m *message) {
	s.unscheduleLocked(m.keyDue)
	if s.keys[m.key] == m { // the key may belong to a later message
		delete(s.keys, m.key)
	}
}

// dropLocked removes a completed message and its deliveries.
func (s *Store) dropLocked(m *message) {
	s.unscheduleLocked(m.due)
	s.forgetKeyLocked(m)
	s.done = cut(s.done, slices.Index(s.done, m))
	s.bytes -= int64(len(m.Payload))
	delete(s.messages, m.ID)
	if i, ok := slices.BinarySearchFunc(s.order, m.ID, byID); ok {
		s.order = cut(s.order, i)
	}
	for _, d := range m.deliveries {
		l := s.lanes[d.Client]
		if l == nil {
			continue // forgotten
		}
		if i, ok := slices.BinarySearchFunc(l.history, d.Seq, bySeq); ok {
			l.history = cut(l.history, i)
		}
		if len(l.history) == 0 {
			delete(s.lanes, d.Client)
		}
	}
}

// forgetClientLocked forgets a client that was not seen for long and has nothing
// queued. Otherwise it looks again later.
func (s *Store) forgetClientLocked(c *client, now time.Time) {
	if s.clients[c.ID] != c { // removed since
		return
	}
	seen := c.LastSeenAt
	if seen.IsZero() { // known only because a message was queued for it
		seen = c.CreatedAt
	}
	again := func(now time.Time) { s.forgetClientLocked(c, now) }
	switch due := seen.Add(s.opt.ForgetAfter); {
	case due.After(now):
		s.scheduleLocked(due, again)
	case c.connected || c.Queued > 0:
		s.scheduleLocked(now.Add(s.opt.ForgetAfter/16+time.Second), again)
	default:
		s.logLocked(gateway.Event{Type: gateway.EventClientForgotten, At: now, Client: c.ID, Epoch: c.Epoch})
		s.dropClientLocked(c)
	}
}
