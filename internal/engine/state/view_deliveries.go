package state

import (
	"math"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// bitStates are the states that have a bitmap of their own.
var bitStates = []gateway.State{gateway.Queued, gateway.Acked, gateway.Rejected, gateway.Expired, gateway.Canceled, gateway.Failed}

// Delivery returns one delivery.
func (v *View) Delivery(id gateway.MessageID, client gateway.ClientID) (d gateway.Delivery, err error) {
	row, err := v.knownMessage(id)
	if err != nil {
		return d, err
	}
	d, ok, err := v.delivery(row, client)
	if err == nil && !ok {
		err = domainError(gateway.CodeClientNotFound, "client %q is no recipient of message %q", client, id)
	}
	return d, err
}

// delivery returns a message's delivery to client, ok false when it has none.
func (v *View) delivery(row *messageRow, client gateway.ClientID) (d gateway.Delivery, ok bool, err error) {
	if row.form == formOne {
		if client != row.client {
			return d, false, nil
		}
		return v.rowDelivery(row, row.ord, client)
	}
	if slices.Contains(row.unknown, client) {
		return v.unknownDelivery(row, client)
	}
	c, known, err := v.clientRow(client)
	if err != nil {
		return d, false, err
	}
	if row.form == formList {
		if known && slices.Contains(row.ords, c.ord) {
			return v.rowDelivery(row, c.ord, client)
		}
		return v.formerDelivery(row, client)
	}
	h, err := v.knownHead(row.seq)
	if err != nil {
		return d, false, err
	}
	if known {
		if d, ok, err = v.bitDelivery(h, row.seq, c.ord, client); ok || err != nil {
			return d, ok, err
		}
	}
	d, _, ok, err = v.formerBit(h, row.seq, client, maxScan)
	return d, ok, err
}

// formerBit looks for a bit of a recipient that was forgotten since, among the clients
// that were forgotten last, at most limit of them. It returns the ordinal of that time.
func (v *View) formerBit(h *headRow, seq gateway.Seq, client gateway.ClientID, limit int) (d gateway.Delivery, o record.Ordinal, ok bool, err error) {
	err = v.each([]byte{kindForgotten}, []byte{kindForgotten + 1}, true, func(k, _ []byte) (bool, error) {
		limit--
		o = record.Ordinal(tail32(k))
		name, err := v.nameOf(o)
		if err == nil && name == client {
			d, ok, err = v.bitDelivery(h, seq, o, client)
		}
		return !ok && limit > 0, err
	})
	return d, o, ok, err
}

// formerDelivery looks for a recipient that was forgotten since.
func (v *View) formerDelivery(row *messageRow, client gateway.ClientID) (d gateway.Delivery, ok bool, err error) {
	for _, o := range row.ords {
		name, err := v.nameOf(o)
		if err != nil {
			return d, false, err
		}
		if name == client {
			return v.rowDelivery(row, o, client)
		}
	}
	return d, false, nil
}

// rowDelivery returns a delivery that has its own row.
func (v *View) rowDelivery(row *messageRow, o record.Ordinal, client gateway.ClientID) (d gateway.Delivery, ok bool, err error) {
	f, err := v.finalRow(finalKey(o, row.seq))
	if err != nil {
		return d, false, err
	}
	if f != nil {
		return f.delivery(client, row.seq), true, nil
	}
	return gateway.Delivery{Message: row.id, Client: client, Seq: row.seq, State: gateway.Queued,
		CreatedAt: record.TimeOf(row.createdAt), ExpiresAt: record.TimeOf(row.expiresAt)}, true, nil
}

// unknownDelivery returns the delivery to a client that was not known.
func (v *View) unknownDelivery(row *messageRow, client gateway.ClientID) (d gateway.Delivery, ok bool, err error) {
	k := unknownKey(client, row.seq)
	f, err := v.finalRow(k)
	if err == nil && f == nil {
		err = missing(k)
	}
	if err != nil {
		return d, false, err
	}
	return f.delivery(client, row.seq), true, nil
}

// bitDelivery returns a delivery that is a bit.
func (v *View) bitDelivery(h *headRow, seq gateway.Seq, o record.Ordinal, client gateway.ClientID) (d gateway.Delivery, ok bool, err error) {
	for _, s := range bitStates {
		set, err := v.chunk(stateChunk(seq, s, record.ChunkOf(o)))
		if err != nil {
			return d, false, err
		}
		if set.Has(o) {
			d, err = v.bit(h, s, seq, o, client)
			return d, err == nil, err
		}
	}
	return d, false, nil
}

// bit returns the delivery of a bit, with the reason and result of its row.
func (v *View) bit(h *headRow, s gateway.State, seq gateway.Seq, o record.Ordinal, client gateway.ClientID) (gateway.Delivery, error) {
	d := gateway.Delivery{Message: h.id, Client: client, Seq: seq, State: s,
		CreatedAt: record.TimeOf(h.createdAt), ExpiresAt: record.TimeOf(h.expiresAt)}
	if s == gateway.Queued {
		return d, nil
	}
	if f, err := v.finalRow(sparseKey(seq, o)); err != nil {
		return d, err
	} else if f != nil {
		return f.delivery(client, seq), nil
	}
	if s == gateway.Expired || s == gateway.Canceled { // all in one step, which completed the message
		d.FinalAt = record.TimeOf(h.completedAt)
	}
	return d, nil
}

// Deliveries returns a message's deliveries: in the order in which the clients
// first registered, those that were never seen last.
func (v *View) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	p := newPage[gateway.Delivery, gateway.ClientID](q.Limit)
	row, err := v.knownMessage(q.Message)
	switch {
	case err != nil:
	case row.form == formBitmap:
		err = v.bitDeliveries(row, q, p)
	default:
		err = v.rowDeliveries(row, q, p)
	}
	return p.Page, err
}

