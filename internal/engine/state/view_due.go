package state

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// The walks of the sweeper. Each returns at most max events for rows that are past
// their time; apply looks again.

// throughTime returns the first key behind a time in an index by time. A time before 1970
// is before all rows; a clock that was never set leads there, less a retention.
func throughTime(kind byte, t time.Time) []byte {
	if ns := record.Nanos(t); ns >= 0 {
		return key64(kind, uint64(ns)+1)
	}
	return []byte{kind}
}

// Ahead is how far a walk has come over rows of a clock that was ahead. The zero value
// stands before all rows.
type Ahead struct {
	Through uint64 // the last row from ahead of the clock
	until   int64  // the earliest of their times: from then on they are ordinary rows
}

// at returns the place from which a walk continues at the time now.
func (a Ahead) at(now time.Time) Ahead {
	if record.Nanos(now) >= a.until {
		return Ahead{}
	}
	return a
}

// pass adds a row of a time.
func (a *Ahead) pass(number uint64, at int64) {
	if a.Through == 0 || at < a.until {
		a.until = at
	}
	a.Through = number
}

// due returns the events for the first rows of an index by time, below to.
func (v *View) due(to []byte, max int, event func(k, val []byte) record.Event) (events []record.Event, err error) {
	err = v.each(to[:1:1], to, false, func(k, val []byte) (bool, error) {
		events = append(events, event(k, val))
		return len(events) < max, nil
	})
	return events, err
}

// DueMessages finds messages past their time.
func (v *View) DueMessages(now time.Time, max int) ([]record.Event, error) {
	return v.due(throughTime(kindExpiry, now), max, func(_, val []byte) record.Event {
		return &record.Expire{ID: record.ParseID(val), At: now}
	})
}

// OldMessages finds messages that were completed at or before through.
func (v *View) OldMessages(through time.Time, max int) ([]record.Event, error) {
	return v.due(throughTime(kindRetention, through), max, func(k, _ []byte) record.Event {
		return &record.ForgetMessage{ID: record.ParseID(k[9:]), Through: through}
	})
}

// OldKeys finds idempotency keys that were given at or before through.
func (v *View) OldKeys(through time.Time, max int) ([]record.Event, error) {
	return v.due(throughTime(kindKeyAge, through), max, func(k, _ []byte) record.Event {
		return &record.ForgetKey{Scoped: append([]byte(nil), k[9:]...), At: record.TimeOf(int64(tail64(k[:9])))}
	})
}

// OldUplinks finds how far behind after the uplinks came at or before a time. One from
// the future was stored by a clock that was ahead: it goes with those after it. ahead
// covers the rows from the future if no other row was found, else it is after.
func (v *View) OldUplinks(after Ahead, now, before time.Time, max int) (events []record.Event, ahead Ahead, err error) {
	through, n := uint64(0), 0
	after = after.at(now)
	ahead = after
	err = v.each(key64(kindUplinkSeq, after.Through+1), []byte{kindUplinkSeq + 1}, false, func(k, val []byte) (bool, error) {
		useq := tail64(k)
		a, err := decodeArrival(k, val)
		if err != nil {
			return false, err
		}
		row := uplinkKey(a.client, useq)
		raw, err := v.get(row)
		if err != nil {
			return false, err
		}
		u, err := decodeUplink(row, raw)
		n++
		switch {
		case err != nil:
			return false, err
		case u.At.After(now):
			ahead.pass(useq, record.Nanos(u.At))
		case u.At.After(before):
			return false, nil
		default:
			through = useq
		}
		return n < max, nil
	})
	if err != nil {
		return nil, after, err
	}
	if through == 0 {
		return nil, ahead, nil
	}
	return []record.Event{&record.ForgetUplinks{Through: through, Max: max}}, after, nil
}

// forgetEventRows is how many rows of events one event of the log removes at most.
const forgetEventRows = 16

