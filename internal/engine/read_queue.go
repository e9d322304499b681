package engine

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
)

// Next appends to buf the queued parcels of client with a sequence above after.
func (e *Engine) Next(client gateway.ClientID, after gateway.Seq, max, maxBytes int, buf []gateway.Parcel) ([]gateway.Parcel, error) {
	if max <= 0 {
		return buf, nil
	}
	now := e.opt.Now().UnixNano()
	err := e.read(func(v *view) error {
		row, ok, err := v.clientRow(client)
		if err != nil || !ok {
			return err
		}
		l, err := v.lane(row.ord, after)
		if err == nil {
			buf, err = l.fill(buf, now, max, maxBytes)
		}
		return errors.Join(err, l.close())
	})
	return buf, err
}

// fill appends parcels to buf: at most max, and until they have maxBytes.
func (l *lane) fill(buf []gateway.Parcel, now int64, max, maxBytes int) ([]gateway.Parcel, error) {
	for size, n := 0, 0; n < max && (n == 0 || size < maxBytes); n++ {
		p, ok, err := l.next(now)
		if err != nil || !ok {
			return buf, err
		}
		size += len(p.Payload)
		buf = append(buf, p)
	}
	return buf, nil
}

// Parcel returns one queued parcel, ok false when it is final, unknown or past
// its time.
func (e *Engine) Parcel(client gateway.ClientID, seq gateway.Seq) (p gateway.Parcel, ok bool, err error) {
	now := e.opt.Now().UnixNano()
	err = e.read(func(v *view) error {
		row, known, err := v.clientRow(client)
		if err != nil || !known {
			return err
		}
		val, err := v.get(queueKey(row.ord, seq))
		if err != nil {
			return err
		}
		if val != nil {
			q, err := decodeQueued(val)
			if err != nil {
				return &CorruptError{Key: queueKey(row.ord, seq), Cause: err}
			}
			p, err = v.parcel(q.id, seq)
			ok = err == nil && q.expiresAt > now
			return err
		}
		set, err := v.chunk(queuedChunk(seq, chunkOf(row.ord)))
		if err != nil || !set.has(row.ord) {
			return err
		}
		p, err = v.broadcastParcel(seq)
		ok = err == nil && nanos(p.ExpiresAt) > now
		return err
	})
	return p, ok, err
}

// lane walks what is queued for one client: its own rows and the messages in
// bitmap form, by rising sequence.
type lane struct {
	view *view
	ord  ordinal
	rows *pebble.Iterator
	bits []gateway.Seq // queued messages in bitmap form
	ok   bool          // rows stands on a row
}

func (v *view) lane(o ordinal, after gateway.Seq) (*lane, error) {
	l := &lane{view: v, ord: o}
	err := v.broadcastsFor(o, after, func(s gateway.Seq) (bool, error) {
		l.bits = append(l.bits, s)
		return true, nil
	})
	if err != nil || after == ^gateway.Seq(0) {
		return l, err
	}
	l.rows, err = v.snap.NewIter(&pebble.IterOptions{LowerBound: queueKey(o, after+1),
		UpperBound: afterPrefix(key32(kindQueued, uint32(o)))})
	if err == nil {
		l.ok = l.rows.First()
	}
	return l, err
}

func (l *lane) close() error {
	if l.rows == nil {
		return nil
	}
	return l.rows.Close()
}

// next returns the next parcel that is not expired at now.
func (l *lane) next(now int64) (p gateway.Parcel, ok bool, err error) {
	for {
		if l.ok {
			seq := gateway.Seq(tail64(l.rows.Key()))
			if len(l.bits) == 0 || seq < l.bits[0] {
				q, err := decodeQueued(l.rows.Value())
				if err != nil {
					return p, false, &CorruptError{Key: queueKey(l.ord, seq), Cause: err}
				}
				l.ok = l.rows.Next()
				if q.expiresAt <= now {
					continue
				}
				p, err = l.view.parcel(q.id, seq)
				return p, err == nil, err
			}
		} else if l.rows != nil {
			if err := l.rows.Error(); err != nil {
				return p, false, err
			}
		}
		if len(l.bits) == 0 {
			return p, false, nil
		}
		seq := l.bits[0]
		l.bits = l.bits[1:]
		if p, err = l.view.broadcastParcel(seq); err != nil {
			return p, false, err
		}
		if nanos(p.ExpiresAt) > now {
			return p, true, nil
		}
	}
}

// parcel returns a message ready to be sent.
func (v *view) parcel(id gateway.MessageID, seq gateway.Seq) (gateway.Parcel, error) {
	row, err := v.messageRow(id)
	if err == nil && row == nil {
		err = &CorruptError{Key: messageKey(id), Cause: errMissing}
	}
	if err != nil {
		return gateway.Parcel{}, err
	}
	return gateway.Parcel{Message: row.id, Seq: seq, ExpiresAt: timeOf(row.expiresAt), Payload: row.payload,
		Many: row.form != formOne}, nil
}

// broadcastParcel remembers the last one: its recipients ask one after the other.
func (v *view) broadcastParcel(seq gateway.Seq) (gateway.Parcel, error) {
	if p := v.broadcast.Load(); p != nil && p.Seq == seq {
		return *p, nil
	}
	p, err := v.readBroadcast(seq)
	if err == nil {
		v.broadcast.Store(&p)
	}
	return p, err
}

func (v *view) readBroadcast(seq gateway.Seq) (gateway.Parcel, error) {
	h, err := v.head(seq)
	if err == nil && h == nil {
		err = &CorruptError{Key: headKey(seq), Cause: errMissing}
	}
	if err != nil {
		return gateway.Parcel{}, err
	}
	return v.parcel(h.id, seq)
}
