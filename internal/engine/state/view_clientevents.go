package state

import (
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// ClientEvents returns events of one client, newest first. It reads the rows of the log
// backwards, and decodes only the entries that may be the client's.
func (v *View) ClientEvents(q gateway.ClientEventQuery) (p gateway.Page[gateway.Event, uint64], err error) {
	row, known, err := v.clientRow(q.Client)
	if err != nil {
		return p, err
	}
	r := eventReader{View: v, room: q.Limit}
	to := []byte{kindEvents + 1}
	if q.Before != 0 {
		to = key64(kindEvents, q.Before)
	}
	after := max(q.After, v.State.EventsGone)
	err = v.each([]byte{kindEvents}, to, true, func(k, val []byte) (bool, error) {
		list, entries, end, err := eventsOf(q.Client, k, val)
		switch {
		case err != nil:
			return false, err
		case end <= after:
			return false, nil
		case r.room <= 0 || q.Scan <= 0:
			p.More = true
			return false, nil
		}
		q.Scan -= entries
		for _, e := range slices.Backward(list) {
			of := e.Client == q.Client
			if known && !of {
				if of, err = r.concerns(&e, row.ord); err != nil {
					return false, err
				}
			}
			if !of || q.Before != 0 && e.Number >= q.Before || e.last() <= after {
				continue
			}
			if r.room <= 0 {
				p.More = true
				return false, nil
			}
			p.Next = e.Number
			r.fields = e.fields()
			r.fields.Client = q.Client
			if err := r.complete(&e); err != nil {
				return false, err
			}
			if r.fields.Type != "" { // else of a later version
				r.add(e.Number)
			}
		}
		p.Next = tail64(k)
		return true, nil
	})
	p.Items = r.events
	return p, err
}

// eventsOf decodes the entries of a row that name a client, or several clients. It returns
// how many entries the row has, and the number of its last event.
func eventsOf(client gateway.ClientID, key, v []byte) (list []Event, entries int, end uint64, err error) {
	d, at, err := openEvents(key, v)
	if err != nil {
		return nil, 0, 0, err
	}
	number := tail64(key)
	for ; len(d.Rest) > 0; entries++ {
		e := Event{Number: number, N: 1, Kind: EventKind(d.Byte())}
		body := record.Decoder{Rest: d.Bytes()}
		raw := body.Rest
		many := body.Byte()&partMany != 0
		if many || string(body.Bytes()) == string(client) {
			err = e.decode(raw, at)
			list = append(list, e)
		}
		if err != nil || d.Err != nil || body.Err != nil {
			return nil, 0, 0, record.Corrupt(key, record.ErrShort)
		}
		number += uint64(e.N)
	}
	return list, entries, number - 1, nil
}

// concerns reports whether an entry about several clients has an event of one of them.
func (r *eventReader) concerns(e *Event, o record.Ordinal) (bool, error) {
	if e.Kind != EventSettledRest {
		set := e.Clients[uint32(o/record.ChunkBits)]
		return set != nil && set.Has(o), nil
	}
	row, err := r.messageRow(e.Message)
	if err != nil || row == nil {
		return false, err
	}
	if row.form == formList {
		f, err := r.finalRow(finalKey(o, row.seq))
		return f != nil && e.settled(f), err
	}
	set, err := r.chunk(stateChunk(row.seq, e.State, uint32(o/record.ChunkBits)))
	if err != nil || !set.Has(o) {
		return false, err
	}
	f, err := r.finalRow(sparseKey(row.seq, o))
	return f == nil || f.reason == e.Reason, err
}