// OldEvents finds the rows of events behind after that have reached the age in force,
// and the oldest ones if all have more bytes than the bound. It treats a row from the
// future as OldUplinks does.
func (v *View) OldEvents(after Ahead, now time.Time, max int) (events []record.Event, ahead Ahead, err error) {
	bounds, err := ReadBounds(v.Rows)
	if err != nil {
		return nil, after, err
	}
	before, excess := now.Add(-bounds.EventAge), v.State.eventBytes-bounds.MaxEventBytes
	if after = after.at(now); excess > 0 {
		after = Ahead{} // the oldest rows go, whatever their time
	}
	ahead = after
	var rows []uint64 // the numbers that were looked at
	gone := 0         // the first of them, which go
	err = v.each(key64(kindEvents, after.Through+1), []byte{kindEvents + 1}, false, func(k, val []byte) (bool, error) {
		_, at, err := openEvents(k, val)
		if err != nil {
			return false, err
		}
		rows = append(rows, tail64(k))
		switch {
		case excess > 0:
			gone = len(rows)
			excess -= int64(len(k) + len(val))
		case at > now.UnixNano():
			ahead.pass(tail64(k), at)
		case at > before.UnixNano():
			return false, nil
		default:
			gone = len(rows)
		}
		return len(rows) < max*forgetEventRows, nil
	})
	if err != nil {
		return nil, after, err
	}
	if gone == 0 {
		return nil, ahead, nil
	}
	for some := range slices.Chunk(rows[:gone], forgetEventRows) {
		events = append(events, &record.ForgetEvents{Through: some[len(some)-1], Max: forgetEventRows})
	}
	return events, after, nil
}

// OldOrdinals finds clients that were forgotten before a time and to which no message
// refers any more. The time alone does not decide: messages end later after a step of the
// clock forwards, and after a long stop.
func (v *View) OldOrdinals(before time.Time, max int) (events []record.Event, err error) {
	var oldest uint64 // of the messages in bitmap form
	err = v.each([]byte{kindHead}, []byte{kindHead + 1}, false, func(k, _ []byte) (bool, error) {
		oldest = tail64(k)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	looked := 0
	err = v.each([]byte{kindForgotten}, throughTime(kindForgotten, before.Add(-1)), false, func(k, val []byte) (bool, error) {
		looked++
		o := record.Ordinal(tail32(k))
		row, err := decodeForgotten(k, val)
		if err != nil || oldest > 0 && oldest <= uint64(row.seq) {
			return looked < max, err
		}
		named := false
		err = v.each(finalKey(o, 0), afterPrefix(key32(kindFinal, uint32(o))), false, func(_, _ []byte) (bool, error) {
			named = true
			return false, nil
		})
		if err == nil && !named {
			events = append(events, &record.ForgetOrdinal{Ord: o, At: record.TimeOf(int64(tail64(k[:9])))})
		}
		return looked < max, err
	})
	return events, err
}

// UnseenClients finds clients not seen since before, and not connected, among the next slice clients behind after. last is the last
// client of them, "" if there are no more.
func (v *View) UnseenClients(after gateway.ClientID, before, now time.Time, slice, max int) (events []record.Event, last gateway.ClientID, err error) {
	n, last := 0, after
	live, err := v.eras()
	if err != nil {
		return nil, "", err
	}
	from := append(clientKey(after), 0)
	if after == "" {
		from = []byte{kindClient}
	}
	err = v.each(from, []byte{kindClient + 1}, false, func(k, val []byte) (bool, error) {
		if n++; n > slice || len(events) == max {
			return false, nil
		}
		last = gateway.ClientID(k[1:])
		row, err := decodeClient(k, val)
		if err != nil {
			return false, err
		}
		old, err := forgettable(v, &row, before.UnixNano(), live)
		if old && err == nil {
			events = append(events, &record.ForgetClient{Client: last, Before: before, At: now})
		}
		return true, err
	})
	if n <= slice && len(events) < max {
		last = ""
	}
	return events, last, err
}

// Oldest returns when the first message behind a place was accepted that is not
// completed, after at most max others, and its place. nil is the place before all.
func (v *View) Oldest(from []byte, max int) (at time.Time, place []byte, err error) {
	place = from
	if from == nil {
		from = []byte{kindMessage}
	}
	n := 0
	err = v.each(from, []byte{kindMessage + 1}, false, func(k, val []byte) (bool, error) {
		place = append(place[:0], k...)
		row, err := decodeMessage(k, val)
		if err != nil {
			return false, err
		}
		at = record.TimeOf(row.createdAt)
		msg, err := v.message(&row)
		n++
		return err == nil && msg.Completed() && n < max, err
	})
	return at, place, err
}
