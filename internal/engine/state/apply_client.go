package state

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// register takes or refuses a registration. All decisions come before the first
// change.
func (m *Machine) register(e *record.Register, r *Result) error {
	c, err := m.counted(e.Client)
	if err != nil {
		return err
	}
	var known clientRow
	if c != nil {
		known = c.clientRow
	}
	reported, groups := known.reported, e.GroupsOf(known.groups, m.bounds.MaxGroups)
	if e.Reported != nil {
		reported = e.Reported
	}
	if r.Err, err = m.registerRefusal(e, c, &known, reported, groups); err != nil {
		return err
	}
	if r.Err != nil {
		return nil
	}
	if c == nil {
		if c, err = m.newClient(e.Client, record.Nanos(e.At), ""); err != nil {
			return err
		}
	}
	was, before := c.groups, m.lastEvent()
	if err := m.regroup(c, c.labels, groups); err != nil {
		return err
	}
	if err := m.assign(c, e.Account); err != nil {
		return err
	}
	c.reported = reported
	kind := EventConnected
	if m.online(c) {
		kind = EventReplaced
	}
	if err := m.connect(c, m.era); err != nil {
		return err
	}
	c.lastSeenAt, c.lastClose = record.Nanos(e.At), ""
	c.epoch++
	c.rowDirty = true
	m.touch(c)
	n := m.note(&Event{Kind: kind, Client: c.id, Epoch: c.epoch, At: c.lastSeenAt, Session: e.Session, Dialect: e.Dialect, Remote: e.Remote})
	n += m.noteGroups(c, was, before, c.lastSeenAt)
	if err := m.chargeChurn(c, n); err != nil {
		return err
	}
	r.Given = m.State.Seq
	return m.clientRecord(c, r)
}

// registerRefusal says why a client, nil if it is unknown, may not register with these
// labels and groups. The error is of a read.
func (m *Machine) registerRefusal(e *record.Register, c *client, known *clientRow, reported map[string]string, groups []string) (refused, err error) {
	if refused = e.Refusal(record.TimeOf(known.blockedUntil)); refused != nil {
		return refused, nil
	}
	if refused = checkBounds(&m.bounds, reported, groups); refused != nil {
		return refused, nil
	}
	if m.bounds.RejectTwins && known.connectedIn != m.era && m.writers.live(known.connectedIn) {
		return gateway.IDInUse(), nil // to another node; the gateway knows its own sessions
	}
	if c == nil {
		if refused, err = m.roomForClient(e.Account); refused != nil || err != nil {
			return refused, err
		}
	}
	return m.churnFull(c, e.Account)
}

// clientRecord fills in the record of a client, with the messages in bitmap form that
// are queued for it.
func (m *Machine) clientRecord(c *client, r *Result) error {
	n := 0
	if m.State.bitmaps > 0 {
		keys, err := m.keysWith(key32(kindBits, record.ChunkOf(c.ord)))
		if err != nil {
			return err
		}
		for _, k := range keys {
			set, err := m.chunk(queuedChunk(gateway.Seq(tail64(k)), record.ChunkOf(c.ord)))
			if err != nil {
				return err
			}
			if set.bits.Has(c.ord) {
				n++
			}
		}
	}
	r.Record = c.record(c.id, c.n+n, c.countRow.bytes, m.writers)
	return nil
}

// online reports whether a client is connected.
func (m *Machine) online(c *client) bool {
	return c.connectedIn != 0 && (c.connectedIn == m.era || m.writers.live(c.connectedIn))
}

// connect moves a client to the online bitmap of an era, 0 for none.
func (m *Machine) connect(c *client, era uint64) error {
	n := record.ChunkOf(c.ord)
	if was := c.connectedIn; was != era && m.online(c) {
		if err := m.setBit(onlineChunk(was, n), c.ord, false); err != nil {
			return err
		}
	}
	if c.connectedIn != era && era != 0 {
		if err := m.setBit(onlineChunk(era, n), c.ord, true); err != nil {
			return err
		}
	}
	c.connectedIn = era
	return nil
}

