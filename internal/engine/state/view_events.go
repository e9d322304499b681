package state

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Events appends up to limit events with a number above after, oldest first, and ends behind
// the result with which they have maxPageBytes. An entry about several clients becomes one
// event for each.
func (v *View) Events(after uint64, limit int, buf []gateway.Event) (events []gateway.Event, through uint64, err error) {
	r := eventReader{View: v, after: after, through: after, room: limit, events: buf}
	from, err := v.eventRow(after + 1)
	if err != nil {
		return buf, after, err
	}
	err = v.each(from, []byte{kindEvents + 1}, false, func(k, val []byte) (bool, error) {
		if r.room <= 0 {
			return false, nil
		}
		list, err := DecodeEvents(k, val)
		if err != nil {
			return false, err
		}
		for i := range list {
			if err := r.entry(&list[i]); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if r.room > 0 && err == nil {
		r.through = max(r.through, v.State.Event)
	}
	return r.events, r.through, err
}

// eventRow returns a key at which the row that has a number is the first one, or else the
// first row behind it.
func (v *View) eventRow(number uint64) (key []byte, err error) {
	to := []byte{kindEvents + 1}
	if number < ^uint64(0) {
		to = key64(kindEvents, number+1)
	}
	err = v.each([]byte{kindEvents}, to, true, func(k, _ []byte) (bool, error) {
		key = slices.Clone(k)
		return false, nil
	})
	if key == nil && err == nil {
		key = key64(kindEvents, number)
	}
	return key, err
}

// EventSpan returns the last number that was forgotten and the last one given.
func (v *View) EventSpan() (forgotten, last uint64) { return v.State.EventsGone, v.State.Event }

// EventsBefore returns the last number before the first event whose record is from a time
// or later. After a step of the clock back, events behind it may be older.
func (v *View) EventsBefore(t time.Time) (uint64, error) {
	from := v.State.EventsGone
	for _, n := range v.State.setBack {
		if n <= from+1 {
			continue
		}
		if last, found, err := v.eventsBefore(t, from, n-1); found || err != nil {
			return last, err
		}
		from = n - 1
	}
	last, _, err := v.eventsBefore(t, from, v.State.Event)
	return last, err
}

// eventsBefore is EventsBefore among the numbers above from, up to top. found reports
// whether there is such an event. It halves the range, because the times of these records
// rise.
func (v *View) eventsBefore(t time.Time, from, top uint64) (last uint64, found bool, err error) {
	lo, hi := from, top // the answer is in [lo, hi]
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		key, at, err := v.eventTime(mid)
		switch {
		case err != nil:
			return 0, false, err
		case key == 0 || key > top: // no row at mid or behind it
			hi = mid - 1
		case at < t.UnixNano():
			lo = max(mid, min(key, hi))
		default:
			hi, found = min(key, mid)-1, true
		}
	}
	return max(lo, from), found, nil
}

// eventTime returns first number and time of the row that has a number, or else of the
// next one; 0 if there is none.
func (v *View) eventTime(number uint64) (first uint64, at int64, err error) {
	from, err := v.eventRow(number)
	if err != nil {
		return 0, 0, err
	}
	err = v.each(from, []byte{kindEvents + 1}, false, func(k, val []byte) (bool, error) {
		if tail64(k) < number { // the row may end before the number: look at its entries
			events, err := DecodeEvents(k, val)
			if err != nil || len(events) == 0 || events[len(events)-1].last() < number {
				return true, err
			}
		}
		first = tail64(k)
		_, at, err = openEvents(k, val)
		return false, err
	})
	return first, at, err
}

// eventReader turns entries into events.
type eventReader struct {
	*View
	after   uint64
	through uint64 // number of the last event that was read or passed over
	room    int
	bytes   int // of results so far
	events  []gateway.Event
	fields  gateway.Event // of the entry, for each of its events
}

// entry appends the events of an entry that are above after, while there is room.
func (r *eventReader) entry(e *Event) error {
	if r.room <= 0 || e.last() <= r.after {
		return nil
	}
	r.fields = e.fields()
	switch {
	case r.fields.Type == "": // of a later version
		r.through = e.last()
		return nil
	case e.N == 1 && e.Clients == nil && e.Kind != EventSettledRest:
		if err := r.complete(e); err != nil {
			return err
		}
		r.add(e.Number)
		return nil
	}
	return r.expand(e)
}

// fields returns the fields that the entry itself has of its events.
func (e *Event) fields() gateway.Event {
	return gateway.Event{Type: e.eventType(), At: record.TimeOf(e.At), Client: e.Client, Epoch: e.Epoch, Session: e.Session,
		Reason: e.Reason, Dialect: e.Dialect, Remote: e.Remote, Message: e.Message, State: e.State, Attempts: e.Attempts, Groups: e.Groups}
}

func (r *eventReader) add(number uint64) {
	r.fields.Seq = number
	r.events = append(r.events, r.fields)
	r.through = number
	r.room--
	if r.bytes += len(r.fields.Result); r.bytes >= maxPageBytes {
		r.room = 0
	}
}

func (e *Event) eventType() gateway.EventType {
	switch e.Kind {
	case EventConnected:
		return gateway.EventClientConnected
	case EventReplaced:
		return gateway.EventClientReplaced
	case EventDisconnected, EventDisconnectedAll:
		return gateway.EventClientDisconnected
	case EventForgotten:
		return gateway.EventClientForgotten
	case EventQueuedForAbsent, EventQueuedForAbsentMany:
		return gateway.EventMessageQueued
	case EventReceived:
		return gateway.EventMessageReceived
	case EventSettled, EventSettledRest:
		return gateway.FinalEvent(e.State)
	case EventLateAck:
		return gateway.EventMessageLateAck
	case EventCompleted:
		return gateway.EventMessageCompleted
	case EventRegrouped:
		return gateway.EventGroupChanged
	case EventNoted:
		return e.Note.Event.Type
	}
	return ""
}

// complete adds what other rows have of the event.
func (r *eventReader) complete(e *Event) error {
	f := &r.fields
	switch e.Kind {
	case EventNoted:
		n := &e.Note.Event
		f.Message, f.State, f.Reason, f.Attempts, f.Detail, f.Repair = n.Message, n.State, n.Reason, n.Attempts, n.Detail, n.Repair
		f.Result = slices.Clone(n.Result)
	case EventReplaced:
		f.Reason = gateway.ReasonReplaced
	case EventReceived:
		return r.uplink(e)
	case EventCompleted:
		h, err := r.head(gateway.Seq(e.Seq))
		if err != nil {
			return err
		}
		if f.Gone = h == nil; h != nil {
			counts := h.counts()
			f.Counts = &counts
		}
	case EventSettled, EventLateAck:
		if e.Result {
			return r.result(e)
		}
	}
	return nil
}

func (r *eventReader) uplink(e *Event) error {
	k := uplinkKey(e.Client, e.Seq)
	val, err := r.get(k)
	if err != nil {
		return err
	}
	u := gateway.Uplink{Seq: e.Seq, Client: e.Client, At: record.TimeOf(e.At)}
	if r.fields.Gone = val == nil; val != nil {
		if u, err = decodeUplink(k, val); err != nil {
			return err
		}
		r.fields.Session = u.Session
		u.OmitLarge()
	}
	r.fields.Uplink = &u
	return nil
}

// result adds the device's answer, which is in one of three places.
func (r *eventReader) result(e *Event) error {
	seq := gateway.Seq(e.Seq)
	row, known, err := r.clientRow(e.Client)
	if err != nil {
		return err
	}
	keys := [][]byte{unknownKey(e.Client, seq)}
	if known {
		keys = append(keys, finalKey(row.ord, seq), sparseKey(seq, row.ord))
	}
	for _, k := range keys {
		f, err := r.finalRow(k)
		if err != nil {
			return err
		}
		if f == nil || f.id != e.Message {
			continue
		}
		if r.fields.Result = f.result; e.Kind == EventLateAck {
			r.fields.Result = f.lateResult
		}
		return nil
	}
	return r.formerResult(e)
}

// formerResult is result for a client that was forgotten since. Its message knows it.
func (r *eventReader) formerResult(e *Event) error {
	row, err := r.messageRow(e.Message)
	if r.fields.Gone = row == nil; row == nil || err != nil {
		return err
	}
	d, ok, err := r.delivery(row, e.Client)
	r.fields.Gone = !ok
	if r.fields.Result = d.Result; e.Kind == EventLateAck {
		r.fields.Result = d.LateResult
	}
	return err
}

// expand appends one event for each client of an entry. The clients of EventSettledRest
// are in the rows of the message, and are left out once those are gone.
func (r *eventReader) expand(e *Event) error {
	number := e.Number
	each := func(o record.Ordinal) (more bool, err error) {
		if number > r.after {
			if r.fields.Client, err = r.nameOf(o); err != nil {
				return false, err
			}
			if r.fields.Client != "" {
				r.add(number)
			}
			r.through = number
		}
		number++
		return r.room > 0 && number <= e.last(), nil
	}
	chunk := func(n uint32, set *record.Bitset) (more bool, err error) {
		if c := uint64(set.Count()); number+c <= r.after+1 { // none is above after
			number += c
			return true, nil
		}
		for o := range set.Each(n, 0) {
			if more, err := each(o); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	}
	var err error
	if e.Kind == EventSettledRest {
		err = r.rest(e, each, chunk)
	} else {
		for _, n := range e.Clients.Chunks() {
			var more bool
			if more, err = chunk(n, e.Clients[n]); err != nil || !more {
				break
			}
		}
	}
	if err == nil && r.room > 0 {
		r.through = e.last()
	}
	return err
}

// rest calls one or chunk with the clients whose deliveries an entry has settled together:
// those in its state that no other event has settled. It ends when they return false.
func (r *eventReader) rest(e *Event, one func(record.Ordinal) (bool, error), chunk func(uint32, *record.Bitset) (bool, error)) error {
	row, err := r.messageRow(e.Message)
	if err != nil || row == nil {
		return err
	}
	if row.form == formList {
		for _, o := range row.ords {
			f, err := r.finalRow(finalKey(o, row.seq))
			if err != nil {
				return err
			}
			if f == nil || !e.settled(f) {
				continue
			}
			if more, err := one(o); err != nil || !more {
				return err
			}
		}
		return nil
	}
	h, err := r.head(row.seq)
	if err != nil || h == nil {
		return err
	}
	for n := range h.chunks {
		set, err := r.chunk(stateChunk(row.seq, e.State, n))
		if err == nil && e.State != gateway.Expired { // nothing expires alone
			err = r.dropOthers(e, row.seq, n, &set)
		}
		if err != nil {
			return err
		}
		if more, err := chunk(n, &set); err != nil || !more {
			return err
		}
	}
	return nil
}

// dropOthers takes the clients out of a chunk that came into the entry's state before it.
// A row of each says why.
func (r *eventReader) dropOthers(e *Event, seq gateway.Seq, n uint32, set *record.Bitset) error {
	first := record.Ordinal(n) * record.ChunkBits
	end := append(sparseKey(seq, first+record.ChunkBits-1), 0)
	return r.each(sparseKey(seq, first), end, false, func(k, val []byte) (bool, error) {
		o := record.Ordinal(tail32(k))
		if !set.Has(o) {
			return true, nil
		}
		f, err := decodeFinal(k, val)
		if f.reason != e.Reason {
			set.Clear(o)
		}
		return true, err
	})
}

// settled reports whether the delivery of a row became final with the entry.
func (e *Event) settled(f *finalRow) bool {
	return f.state == e.State && f.reason == e.Reason && f.finalAt == e.At
}

// Entries returns entries of the gateway's own, in the order of their keys.
func (v *View) Entries(prefix, after string, limit int) (gateway.Page[gateway.Entry, string], error) {
	p := newPage[gateway.Entry, string](limit)
	from := entryKey(max(prefix, after))
	if after >= prefix && after != "" {
		from = append(from, 0)
	}
	err := v.each(from, afterPrefix(entryKey(prefix)), false, func(k, val []byte) (bool, error) {
		key := string(k[1:])
		if !p.next(key) {
			return false, nil
		}
		val, err := record.CheckSum(k, val)
		p.Items = append(p.Items, gateway.Entry{Key: key, Value: append([]byte{}, val...)})
		return true, err
	})
	return p.Page, err
}
