package state

import (
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// finalOf returns the row of a delivery that an outcome makes final.
func finalOf(o *gateway.Outcome, id gateway.MessageID, createdAt, expiresAt int64, many bool) finalRow {
	return finalRow{id: id, createdAt: createdAt, expiresAt: expiresAt, many: many, state: o.State, reason: o.Reason,
		attempts: o.Attempts, sentAt: record.Nanos(o.SentAt), finalAt: record.Nanos(o.At), result: o.Result}
}

// settle gives a delivery its final state, unless it has one.
func (m *Machine) settle(o *gateway.Outcome) error {
	if o.Reports() {
		return m.keepSends(o)
	}
	seq := o.Seq
	if seq == 0 {
		row, err := m.messageRow(o.Message)
		if err != nil || row == nil {
			return err
		}
		seq = row.seq
	}
	if _, row := m.queued.get(record.Ordinal(o.Ref-1), seq); !row && o.Ref != 0 && m.State.bitmaps > 0 {
		// A bit needs the ordinal and nothing else of the client. The state says whether
		// to look for one, not the cache of heads: a Ref may be of a client forgotten
		// since. A delivery with a queued row is no bit.
		if h, err := m.head(seq); err != nil {
			return err
		} else if h != nil && h.form == formBitmap {
			return m.settleBit(&client{id: o.Client, clientRow: clientRow{ord: record.Ordinal(o.Ref - 1)}}, h, o)
		}
	}
	c, err := m.client(o.Client)
	if err != nil {
		return err
	}
	if c != nil {
		if done, err := m.settleFor(c, seq, o); done || err != nil {
			return err
		}
	}
	if done, err := m.lateRow(unknownKey(o.Client, seq), seq, o); done || err != nil {
		return err
	}
	return m.resolveFormer(seq, o)
}

// keepSends adds the transmissions of a delivery that ended without an answer to its final
// row, if it has one.
func (m *Machine) keepSends(o *gateway.Outcome) error {
	var k []byte
	var f *finalRow
	c, err := m.client(o.Client)
	if err == nil && c != nil {
		k = finalKey(c.ord, o.Seq)
		f, err = m.finalRow(k)
	}
	if err == nil && f == nil {
		k, f, err = m.formerRow(o.Seq, o)
	}
	if err != nil || f == nil || !sameMessage(o.Message, f.id) {
		return err
	}
	if d := f.delivery(o.Client, o.Seq); o.ReportedFor(&d) {
		f.attempts, f.sentAt = o.Attempts, record.Nanos(o.SentAt)
		m.setFinal(k, f)
	}
	return nil
}

// formerRow returns the final row of a message to one client, which may be forgotten since,
// or nil.
func (m *Machine) formerRow(seq gateway.Seq, o *gateway.Outcome) (k []byte, f *finalRow, err error) {
	row, err := m.messageRow(o.Message)
	if err != nil || row == nil || row.form != formOne || row.client != o.Client || row.seq != seq {
		return nil, nil, err
	}
	k = finalKey(row.ord, seq)
	f, err = m.finalRow(k)
	return k, f, err
}

// resolveFormer gives an online delivery the outcome of its call, during which the client
// was forgotten. No later answer counts.
func (m *Machine) resolveFormer(seq gateway.Seq, o *gateway.Outcome) error {
	k, f, err := m.formerRow(seq, o)
	if err != nil || f == nil {
		return err
	}
	if d := f.delivery(o.Client, seq); d.Restarted() {
		m.resolve(k, f, seq, o)
	}
	return nil
}

// settleFor settles a known client's delivery; done is false when it has none.
func (m *Machine) settleFor(c *client, seq gateway.Seq, o *gateway.Outcome) (done bool, err error) {
	q, err := m.queuedRow(c.ord, seq)
	if err != nil {
		return false, err
	}
	if q != nil && sameMessage(o.Message, q.id) {
		if err := m.load(c); err != nil {
			return false, err
		}
		return true, m.settleRow(c, seq, q, o)
	}
	if done, err = m.lateRow(finalKey(c.ord, seq), seq, o); done || err != nil {
		return done, err
	}
	h, err := m.head(seq)
	if err != nil || h == nil || h.form != formBitmap {
		return false, err
	}
	return true, m.settleBit(c, h, o)
}

// lateRow keeps a late ack of a delivery whose final row is at key, if there is
// one.
func (m *Machine) lateRow(key []byte, seq gateway.Seq, o *gateway.Outcome) (bool, error) {
	f, err := m.finalRow(key)
	if err != nil || f == nil || !sameMessage(o.Message, f.id) {
		return false, err
	}
	if d := f.delivery(o.Client, seq); o.Resolves(&d) {
		m.resolve(key, f, seq, o)
	} else {
		m.lateAck(key, f, seq, o)
	}
	return true, nil
}

// resolve gives an online delivery its outcome. It is an event if the device has
// answered.
func (m *Machine) resolve(key []byte, was *finalRow, seq gateway.Seq, o *gateway.Outcome) {
	f := finalOf(o, was.id, was.createdAt, was.expiresAt, false)
	f.online = true
	m.del(retentionKey(was.finalAt, f.id))
	m.set(retentionKey(f.finalAt, f.id), nil)
	m.setFinal(key, &f)
	if f.state == gateway.Acked || f.state == gateway.Rejected {
		m.noteSettled(EventSettled, &f, o.Client, seq)
	}
	s := m.notices.addSettled(f.delivery(o.Client, seq))
	s.Completed = m.notices.addCompleted(completedOne(o.Client, seq, &f))
}

// sameMessage guards against a sequence of another log: if an outcome names a message,
// that message must have the sequence.
func sameMessage(named, found gateway.MessageID) bool { return named == "" || named == found }

// settleRow makes a delivery final that has its own row.
func (m *Machine) settleRow(c *client, seq gateway.Seq, q *queueRow, o *gateway.Outcome) error {
	f := m.moveRow(c, seq, q, o)
	m.noteSettled(EventSettled, &f, c.id, seq)
	s := m.notices.addSettled(f.delivery(c.id, seq))
	if q.many {
		var err error
		s.Completed, err = m.countSettled(seq, o.State, f.finalAt)
		return err
	}
	m.completed(q.id, seq, q.expiresAt, f.finalAt)
	s.Completed = m.notices.addCompleted(completedOne(c.id, seq, &f))
	return nil
}

// moveRow replaces a queued row by a final one.
func (m *Machine) moveRow(c *client, seq gateway.Seq, q *queueRow, o *gateway.Outcome) finalRow {
	f := finalOf(o, q.id, q.createdAt, q.expiresAt, q.many)
	m.delOnce(queueKey(c.ord, seq))
	m.queued.remove(c.ord, seq)
	k := finalKey(c.ord, seq)
	m.setFinal(k, &f)
	m.count(c, -1, -q.bytes())
	m.State.Queued--
	return f
}

func (m *Machine) setFinal(key []byte, f *finalRow) {
	m.buf = f.encode(m.buf[:0], key)
	m.set(key, m.buf)
}

// completedOne returns the message to one whose delivery f is, for the feed.
func completedOne(c gateway.ClientID, seq gateway.Seq, f *finalRow) gateway.Message {
	msg := gateway.Message{ID: f.id, Seq: seq, Client: c, Online: f.online, CreatedAt: record.TimeOf(f.createdAt), ExpiresAt: record.TimeOf(f.expiresAt)}
	f.complete(&msg)
	return msg
}

// countSettled counts one settled delivery of a message to many and returns
// the message when it was the last.
func (m *Machine) countSettled(seq gateway.Seq, s gateway.State, at int64) (*gateway.Message, error) {
	h, err := m.knownHead(seq)
	if err != nil {
		return nil, err
	}
	h.count[gateway.Queued]--
	h.count[s]++
	m.touchHead(h)
	if h.count[gateway.Queued] > 0 {
		return nil, nil
	}
	return m.completeMany(h, at)
}

// completeMany closes a message to many.
func (m *Machine) completeMany(h *head, at int64) (*gateway.Message, error) {
	h.completedAt = at
	m.touchHead(h)
	m.completed(h.id, h.seq, h.expiresAt, at)
	if h.form == formBitmap {
		if err := m.countBitmap(h.account, -1); err != nil {
			return nil, err
		}
	}
	m.note(&Event{Kind: EventCompleted, Seq: uint64(h.seq), Message: h.id, At: at})
	return h.summary(), nil
}

// summary returns the message as the feed has it.
func (h *head) summary() *gateway.Message {
	return &gateway.Message{ID: h.id, Seq: h.seq, CreatedAt: record.TimeOf(h.createdAt), ExpiresAt: record.TimeOf(h.expiresAt),
		Counts: h.counts(), CompletedAt: record.TimeOf(h.completedAt)}
}

// lateAck keeps a device's answer that came after a final state that is not one;
// see gateway.Store.Settle.
func (m *Machine) lateAck(key []byte, f *finalRow, seq gateway.Seq, o *gateway.Outcome) {
	if d := f.delivery(o.Client, seq); !o.LateFor(&d) {
		return
	}
	f.lateAt, f.lateResult = record.Nanos(o.At), o.Result
	f.lateCode, _ = o.Verdict()
	if f.sentAt == 0 { // the cancellation or expiry did not know of it
		f.attempts, f.sentAt = o.Attempts, record.Nanos(o.SentAt)
	}
	m.setFinal(key, f)
	m.noteSettled(EventLateAck, f, o.Client, seq)
	m.notices.addSettled(f.delivery(o.Client, seq)).Late = true
}

// settleBit makes a delivery final that is a bit.
func (m *Machine) settleBit(c *client, h *head, o *gateway.Outcome) error {
	if !sameMessage(o.Message, h.id) {
		return nil
	}
	q, err := m.chunk(queuedChunk(h.seq, record.ChunkOf(c.ord)))
	if err != nil {
		return err
	}
	if !q.bits.Has(c.ord) {
		return m.lateBit(c, h, o)
	}
	q.bits.Clear(c.ord)
	m.touchChunk(q)
	if err := m.setBit(stateChunk(h.seq, o.State, record.ChunkOf(c.ord)), c.ord, true); err != nil {
		return err
	}
	f := finalOf(o, h.id, h.createdAt, h.expiresAt, true)
	if o.State != gateway.Acked || o.Reason != "" || len(o.Result) > 0 {
		k := sparseKey(h.seq, c.ord)
		m.setFinal(k, &f)
	}
	m.State.Queued--
	m.noteSettled(EventSettled, &f, c.id, h.seq)
	s := m.notices.addSettled(f.delivery(c.id, h.seq))
	s.Completed, err = m.countSettled(h.seq, o.State, f.finalAt)
	return err
}

// lateBit keeps a late ack of a delivery that is a bit, unless the client was forgotten.
func (m *Machine) lateBit(c *client, h *head, o *gateway.Outcome) error {
	if known, err := m.chunk(knownChunk(record.ChunkOf(c.ord))); err != nil || !known.bits.Has(c.ord) {
		return err
	}
	for _, s := range [...]gateway.State{gateway.Expired, gateway.Canceled, gateway.Rejected, gateway.Failed} {
		set, err := m.chunk(stateChunk(h.seq, s, record.ChunkOf(c.ord)))
		if err != nil {
			return err
		}
		if !set.bits.Has(c.ord) {
			continue
		}
		k := sparseKey(h.seq, c.ord)
		f, err := m.finalRow(k)
		if err != nil {
			return err
		}
		if f == nil { // settled in one step with all others
			f = &finalRow{id: h.id, createdAt: h.createdAt, expiresAt: h.expiresAt, many: true, state: s,
				finalAt: h.completedAt}
		}
		m.lateAck(k, f, h.seq, o)
		return nil
	}
	return nil
}

// purge cancels the queue of a client within a span.
func (m *Machine) purge(e *record.Purge, r *Result) error {
	c, err := m.counted(e.Client)
	if err != nil || c == nil {
		return err
	}
	r.N, err = m.cancelQueued(c, e.Span, &gateway.Outcome{State: gateway.Canceled, Reason: gateway.ReasonPurged, At: e.At})
	return err
}

// cancelQueued settles the queue of a client within span, and returns how many
// deliveries those were.
func (m *Machine) cancelQueued(c *client, span gateway.Span, o *gateway.Outcome) (n int, err error) {
	rows, err := m.keysWith(key32(kindQueued, uint32(c.ord)))
	if err != nil {
		return 0, err
	}
	bits, err := m.keysWith(key32(kindBits, record.ChunkOf(c.ord)))
	if err != nil {
		return 0, err
	}
	seqs := make([]gateway.Seq, 0, len(rows)+len(bits))
	for _, k := range slices.Concat(rows, bits) {
		if seq := gateway.Seq(tail64(k)); span.Has(seq) {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs) // a client is settled in the order it was sent to
	for _, seq := range seqs {
		done, err := m.settleOneOf(c, seq, o)
		if err != nil {
			return n, err
		}
		if done {
			n++
		}
	}
	return n, nil
}

// settleOneOf settles one delivery that a scan found; a bit may be another
// client's.
func (m *Machine) settleOneOf(c *client, seq gateway.Seq, o *gateway.Outcome) (bool, error) {
	q, err := m.queuedRow(c.ord, seq)
	if err != nil {
		return false, err
	}
	if q != nil {
		return true, m.settleRow(c, seq, q, o)
	}
	set, err := m.chunk(queuedChunk(seq, record.ChunkOf(c.ord)))
	if err != nil || !set.bits.Has(c.ord) {
		return false, err
	}
	h, err := m.knownHead(seq)
	if err != nil {
		return false, err
	}
	return true, m.settleBit(c, h, o)
}

func (m *Machine) cancel(e *record.Cancel, r *Result) error {
	row, err := m.messageRow(e.ID)
	if err != nil {
		return err
	}
	if row == nil {
		r.Err = unknownMessage(e.ID)
		return nil
	}
	n, err := m.settleRest(row, &gateway.Outcome{State: gateway.Canceled, At: e.At})
	if err != nil {
		return err
	}
	if n == 0 {
		r.Err = &gateway.Error{Code: gateway.CodeAlreadyFinal, MessageID: e.ID,
			Message: "every delivery of the message is final"}
		return nil
	}
	r.Message, err = m.message(row)
	return err
}

func (m *Machine) expire(e *record.Expire) error {
	row, err := m.messageRow(e.ID)
	if err != nil || row == nil || row.expiresAt > record.Nanos(e.At) {
		return err
	}
	_, err = m.settleRest(row, &gateway.Outcome{State: gateway.Expired, At: e.At})
	return err
}

// settleRest gives every delivery of a message that is not final the same final
// state, in one step, and returns how many those were.
func (m *Machine) settleRest(row *messageRow, o *gateway.Outcome) (int, error) {
	if row.form == formOne {
		q, err := m.queuedRow(row.ord, row.seq)
		if err != nil || q == nil {
			return 0, err
		}
		c, err := m.counted(row.client)
		if err != nil {
			return 0, err
		}
		if c == nil {
			return 0, missing(clientKey(row.client))
		}
		return 1, m.settleRow(c, row.seq, q, o)
	}
	h, err := m.knownHead(row.seq)
	if err != nil {
		return 0, err
	}
	n := h.count[gateway.Queued]
	if n == 0 {
		return 0, nil
	}
	if row.form == formList {
		err = m.settleRestRows(row, o)
	} else {
		err = m.settleRestBits(h, o.State)
	}
	if err != nil {
		return 0, err
	}
	at := record.Nanos(o.At)
	h.count[gateway.Queued], h.count[o.State] = 0, h.count[o.State]+n
	m.note(&Event{Kind: EventSettledRest, Seq: uint64(h.seq), Message: h.id, State: o.State, Reason: o.Reason, At: at, N: n})
	done, err := m.completeMany(h, at)
	if err != nil {
		return 0, err
	}
	m.notices.add(&gateway.SettledAll{Message: *done, State: o.State, N: n})
	return n, nil
}

func (m *Machine) settleRestRows(row *messageRow, o *gateway.Outcome) error {
	for _, ord := range row.ords {
		q, err := m.queuedRow(ord, row.seq)
		if err != nil {
			return err
		}
		if q == nil {
			continue
		}
		c, err := m.clientByOrdinal(ord)
		if err != nil {
			return err
		}
		m.moveRow(c, row.seq, q, o)
	}
	return nil
}

func (m *Machine) settleRestBits(h *head, s gateway.State) error {
	for n := range h.chunks {
		q, err := m.chunk(queuedChunk(h.seq, n))
		if err != nil {
			return err
		}
		if q.bits.Empty() {
			continue
		}
		f, err := m.chunk(stateChunk(h.seq, s, n))
		if err != nil {
			return err
		}
		f.bits.Or(&q.bits)
		m.State.Queued -= int64(q.bits.Count())
		q.bits = record.Bitset{}
		m.touchChunk(q)
		m.touchChunk(f)
	}
	return nil
}