// disconnected ends a client's session, if it is the last one and not over.
func (m *Machine) disconnected(e *record.Disconnected) error {
	c, err := m.client(e.Client)
	if err != nil || c == nil || c.epoch != e.Epoch || !m.online(c) {
		return err
	}
	if err := m.connect(c, 0); err != nil {
		return err
	}
	c.lastSeenAt, c.lastClose = record.Nanos(e.At), e.Reason
	c.rowDirty = true
	m.touch(c)
	return m.chargeChurn(c, m.note(&Event{Kind: EventDisconnected, Client: c.id, Epoch: c.epoch, Reason: e.Reason, At: m.record.At, Session: e.Session}))
}

// update changes a known client or creates one.
func (m *Machine) update(e *record.Update, r *Result) error {
	c, err := m.counted(e.Client)
	if err != nil {
		return err
	}
	labels, groups := changedBy(&e.Change, c)
	tells := c == nil || e.Change.Groups != nil // events, at the latest when the client is forgotten
	if r.Err, err = m.updateRefusal(e, c, labels, groups, tells); err != nil || r.Err != nil {
		return err
	}
	if c == nil {
		if c, err = m.newClient(e.Client, record.Nanos(e.Created), ""); err != nil {
			return err
		}
	}
	was, before := c.groups, m.lastEvent()
	if err := m.regroup(c, labels, groups); err != nil {
		return err
	}
	if e.Change.Groups != nil || !e.Created.IsZero() {
		if err := m.assign(c, e.Account); err != nil {
			return err
		}
	}
	if n := m.noteGroups(c, was, before, m.record.At); tells {
		if err := m.chargeOwner(e.Change.Owner, max(n, eventsOfOne)); err != nil {
			return err
		}
	}
	if e.Change.BlockedUntil != nil {
		c.blockedUntil = record.Nanos(*e.Change.BlockedUntil)
	}
	c.rowDirty = true
	m.touch(c)
	return m.clientRecord(c, r)
}

