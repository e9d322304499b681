package state

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// maxScan bounds how many rows a filter may pass over for one page, so that it
// costs some milliseconds at most.
const maxScan = 2_000

// maxPageBytes bounds the payloads of one page: it ends behind the one that reaches it.
const maxPageBytes = 16 << 20

// page collects one page of a list.
type page[T, K any] struct {
	gateway.Page[T, K]
	limit   int
	scanned int
	bytes   int // of payloads
}

func newPage[T, K any](limit int) *page[T, K] {
	if limit <= 0 {
		limit = gateway.DefaultListSize
	}
	return &page[T, K]{limit: min(limit, gateway.MaxListLimit)}
}

// next notes that the row k is looked at; false when the page ends before it.
func (p *page[T, K]) next(k K) bool {
	if len(p.Items) >= p.limit || p.scanned >= maxScan || p.bytes >= maxPageBytes {
		p.More = true
		return false
	}
	p.Next = k
	p.scanned++
	return true
}

// Client returns a known client.
func (v *View) Client(id gateway.ClientID) (rec gateway.ClientRecord, err error) {
	row, ok, err := v.clientRow(id)
	if err != nil {
		return rec, err
	}
	if !ok {
		return rec, unknownClient(id)
	}
	return v.record(id, &row)
}

// Clients returns known clients in id order, rising or falling.
func (v *View) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	p := newPage[gateway.ClientRecord, gateway.ClientID](q.Limit)
	from, to := clientRange(&q)
	if string(from) >= string(to) {
		return p.Page, nil
	}
	err := v.each(from, to, q.Descending, func(k, val []byte) (bool, error) {
		id := gateway.ClientID(k[1:])
		if !p.next(id) {
			return false, nil
		}
		row, err := decodeClient(k, val)
		if err != nil || !matches(&row, &q) {
			return true, err
		}
		rec, err := v.record(id, &row)
		if err != nil || rec.Queued <= q.QueuedGT {
			return true, err
		}
		if !q.QueuedBefore.IsZero() {
			if at, queued, err := v.oldestQueued(row.ord); err != nil || !queued || at >= record.Nanos(q.QueuedBefore) {
				return true, err
			}
		}
		p.Items = append(p.Items, rec)
		return true, nil
	})
	return p.Page, err
}

// clientRange returns the keys of the rows that a query may show.
func clientRange(q *gateway.ClientQuery) (from, to []byte) {
	prefix := clientKey(gateway.ClientID(q.Prefix))
	from, to = prefix, afterPrefix(prefix)
	// The first row of the page is that of an id, or the one behind it.
	start := func(id gateway.ClientID, itself bool) {
		if id == "" {
			return
		}
		at := clientKey(id)
		if itself == q.Descending {
			at = append(at, 0)
		}
		if q.Descending && string(at) < string(to) {
			to = at
		} else if !q.Descending && string(at) > string(from) {
			from = at
		}
	}
	start(q.From, true)
	start(q.After, false)
	return from, to
}

func matches(row *clientRow, q *gateway.ClientQuery) bool {
	if q.Group != "" && !slices.Contains(row.groups, q.Group) {
		return false
	}
	for k, want := range q.Labels {
		if got, ok := row.labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}

// Message returns a message.
func (v *View) Message(id gateway.MessageID) (msg gateway.Message, err error) {
	row, err := v.knownMessage(id)
	if err == nil {
		msg, err = v.message(row)
	}
	return msg, err
}

// Repeated looks for the message of an idempotency key, which is remembered for ttl.
func (v *View) Repeated(a gateway.Acceptance, ttl time.Duration) (r gateway.Receipt, ok bool, err error) {
	k := idempotencyKey(scopedKey(a.Scope, a.IdempotencyKey))
	known, err := readRow(v, k, decodeKey)
	if err != nil || known == nil || record.Nanos(a.CreatedAt)-known.at >= int64(ttl) {
		return r, false, err
	}
	if err := known.mismatch(&a); err != nil {
		return r, false, err
	}
	row, err := v.messageRow(known.id)
	if err != nil || row == nil {
		return r, false, err
	}
	r.Message, err = v.message(row)
	r.Message.Payload, r.Replayed = nil, true
	return r, true, err
}

// Messages returns messages, newest first or oldest first.
func (v *View) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	p := newPage[gateway.Message, gateway.MessageID](q.Limit)
	from, to := []byte{kindMessage}, []byte{kindMessage + 1}
	if q.Before != "" {
		to = messageKey(q.Before)
	}
	if q.Ascending && q.After != "" {
		from = append(messageKey(q.After), 0)
	}
	if string(from) >= string(to) {
		return p.Page, nil
	}
	err := v.each(from, to, !q.Ascending, func(k, val []byte) (bool, error) {
		if !p.next(record.ParseID(k[1:])) {
			return false, nil
		}
		row, err := decodeMessage(k, val)
		if err != nil || row.createdAt < record.Nanos(q.Since) || !q.CreatedBefore.IsZero() && row.createdAt >= record.Nanos(q.CreatedBefore) {
			return true, err
		}
		msg, err := v.message(&row)
		if err == nil && inState(&msg, q.State) {
			p.Items = append(p.Items, msg)
			p.bytes += len(msg.Payload)
		}
		return true, err
	})
	return p.Page, err
}

func inState(msg *gateway.Message, s gateway.State) bool {
	switch {
	case s == 0:
		return true
	case s == gateway.Queued:
		return !msg.Completed()
	case s.Final():
		return msg.Completed() && *msg.Counts.Of(s) > 0
	}
	return false
}

// Uplinks returns stored uplinks of a client, or of all when client is "", with a
// sequence above after, oldest first.
func (v *View) Uplinks(client gateway.ClientID, after uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	if after == ^uint64(0) {
		return gateway.Page[gateway.Uplink, uint64]{}, nil
	}
	return v.uplinks(client, after+1, ^uint64(0), false, limit)
}

// UplinksBefore returns those with a sequence below before, newest first; 0 is the end.
func (v *View) UplinksBefore(client gateway.ClientID, before uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	return v.uplinks(client, 0, before-1, true, limit)
}

// uplinks returns a page of the uplinks from the sequence first to last.
func (v *View) uplinks(client gateway.ClientID, first, last uint64, falling bool, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	p := newPage[gateway.Uplink, uint64](limit)
	if first > last {
		return p.Page, nil
	}
	from, to := uplinkKey(client, first), uplinkKey(client, last)
	if client == "" {
		from, to = key64(kindUplinkSeq, first), key64(kindUplinkSeq, last)
	}
	err := v.each(from, append(to, 0), falling, func(k, val []byte) (bool, error) {
		if !p.next(tail64(k)) {
			return false, nil
		}
		if client == "" {
			a, err := decodeArrival(k, val)
			if err != nil {
				return false, err
			}
			k = uplinkKey(a.client, tail64(k))
			if val, err = v.get(k); err != nil {
				return false, err
			}
		}
		u, err := decodeUplink(k, val)
		p.Items = append(p.Items, u)
		p.bytes += len(u.Payload)
		return true, err
	})
	return p.Page, err
}
