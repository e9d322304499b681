package memstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// eventLog has the newest events. Numbers start at the clock in microseconds, so that
// a number of an earlier process is below all of this one.
type eventLog struct {
	kept      []loggedEvent
	forgotten uint64
	last      uint64
}

type loggedEvent struct {
	gateway.Event
	logged time.Time
}

func newEventLog() eventLog {
	base := uint64(time.Now().UnixMicro())
	return eventLog{forgotten: base, last: base}
}

// logLocked adds an event, numbers it and tells the observer.
func (s *Store) logLocked(e gateway.Event) {
	l := &s.told
	l.last++
	e.Seq = l.last
	l.kept = append(l.kept, loggedEvent{e, s.opt.Now()})
	if most := s.opt.MaxEvents; len(l.kept) > most+most/4 {
		s.forgetEventsLocked(len(l.kept) - most)
	}
	s.noteLocked(&gateway.EventsLogged{Last: l.last})
}

func (s *Store) forgetEventsLocked(n int) {
	l := &s.told
	l.forgotten = l.kept[n-1].Seq
	kept := copy(l.kept, l.kept[n:])
	clear(l.kept[kept:])
	l.kept = l.kept[:kept]
}

// logFinalLocked adds the event of a delivery that is final.
func (s *Store) logFinalLocked(d *gateway.Delivery) {
	s.logLocked(gateway.Event{Type: gateway.FinalEvent(d.State), At: d.FinalAt, Client: d.Client, Message: d.Message,
		State: d.State, Reason: d.Reason, Attempts: d.Attempts, Result: d.Result})
}

// logCompletedLocked adds the event of a message to many, all of whose deliveries are
// final.
func (s *Store) logCompletedLocked(m *message) {
	if !m.many() || m.Counts.Total == 0 {
		return
	}
	counts := m.Counts
	s.logLocked(gateway.Event{Type: gateway.EventMessageCompleted, At: m.CompletedAt, Message: m.ID, Counts: &counts})
}

// logGroupsLocked adds the event of a client whose groups have changed since event
// number before.
func (s *Store) logGroupsLocked(c *client, was []string, before uint64, at time.Time) {
	if !slices.Equal(was, c.Groups) {
		c.Joined = gateway.Rejoin(was, c.Joined, c.Groups, gateway.Joining{Event: before, Seq: s.seq, Uplink: s.uplinks.last})
		s.logLocked(gateway.Event{Type: gateway.EventGroupChanged, At: at, Client: c.ID, Groups: slices.Clone(c.Groups)})
	}
}

// Events returns events with a number above after.
func (s *Store) Events(after uint64, limit int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.told
	from := behind(l.kept, after, func(e loggedEvent, n uint64) int { return cmp.Compare(e.Seq, n) })
	to := min(len(l.kept), from+limit)
	for i := from; i < to; i++ {
		e := l.kept[i].Event
		if e.Uplink != nil {
			e.Gone = !s.hasUplinkLocked(e.Uplink.Seq)
		}
		buf = append(buf, e)
	}
	if to < len(l.kept) {
		return buf, l.kept[to-1].Seq, nil
	}
	return buf, max(after, l.last), nil
}

// ClientEvents returns events of one client, newest first.
func (s *Store) ClientEvents(q gateway.ClientEventQuery) (p gateway.Page[gateway.Event, uint64], err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.told.kept
	for i := len(kept) - 1; i >= 0 && kept[i].Seq > q.After; i-- {
		e := kept[i].Event
		if q.Before != 0 && e.Seq >= q.Before {
			continue
		}
		if len(p.Items) >= q.Limit || q.Scan <= 0 {
			p.More = true
			return p, nil
		}
		q.Scan--
		p.Next = e.Seq
		if e.Client != q.Client {
			continue
		}
		if e.Uplink != nil {
			e.Gone = !s.hasUplinkLocked(e.Uplink.Seq)
		}
		p.Items = append(p.Items, e)
	}
	return p, nil
}

func (s *Store) hasUplinkLocked(seq uint64) bool {
	_, ok := slices.BinarySearchFunc(s.uplinks.kept, seq, byUplink)
	return ok
}

// EventSpan returns the last number that was forgotten and the last one given.
func (s *Store) EventSpan() (forgotten, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.forgotten, s.told.last, nil
}

// EventsBefore returns the last number before the first event from a time or later.
func (s *Store) EventsBefore(t time.Time) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.told
	n := slices.IndexFunc(l.kept, func(e loggedEvent) bool { return !e.logged.Before(t) }) // the clock may have been set back
	if n < 0 {
		n = len(l.kept)
	}
	if n == 0 {
		return l.forgotten, nil
	}
	return l.kept[n-1].Seq, nil
}

// Note adds an event that no change makes.
func (s *Store) Note(ctx context.Context, e gateway.Event) error {
	if err := s.enterWithRoom(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	e.Result = slices.Clone(e.Result)
	s.logLocked(gateway.Event{Type: e.Type, At: e.At, Client: e.Client, Message: e.Message, State: e.State, Reason: e.Reason,
		Attempts: e.Attempts, Result: e.Result, Detail: e.Detail, Repair: e.Repair})
	return nil
}

// Put writes entries in one step.
func (s *Store) Put(ctx context.Context, entries []gateway.Entry) error {
	for i := range entries {
		if v := &entries[i]; len(v.Key) == 0 || len(v.Key) > gateway.MaxEntryKey || len(v.Value) > gateway.MaxEntryValue {
			return invalid("an entry is beyond its bounds")
		}
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for _, e := range entries {
		if e.Value == nil {
			delete(s.entries, e.Key)
		} else {
			s.entries[e.Key] = append([]byte{}, e.Value...)
		}
	}
	return nil
}

// Entries returns entries in the order of their keys.
func (s *Store) Entries(prefix, after string, limit int) (gateway.Page[gateway.Entry, string], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.entries {
		if strings.HasPrefix(k, prefix) && (k > after || after == "") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	p := newPage[gateway.Entry, string](limit)
	for _, k := range keys {
		if !p.next(k) {
			break
		}
		p.add(gateway.Entry{Key: k, Value: append([]byte{}, s.entries[k]...)})
	}
	return p.Page, nil
}
