package state

import (
	"cmp"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// accept stores a message with its recipients. All decisions come before the
// first change, so that a refusal leaves nothing behind.
func (m *Machine) accept(e *record.Accept, r *Result) error {
	k := messageKey(e.ID)
	first, expired, err := m.earlier(e, k, r)
	if err != nil || r.Err != nil {
		return err
	}
	if first != nil {
		r.Receipt.Replayed = true
		return m.receipt(first, r)
	}
	row := &messageRow{id: e.ID, key: k, createdAt: record.Nanos(e.CreatedAt), expiresAt: record.Nanos(e.ExpiresAt),
		encoding: e.Encoding, metadata: e.Metadata, owner: e.Owner, payload: e.Payload}
	if r.Err, err = m.ownerFull(e.Owner, tenantShare); err != nil || r.Err != nil {
		return err
	}
	switch {
	case e.Online:
		err = m.acceptOnline(e, row, r)
	case e.To.Client != "":
		err = m.acceptOne(e, row, r)
	case len(e.To.Clients) > 0:
		err = m.acceptList(e, row, r)
	default:
		err = m.acceptSelection(e, row, r)
	}
	if err != nil || r.Err != nil {
		return err
	}
	if e.IdempotencyKey != "" {
		scoped := scopedKey(e.Scope, e.IdempotencyKey)
		if expired != 0 {
			m.del(keyAgeKey(expired, scoped))
		}
		k := keyRow{id: e.ID, at: row.createdAt, fingerprint: e.Fingerprint, online: e.Online}
		m.set(idempotencyKey(scoped), k.encode())
		m.set(keyAgeKey(k.at, scoped), nil)
	}
	m.State.Messages++
	m.buf = row.encode(m.buf[:0], k)
	m.set(k, m.buf)
	m.recent.add(k)
	if row.form == formOne && !row.online { // as it was just queued: no need to look
		r.Receipt.Message = row.message()
		r.Receipt.Message.Payload, r.Receipt.Message.Counts = nil, gateway.Counts{Total: 1, Queued: 1}
	} else if err := m.receipt(row, r); err != nil {
		return err
	}
	return m.chargeOwner(e.Owner, int64(r.Receipt.Message.Counts.Total)*eventsOfOne)
}

// receipt fills in the receipt: the message as it now stands, without payload.
func (m *Machine) receipt(row *messageRow, r *Result) (err error) {
	r.Receipt.Message, err = m.message(row)
	r.Receipt.Message.Payload = nil
	return err
}

// earlier finds the message that the event repeats, by its id or its
// idempotency key; nil when it is new. expired is the time of a key that is past its
// age, else 0.
func (m *Machine) earlier(e *record.Accept, key []byte, r *Result) (row *messageRow, expired int64, err error) {
	if !m.recent.unknown(key) {
		if row, err = m.messageRow(e.ID); err != nil || row != nil {
			return row, 0, err
		}
	}
	if e.IdempotencyKey == "" {
		return nil, 0, nil
	}
	scoped := scopedKey(e.Scope, e.IdempotencyKey)
	known, err := readRow(m, idempotencyKey(scoped), decodeKey)
	if err != nil || known == nil {
		return nil, 0, err
	}
	if record.Nanos(e.CreatedAt)-known.at >= int64(m.bounds.KeyAge) {
		return nil, known.at, nil
	}
	if r.Err = known.mismatch(&e.Acceptance); r.Err != nil {
		return nil, 0, nil
	}
	row, err = m.messageRow(known.id)
	return row, 0, err
}

// place gives the message its sequence.
func (m *Machine) place(row *messageRow) {
	m.State.Seq++
	row.seq = m.State.Seq
}

func (m *Machine) acceptOne(e *record.Accept, row *messageRow, r *Result) error {
	c, err := m.counted(e.To.Client)
	if err != nil {
		return err
	}
	if c == nil && !e.QueueUnknown {
		r.Err = unknownClient(e.To.Client)
		return nil
	}
	if c == nil {
		if r.Err, err = m.roomForClient(e.Account); err != nil || r.Err != nil {
			return err
		}
	}
	var queue countRow
	if c != nil {
		queue = c.countRow
	}
	if r.Err = queue.refusal(e.To.Client, int64(len(e.Payload)), &m.bounds); r.Err != nil {
		return nil
	}
	if c == nil {
		if c, err = m.newClient(e.To.Client, row.createdAt, e.Account); err != nil {
			return err
		}
	}
	m.place(row)
	row.form, row.ord, row.client = formOne, c.ord, c.id
	m.enqueue(c, row)
	m.set(expiryKey(row.expiresAt, row.seq), row.key[1:])
	m.notices.addAccepted(gateway.Accepted{Client: c.id, Transmission: gateway.Transmission{Message: row.id, Seq: row.seq,
		ExpiresAt: record.TimeOf(row.expiresAt), Payload: row.payload}})
	return nil
}

// acceptOnline stores a message that is sent once, by the caller. Its delivery reads as
// after a restart until the outcome is settled.
func (m *Machine) acceptOnline(e *record.Accept, row *messageRow, r *Result) error {
	c, err := m.client(e.To.Client)
	if err != nil {
		return err
	}
	if c == nil {
		r.Err = unknownClient(e.To.Client)
		return nil
	}
	m.place(row)
	row.form, row.online, row.ord, row.client = formOne, true, c.ord, c.id
	m.setFinal(finalKey(c.ord, row.seq), &finalRow{id: row.id, createdAt: row.createdAt, expiresAt: row.expiresAt, online: true,
		state: gateway.Unknown, reason: gateway.ReasonGatewayRestart, finalAt: row.createdAt})
	m.set(retentionKey(row.createdAt, row.id), nil)
	return nil
}

// enqueue writes the delivery's row.
func (m *Machine) enqueue(c *client, row *messageRow) {
	q := queueRow{id: row.id, createdAt: row.createdAt, expiresAt: row.expiresAt, size: int64(len(row.payload)), many: row.form != formOne}
	m.buf = q.encode(m.buf[:0], row.key[1:])
	m.set(queueKey(c.ord, row.seq), m.buf)
	if row.form == formOne {
		m.queued.put(c.ord, row.seq, q)
	}
	m.count(c, 1, q.bytes())
	m.State.Queued++
	if !m.online(c) {
		m.note(&Event{Kind: EventQueuedForAbsent, Client: c.id, Seq: uint64(row.seq), Message: row.id, At: row.createdAt})
	}
}

// acceptList stores a message to named clients, a row for each.
func (m *Machine) acceptList(e *record.Accept, row *messageRow, r *Result) error {
	names := sortedSet(e.To.Clients)
	if r.Err = e.TooMany(len(names)); r.Err != nil {
		return nil
	}
	var known []*client
	for _, name := range names {
		c, err := m.counted(name)
		if err != nil {
			return err
		}
		if c == nil && e.QueueUnknown {
			refused, err := m.roomForClient(e.Account)
			if err != nil {
				return err
			}
			if refused == nil {
				if c, err = m.newClient(name, row.createdAt, e.Account); err != nil {
					return err
				}
			}
		}
		if c == nil {
			row.unknown = append(row.unknown, name)
		} else {
			known = append(known, c)
		}
	}
	return m.acceptRows(e, row, known)
}

// acceptRows stores a message in list form. A delivery to an unknown or full queue is
// failed at once.
func (m *Machine) acceptRows(e *record.Accept, row *messageRow, known []*client) error {
	slices.SortFunc(known, func(a, b *client) int { return cmp.Compare(a.ord, b.ord) })
	m.place(row)
	row.form = formList
	h := m.newHead(row, len(known)+len(row.unknown))
	for _, c := range known {
		row.ords = append(row.ords, c.ord)
		if c.n < m.bounds.MaxQueued { // its bytes are not the client's: they are stored once
			m.enqueue(c, row)
			h.count[gateway.Queued]++
			continue
		}
		m.failAtOnce(row, h, finalKey(c.ord, row.seq), c.id, gateway.ReasonQueueFull)
	}
	unknown := gateway.ReasonUnknownClient
	if e.QueueUnknown { // they are unknown for want of room
		unknown = gateway.ReasonTooManyClients
	}
	for _, name := range row.unknown {
		m.failAtOnce(row, h, unknownKey(name, row.seq), name, unknown)
	}
	return m.placeHead(e, row, h)
}

// failAtOnce fails the delivery of a recipient that cannot take the message. key is that of
// its row.
func (m *Machine) failAtOnce(row *messageRow, h *head, key []byte, name gateway.ClientID, reason string) {
	f := finalRow{id: row.id, createdAt: row.createdAt, expiresAt: row.expiresAt, many: true,
		state: gateway.Failed, reason: reason, finalAt: row.createdAt}
	m.setFinal(key, &f)
	h.count[gateway.Failed]++
	m.noteSettled(EventSettled, &f, name, h.seq)
	m.notices.addSettled(f.delivery(name, h.seq))
}

func (m *Machine) newHead(row *messageRow, total int) *head {
	h := &head{seq: row.seq}
	h.id, h.form, h.total = row.id, row.form, total
	h.createdAt, h.expiresAt = row.createdAt, row.expiresAt
	m.heads[h.seq] = h
	m.touchHead(h)
	return h
}

// placeHead puts the message into the index that fits: one without a delivery to wait
// for is completed by its acceptance.
func (m *Machine) placeHead(e *record.Accept, row *messageRow, h *head) error {
	if h.count[gateway.Queued] > 0 {
		m.set(expiryKey(row.expiresAt, row.seq), row.key[1:])
		m.notices.add(&gateway.AcceptedMany{Message: row.id, Seq: row.seq, Total: h.total, To: e.To, Rate: e.Rate})
		return nil
	}
	h.completedAt = row.createdAt
	m.set(retentionKey(row.createdAt, row.id), nil)
	if h.total > 0 {
		m.note(&Event{Kind: EventCompleted, Seq: uint64(h.seq), Message: h.id, At: h.completedAt})
		m.notices.settled[len(m.notices.settled)-1].Completed = h.summary()
	}
	return nil
}

// acceptSelection stores a message to all clients that a rule selects now.
func (m *Machine) acceptSelection(e *record.Accept, row *messageRow, r *Result) error {
	audience, err := m.State.audience(&e.To, e.Mask, m.bits)
	if err != nil {
		return err
	}
	total := audience.Count()
	if r.Err = e.TooMany(total); r.Err != nil {
		return nil
	}
	if total > m.bounds.SmallAudience {
		return m.acceptBitmap(e, row, audience, total, r)
	}
	var known []*client
	for o := range audience.Each() {
		c, err := m.clientByOrdinal(o)
		if err != nil {
			return err
		}
		known = append(known, c)
	}
	return m.acceptRows(e, row, known)
}

// chunkCount is how many chunks cover all ordinals given so far.
func (r *Standing) chunkCount() uint32 {
	return (uint32(r.nextOrdinal) + record.ChunkBits - 1) / record.ChunkBits
}

// bits returns a copy of one chunk.
func (m *Machine) bits(id chunkID) (record.Bitset, error) {
	c, err := m.chunk(id)
	if err != nil {
		return record.Bitset{}, err
	}
	return c.bits, nil
}

// acceptBitmap stores a message with a bit per recipient.
func (m *Machine) acceptBitmap(e *record.Accept, row *messageRow, audience record.Bitmap, total int, r *Result) error {
	a, err := m.account(e.Account)
	if err != nil {
		return err
	}
	if r.Err = gateway.TooManyBroadcasts(e.Account, a.bitmaps, m.State.bitmaps, m.bounds.MaxBitmaps); r.Err != nil {
		return nil
	}
	m.place(row)
	row.form = formBitmap
	h := m.newHead(row, total)
	h.account = e.Account
	h.chunks = m.State.chunkCount()
	if err := m.failFull(row, h, audience); err != nil {
		return err
	}
	for _, n := range audience.Chunks() { // in their order: the same log writes the same batch
		c, err := m.chunk(queuedChunk(row.seq, n))
		if err != nil {
			return err
		}
		c.bits = *audience[n]
		m.touchChunk(c)
	}
	h.count[gateway.Queued] = audience.Count()
	if err := m.noteAbsent(row, audience); err != nil {
		return err
	}
	m.State.Queued += int64(h.count[gateway.Queued])
	if h.count[gateway.Queued] > 0 {
		if err := m.countBitmap(h.account, 1); err != nil {
			return err
		}
	}
	return m.placeHead(e, row, h)
}

// noteAbsent adds the event of the recipients that are offline.
func (m *Machine) noteAbsent(row *messageRow, audience record.Bitmap) error {
	absent, n := record.Bitmap{}, 0
	for chunk, set := range audience {
		left := *set
		for _, w := range m.writers {
			online, err := m.chunk(onlineChunk(w.era, chunk))
			if err != nil {
				return err
			}
			left.AndNot(&online.bits)
		}
		if count := left.Count(); count > 0 {
			absent[chunk] = new(left)
			n += count
		}
	}
	if n > 0 {
		m.note(&Event{Kind: EventQueuedForAbsentMany, Seq: uint64(row.seq), Message: row.id, At: row.createdAt, N: n, Clients: absent})
	}
	return nil
}

// failFull fails the recipients whose queues have no room.
func (m *Machine) failFull(row *messageRow, h *head, audience record.Bitmap) error {
	var full []record.Ordinal
	err := m.each([]byte{kindFull}, []byte{kindFull + 1}, func(k, _ []byte) (bool, error) {
		o := record.Ordinal(tail32(k))
		if set := audience[record.ChunkOf(o)]; set != nil && set.Has(o) {
			full = append(full, o)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, o := range full {
		c, err := m.clientByOrdinal(o)
		if err != nil {
			return err
		}
		audience[record.ChunkOf(o)].Clear(o)
		if err := m.setBit(stateChunk(row.seq, gateway.Failed, record.ChunkOf(o)), o, true); err != nil {
			return err
		}
		m.failAtOnce(row, h, sparseKey(row.seq, o), c.id, gateway.ReasonQueueFull)
	}
	return nil
}