// changedBy returns the labels and groups of a client, nil if it is unknown, after a
// change.
func changedBy(ch *gateway.ClientChange, c *client) (labels map[string]string, groups []string) {
	if c != nil {
		labels, groups = maps.Clone(c.labels), c.groups
	}
	for k, v := range ch.Labels {
		if v == nil {
			delete(labels, k)
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = *v
	}
	if ch.Groups != nil {
		groups = sortedSet(*ch.Groups)
	}
	return labels, groups
}

// updateRefusal says why a client, nil if it is unknown, may not be created or get these
// labels and groups. The error is of a read.
func (m *Machine) updateRefusal(e *record.Update, c *client, labels map[string]string, groups []string, tells bool) (refused, err error) {
	create := !e.Created.IsZero()
	switch {
	case c == nil && !create:
		return unknownClient(e.Client), nil
	case c != nil && create:
		return domainError(gateway.CodeClientExists, "a client %q is known", e.Client), nil
	}
	if refused = checkBounds(&m.bounds, labels, groups); refused != nil {
		return refused, nil
	}
	if c == nil {
		if refused, err = m.roomForClient(e.Account); refused != nil || err != nil {
			return refused, err
		}
	}
	if tells {
		return m.ownerFull(e.Change.Owner, tenantShare)
	}
	return nil, nil
}

// sortedSet returns the values of s in order, each once.
func sortedSet[S ~string](s []S) []S {
	return slices.Compact(slices.Sorted(slices.Values(s)))
}

// checkBounds says why a client cannot have these labels and groups.
func checkBounds(o *record.Bounds, labels map[string]string, groups []string) error {
	if len(labels) > o.MaxLabels {
		return limitError(gateway.CodeValidation, o.MaxLabels, "at most %d labels", o.MaxLabels)
	}
	for k, v := range labels {
		if !validLabelKey(k, o.MaxLabelKey) {
			return limitError(gateway.CodeValidation, o.MaxLabelKey, "label %q: a key is 1 to %d of A-Z a-z 0-9 . _ -", k, o.MaxLabelKey)
		}
		if len(v) > o.MaxLabelValue || !utf8.ValidString(v) {
			return limitError(gateway.CodeValidation, o.MaxLabelValue, "label %q: a value is at most %d bytes of UTF-8", k, o.MaxLabelValue)
		}
	}
	if len(groups) > o.MaxGroups {
		return limitError(gateway.CodeValidation, o.MaxGroups, "at most %d groups", o.MaxGroups)
	}
	for _, g := range groups {
		if len(g) > o.MaxGroupName || !gateway.ClientID(g).Valid() {
			return limitError(gateway.CodeValidation, o.MaxGroupName, "group %q: a name is 1 to %d of A-Z a-z 0-9 . _ : @ -", g, o.MaxGroupName)
		}
	}
	return nil
}

func validLabelKey(k string, limit int) bool {
	if len(k) == 0 || len(k) > limit {
		return false
	}
	for i := range len(k) {
		switch c := k[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// regroup gives a client its labels and groups and keeps their bitmaps.
func (m *Machine) regroup(c *client, labels map[string]string, groups []string) error {
	if maps.Equal(c.labels, labels) && slices.Equal(c.groups, groups) {
		return nil
	}
	was := c.bitmaps()
	c.labels, c.groups = labels, groups
	now := c.bitmaps()
	for _, id := range was {
		if !slices.Contains(now, id) {
			if err := m.setBit(id, c.ord, false); err != nil {
				return err
			}
		}
	}
	for _, id := range now {
		if !slices.Contains(was, id) {
			if err := m.setBit(id, c.ord, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// bitmaps returns the chunks of the client's labels and groups, in a fixed order.
func (r *clientRow) bitmaps() (ids []chunkID) {
	n := record.ChunkOf(r.ord)
	for _, k := range slices.Sorted(maps.Keys(r.labels)) {
		ids = append(ids, labelChunk(k, r.labels[k], n))
	}
	for _, g := range r.groups {
		ids = append(ids, groupChunk(g, n))
	}
	return ids
}

// noteGroups adds the event of a client whose groups have changed since the event
// numbered before, and returns the bytes that it is counted with.
func (m *Machine) noteGroups(c *client, was []string, before uint64, at int64) int64 {
	if slices.Equal(was, c.groups) {
		return 0
	}
	c.joined = gateway.Rejoin(was, c.joined, c.groups, gateway.Joining{Event: before, Seq: m.State.Seq, Uplink: m.State.Useq})
	return m.note(&Event{Kind: EventRegrouped, Client: c.id, At: at, Groups: c.groups})
}

// forgetClient removes a client that has not been seen for long and has nothing
// queued.
func (m *Machine) forgetClient(e *record.ForgetClient) error {
	c, err := m.counted(e.Client)
	if err != nil || c == nil || c.n > 0 {
		return err
	}
	if old, err := forgettable(m, &c.clientRow, record.Nanos(e.Before), m.writers); err != nil || !old {
		return err
	}
	var r Result
	if err := m.clientRecord(c, &r); err != nil || r.Record.Queued > 0 {
		return err
	}
	return m.dropClient(c, record.Nanos(e.At))
}

// removeClient removes a client that an operator wants to be forgotten. It ends the
// client's session and cancels its queue first.
func (m *Machine) removeClient(e *record.RemoveClient, r *Result) error {
	c, err := m.counted(e.Client)
	if err != nil {
		return err
	}
	if c == nil {
		r.Err = unknownClient(e.Client)
		return nil
	}
	at := record.Nanos(e.At)
	if r.N, err = m.cancelQueued(c, gateway.Span{}, &gateway.Outcome{State: gateway.Canceled, Reason: gateway.ReasonClientForgotten, At: e.At}); err != nil {
		return err
	}
	if m.online(c) {
		if err := m.connect(c, 0); err != nil {
			return err
		}
		m.note(&Event{Kind: EventDisconnected, Client: c.id, Epoch: c.epoch, Reason: gateway.ReasonKicked, At: at})
	}
	m.flush() // it reports the empty queue to readers
	m.notices.add(&gateway.ClientForgotten{Client: c.id, Epoch: c.epoch})
	return m.dropClient(c, at)
}

// forgottenRow describes a client that was forgotten.
type forgottenRow struct {
	seq gateway.Seq // of the last message by then; 0 in rows of earlier versions, which are empty
}

func (r forgottenRow) encode() []byte { return record.PutUint(nil, uint64(r.seq)) }

func decodeForgotten(k, v []byte) (r forgottenRow, err error) {
	if len(v) == 0 {
		return r, nil
	}
	d := record.Decoder{Rest: v}
	r.seq = gateway.Seq(d.Uint())
	return r, record.Corrupt(k, d.End())
}

// dropClient removes the rows of a client that is offline and has nothing queued. Its
// ordinal keeps its name while messages may refer to it, and its uplinks stay until
// their time is over.
func (m *Machine) dropClient(c *client, at int64) error {
	if err := m.regroup(c, nil, nil); err != nil {
		return err
	}
	if err := m.setBit(knownChunk(record.ChunkOf(c.ord)), c.ord, false); err != nil {
		return err
	}
	m.del(clientKey(c.id))
	m.del(countKey(c.ord))
	a, err := m.account(c.owner())
	if err != nil {
		return err
	}
	a.clients--
	m.touchAccount(a)
	m.set(forgottenKey(at, c.ord), forgottenRow{m.State.Seq}.encode())
	c.gone = true
	delete(m.clients, c.id)
	m.State.Clients--
	m.State.epoch = max(m.State.epoch, c.epoch)
	m.note(&Event{Kind: EventForgotten, Client: c.id, Epoch: c.epoch, At: at})
	return nil
}

// forgetMessage removes all rows of a completed message.
func (m *Machine) forgetMessage(e *record.ForgetMessage) error {
	row, err := m.messageRow(e.ID)
	if err != nil || row == nil {
		return err
	}
	msg, err := m.message(row)
	if err != nil {
		return err
	}
	if !msg.Completed() || msg.CompletedAt.After(e.Through) {
		return nil
	}
	m.del(messageKey(row.id))
	m.del(retentionKey(record.Nanos(msg.CompletedAt), row.id))
	m.State.Messages--
	for _, o := range row.recipients() {
		m.del(finalKey(o, row.seq))
	}
	for _, name := range row.unknown {
		m.del(unknownKey(name, row.seq))
	}
	switch row.form {
	case formOne:
		return nil
	case formBitmap:
		if err := m.deleteWith(key64(kindStateBits, uint64(row.seq))); err != nil {
			return err
		}
		if err := m.deleteWith(key64(kindSparse, uint64(row.seq))); err != nil {
			return err
		}
		maps.DeleteFunc(m.chunks, func(id chunkID, _ *chunk) bool { return id.seq == row.seq && id.kind != kindOnline })
	}
	m.flush() // the head may wait there to be written
	m.del(headKey(row.seq))
	delete(m.heads, row.seq)
	return nil
}

func (m *Machine) forgetKey(e *record.ForgetKey) error {
	key := idempotencyKey(e.Scoped)
	row, err := readRow(m, key, decodeKey)
	if err != nil {
		return err
	}
	m.del(keyAgeKey(record.Nanos(e.At), e.Scoped))
	if row != nil && row.at == record.Nanos(e.At) { // else it was given again later
		m.del(key)
	}
	return nil
}
