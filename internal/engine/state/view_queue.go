package state

import (
	"errors"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Next appends to buf the queued transmissions that q asks for.
func (v *View) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) ([]gateway.Transmission, error) {
	o, ok, err := v.ordinal(q.Client, q.Ref)
	if err != nil || !ok {
		return buf, err
	}
	l, err := v.lane(o, q.After)
	if err == nil {
		buf, err = l.fill(buf, q.Max, q.MaxBytes)
	}
	return buf, errors.Join(err, l.close())
}

// ordinal returns a known client's ordinal, which is in its reference where
// there is one.
func (v *View) ordinal(id gateway.ClientID, ref uint32) (record.Ordinal, bool, error) {
	if ref != 0 {
		return record.Ordinal(ref - 1), true, nil
	}
	row, ok, err := v.clientRow(id)
	return row.ord, ok, err
}

// fill appends transmissions to buf: at most max, and until they have maxBytes.
func (l *lane) fill(buf []gateway.Transmission, max, maxBytes int) ([]gateway.Transmission, error) {
	for size, n := 0, 0; n < max && (n == 0 || size < maxBytes); n++ {
		p, ok, err := l.next()
		if err != nil || !ok {
			return buf, err
		}
		size += len(p.Payload)
		buf = append(buf, p)
	}
	return buf, nil
}

// Transmission returns one queued transmission, ok false when it is final or unknown.
func (v *View) Transmission(client gateway.ClientID, seq gateway.Seq) (p gateway.Transmission, ok bool, err error) {
	row, known, err := v.clientRow(client)
	if err != nil || !known {
		return p, false, err
	}
	q, err := readRow(v, queueKey(row.ord, seq), decodeQueued)
	if err != nil {
		return p, false, err
	}
	if q != nil {
		p, err = v.transmission(q.id, seq)
		return p, err == nil, err
	}
	set, err := v.chunk(queuedChunk(seq, record.ChunkOf(row.ord)))
	if err != nil || !set.Has(row.ord) {
		return p, false, err
	}
	p, err = v.broadcastTransmission(seq)
	return p, err == nil, err
}

// lane walks the queue of one client: its own rows and the messages in
// bitmap form, by rising sequence.
type lane struct {
	view *View
	ord  record.Ordinal
	rows Iterator    // nil: none
	ok   bool        // rows stands on a row
	bits *queuedBits // of the client's chunk; nil: none
	at   int         // the next of bits that is not looked at
}

func (v *View) lane(o record.Ordinal, after gateway.Seq) (l lane, err error) {
	l.view, l.ord = v, o
	if after == ^gateway.Seq(0) {
		return l, nil
	}
	if v.State.bitmaps > 0 {
		if l.bits, err = v.queuedBits(record.ChunkOf(o), after); err != nil {
			return l, err
		}
		l.at = l.bits.above(after)
	}
	if !v.Shared.Waits(o) {
		return l, nil
	}
	rows, err := v.Rows.Iter(queueKey(o, after+1), afterPrefix(key32(kindQueued, uint32(o))))
	if err == nil {
		l.rows, l.ok = rows, rows.First()
	}
	return l, err
}

// oldestQueued returns when the first delivery in a client's queue was accepted; ok is
// false if there is none.
func (v *View) oldestQueued(o record.Ordinal) (at int64, ok bool, err error) {
	l, err := v.lane(o, 0)
	if err == nil {
		at, ok, err = l.firstAt()
	}
	return at, ok, errors.Join(err, l.close())
}

// firstAt returns when the next delivery of the lane was accepted.
func (l *lane) firstAt() (at int64, ok bool, err error) {
	seq, many := l.broadcast()
	if l.ok && (!many || gateway.Seq(tail64(l.rows.Key())) < seq) {
		q, err := l.queued()
		return q.createdAt, err == nil, err
	}
	if !many {
		return 0, false, nil
	}
	h, err := l.view.knownHead(seq)
	if err != nil {
		return 0, false, err
	}
	return h.createdAt, true, nil
}

// broadcast returns the next message whose bit is set.
func (l *lane) broadcast() (gateway.Seq, bool) {
	if l.bits == nil {
		return 0, false
	}
	for ; l.at < len(l.bits.seqs); l.at++ {
		if l.bits.sets[l.at].Has(l.ord) {
			return l.bits.seqs[l.at], true
		}
	}
	return 0, false
}

func (l *lane) close() error {
	if l.rows == nil {
		return nil
	}
	return l.rows.Close()
}

// next returns the next transmission, ok false at the end.
func (l *lane) next() (p gateway.Transmission, ok bool, err error) {
	seq, many := l.broadcast()
	switch {
	case l.ok && (!many || gateway.Seq(tail64(l.rows.Key())) < seq):
		p, err = l.row()
	case many:
		l.at++
		p, err = l.view.broadcastTransmission(seq)
	case l.rows != nil:
		return p, false, l.rows.Error()
	default:
		return p, false, nil
	}
	return p, err == nil, err
}

// queued returns the row that rows stands on.
func (l *lane) queued() (q queueRow, err error) {
	val, err := l.rows.ValueAndErr()
	if err == nil {
		q, err = decodeQueued(l.rows.Key(), val)
	}
	return q, err
}

// row takes the row that rows stands on.
func (l *lane) row() (gateway.Transmission, error) {
	seq := gateway.Seq(tail64(l.rows.Key()))
	q, err := l.queued()
	if err != nil {
		return gateway.Transmission{}, err
	}
	l.ok = l.rows.Next()
	return l.view.transmission(q.id, seq)
}

// transmission returns a message ready to be sent.
func (v *View) transmission(id gateway.MessageID, seq gateway.Seq) (gateway.Transmission, error) {
	row, err := v.messageRow(id)
	if err == nil && row == nil {
		err = missing(messageKey(id))
	}
	if err != nil {
		return gateway.Transmission{}, err
	}
	return gateway.Transmission{Message: row.id, Seq: seq, ExpiresAt: record.TimeOf(row.expiresAt), Payload: row.payload,
		Many: row.form != formOne}, nil
}