func (v *View) rowDeliveries(row *messageRow, q gateway.DeliveryQuery, p *page[gateway.Delivery, gateway.ClientID]) error {
	ords, names := row.recipients(), []gateway.ClientID{row.client}
	if row.form == formList {
		names = names[:0]
		for _, o := range ords {
			name, err := v.nameOf(o)
			if err != nil {
				return err
			}
			names = append(names, name)
		}
		names = append(names, row.unknown...)
	}
	for i := slices.Index(names, q.After) + 1; i < len(names) && p.next(names[i]); i++ {
		var d gateway.Delivery
		var err error
		if i < len(ords) {
			d, _, err = v.rowDelivery(row, ords[i], names[i])
		} else {
			d, _, err = v.unknownDelivery(row, names[i])
		}
		if err != nil {
			return err
		}
		if q.State == 0 || d.State == q.State {
			p.Items = append(p.Items, d)
		}
	}
	return nil
}

// bitDeliveries walks the bitmaps chunk by chunk.
func (v *View) bitDeliveries(row *messageRow, q gateway.DeliveryQuery, p *page[gateway.Delivery, gateway.ClientID]) error {
	h, err := v.knownHead(row.seq)
	if err != nil {
		return err
	}
	from, err := v.recipientAfter(h, row.seq, q.After)
	if err != nil {
		return err
	}
	states := bitStates
	if q.State != 0 {
		states = []gateway.State{q.State}
	}
	for n := record.ChunkOf(from); n < h.chunks && !p.More; n++ {
		if err := v.bitChunk(h, row.seq, n, from, states, p); err != nil {
			return err
		}
	}
	return nil
}

// bitChunk adds one chunk's deliveries to the page.
func (v *View) bitChunk(h *headRow, seq gateway.Seq, n uint32, from record.Ordinal, states []gateway.State, p *page[gateway.Delivery, gateway.ClientID]) (err error) {
	sets := make([]record.Bitset, len(states))
	var all record.Bitset
	for i, s := range states {
		if sets[i], err = v.chunk(stateChunk(seq, s, n)); err != nil {
			return err
		}
		all.Or(&sets[i])
	}
	for o := range all.Each(n, from) {
		name, err := v.nameOf(o)
		if err != nil || !p.next(name) {
			return err
		}
		i := slices.IndexFunc(sets, func(set record.Bitset) bool { return set.Has(o) })
		d, err := v.bit(h, states[i], seq, o, name)
		if err != nil {
			return err
		}
		p.Items = append(p.Items, d)
	}
	return nil
}

// recipientAfter returns the ordinal behind the one that a client has, or had, as a
// recipient of a message; 0 for "". If it was forgotten since the page before, it may
// be known again by another ordinal.
func (v *View) recipientAfter(h *headRow, seq gateway.Seq, id gateway.ClientID) (record.Ordinal, error) {
	if id == "" {
		return 0, nil
	}
	row, known, err := v.clientRow(id)
	if err != nil {
		return 0, err
	}
	if known {
		if _, ok, err := v.bitDelivery(h, seq, row.ord, id); ok || err != nil {
			return row.ord + 1, err
		}
	}
	_, former, ok, err := v.formerBit(h, seq, id, math.MaxInt)
	switch {
	case err != nil:
		return 0, err
	case ok:
		return former + 1, nil
	case known: // no recipient; no page ends with it
		return row.ord + 1, nil
	}
	return 0, nil
}
