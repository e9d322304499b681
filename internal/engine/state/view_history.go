package state

import (
	"cmp"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// ClientDeliveries returns a client's deliveries, newest first.
func (v *View) ClientDeliveries(q gateway.ClientDeliveryQuery) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
	p := newPage[gateway.Delivery, gateway.Seq](q.Limit)
	row, known, err := v.clientRow(q.Client)
	if err != nil {
		return p.Page, err
	}
	h := history{view: v, ord: row.ord, q: q, limit: p.limit, before: cmp.Or(q.Before, ^gateway.Seq(0))}
	if err := h.collect(known); err != nil {
		return p.Page, err
	}
	p.Items, p.Next, p.More = h.page()
	return p.Page, nil
}

// history gathers a client's deliveries from four places: rows that are queued,
// rows that are final, bits, and what failed before the client was known.
type history struct {
	view   *View
	ord    record.Ordinal
	q      gateway.ClientDeliveryQuery
	limit  int
	before gateway.Seq
	items  []gateway.Delivery
	// floor is the highest sequence at which one of the places was left before
	// its end: below it the items are not all.
	floor gateway.Seq
	cut   bool
}

func (h *history) collect(known bool) error {
	s := h.q.State
	if s == 0 || s == gateway.Failed {
		if err := h.rows(namedPrefix(kindUnknown, h.q.Client), unknownKey(h.q.Client, h.before), h.final); err != nil {
			return err
		}
	}
	if !known {
		return nil
	}
	if s == 0 || s == gateway.Queued {
		if err := h.rows(key32(kindQueued, uint32(h.ord)), queueKey(h.ord, h.before), h.queued); err != nil {
			return err
		}
	}
	if s == 0 || s.Final() {
		if err := h.rows(key32(kindFinal, uint32(h.ord)), finalKey(h.ord, h.before), h.final); err != nil {
			return err
		}
	}
	return h.rows([]byte{kindHead}, headKey(h.before), h.bit)
}

// rows walks one place, newest first, until the page must be full.
func (h *history) rows(from, to []byte, read func(k, val []byte) (d gateway.Delivery, ok bool, err error)) error {
	found, scanned := 0, 0
	return h.view.each(from, to, true, func(k, val []byte) (bool, error) {
		if found >= h.limit || scanned >= maxScan {
			h.stop(gateway.Seq(tail64(k)) + 1)
			return false, nil
		}
		scanned++
		d, ok, err := read(k, val)
		if err == nil && ok && h.wants(&d) {
			h.items = append(h.items, d)
			found++
		}
		return true, err
	})
}

func (h *history) wants(d *gateway.Delivery) bool {
	return (h.q.State == 0 || d.State == h.q.State) && !d.CreatedAt.Before(h.q.Since)
}

func (h *history) stop(at gateway.Seq) {
	h.cut, h.floor = true, max(h.floor, at)
}

func (h *history) queued(k, val []byte) (d gateway.Delivery, ok bool, err error) {
	r, err := decodeQueued(k, val)
	if err != nil {
		return d, false, err
	}
	return gateway.Delivery{Message: r.id, Client: h.q.Client, Seq: gateway.Seq(tail64(k)), State: gateway.Queued,
		CreatedAt: record.TimeOf(r.createdAt), ExpiresAt: record.TimeOf(r.expiresAt)}, true, nil
}

func (h *history) final(k, val []byte) (gateway.Delivery, bool, error) {
	f, err := decodeFinal(k, val)
	return f.delivery(h.q.Client, gateway.Seq(tail64(k))), true, err
}

// bit is the client's part of a message in bitmap form.
func (h *history) bit(k, val []byte) (d gateway.Delivery, ok bool, err error) {
	head, err := decodeHead(k, val)
	if err != nil || head.form != formBitmap {
		return d, false, err
	}
	return h.view.bitDelivery(&head, gateway.Seq(tail64(k)), h.ord, h.q.Client)
}

// page merges the deliveries of all rows.
func (h *history) page() (items []gateway.Delivery, next gateway.Seq, more bool) {
	slices.SortFunc(h.items, func(a, b gateway.Delivery) int { return cmp.Compare(b.Seq, a.Seq) })
	items = h.items
	if h.cut {
		n := slices.IndexFunc(items, func(d gateway.Delivery) bool { return d.Seq < h.floor })
		if n >= 0 {
			items = items[:n]
		}
	}
	if len(items) > h.limit {
		items = items[:h.limit]
		return items, items[len(items)-1].Seq, true
	}
	if h.cut {
		return items, h.floor, true
	}
	if len(items) > 0 {
		next = items[len(items)-1].Seq
	}
	return items, next, false
}
