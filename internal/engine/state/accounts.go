package state

import (
	"cmp"
	"slices"
	"strings"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// account is a key or a tenant that clients, their uplinks and messages in bitmap form are
// counted for, so that none takes the room of the others. The machine caches it.
type account struct {
	name string
	accountRow
	dirty bool // in the dirty list
}

// accountRow has the counts of an account. It is absent while they are 0.
type accountRow struct {
	clients     int64
	uplinkBytes int64
	events      hourly // that its clients and its keys have caused; of a tenant only
	bitmaps     int64  // messages in bitmap form that are not completed
}

func accountKey(name string) []byte { return append(keyOf(kindAccount, len(name)), name...) }

func (r accountRow) encode(key []byte) []byte {
	b := record.PutUint(record.PutUint(nil, uint64(r.clients)), uint64(r.uplinkBytes))
	if r.events.bytes != 0 || r.bitmaps != 0 {
		b = r.events.encode(b)
	}
	if r.bitmaps != 0 {
		b = record.PutUint(b, uint64(r.bitmaps))
	}
	return record.PutSum(key, b)
}

func decodeAccount(key, v []byte) (r accountRow, err error) {
	d := record.Open(key, v)
	r.clients, r.uplinkBytes = int64(d.Uint()), int64(d.Uint())
	if len(d.Rest) > 0 {
		r.events = decodeHourly(&d)
	}
	if len(d.Rest) > 0 {
		r.bitmaps = int64(d.Uint())
	}
	return r, d.End()
}

// hoard is how much of the disk the uplinks of a client take, which may be forgotten.
// The machine caches it.
type hoard struct {
	client gateway.ClientID
	hoardRow
	dirty bool // in the dirty list
}

// hoardRow is absent while there are no uplinks. The account is that of the client when
// it sent the first of them or changed its account since.
type hoardRow struct {
	bytes   int64
	account string
	events  hourly // of the uplinks
}

func hoardKey(id gateway.ClientID) []byte { return append(keyOf(kindHoard, len(id)), id...) }

func (r hoardRow) encode(key []byte) []byte {
	b := record.PutString(record.PutUint(nil, uint64(r.bytes)), r.account)
	if r.events.bytes != 0 {
		b = r.events.encode(b)
	}
	return record.PutSum(key, b)
}

func decodeHoard(key, v []byte) (r hoardRow, err error) {
	d := record.Open(key, v)
	r.bytes, r.account = int64(d.Uint()), d.Text()
	if len(d.Rest) > 0 {
		r.events = decodeHourly(&d)
	}
	return r, d.End()
}

// account returns an account; "" is that of the operator, which is not counted.
func (m *Machine) account(name string) (*account, error) {
	if a := m.accounts[name]; a != nil {
		return a, nil
	}
	a := &account{name: name}
	if name == "" {
		return a, nil
	}
	var err error
	if a.accountRow, err = rowOrZero(m, accountKey(name), decodeAccount); err == nil {
		m.accounts[name] = a
	}
	return a, err
}

// accountOf returns the name of a client's account, "" for an unknown client.
func (m *Machine) accountOf(id gateway.ClientID) (string, error) {
	c, err := m.client(id)
	if err != nil || c == nil {
		return "", err
	}
	return c.owner(), nil
}

// assign moves a client with its uplinks to its tenant, after a registration or a change of
// its groups; now is as in gateway.AccountAfter.
func (m *Machine) assign(c *client, now string) error {
	was, tenant := c.owner(), gateway.AccountAfter(c.tenant, now, c.groups)
	if tenant == c.tenant {
		return nil
	}
	c.tenant, c.rowDirty = tenant, true
	m.touch(c)
	if now = c.owner(); now == was {
		return nil
	}
	from, to, err := m.between(was, now)
	if err != nil {
		return err
	}
	from.clients--
	to.clients++
	return m.moveHoard(c.id, now)
}

// moveHoard counts the uplinks of a client for another account.
func (m *Machine) moveHoard(id gateway.ClientID, account string) error {
	h, err := m.hoard(id)
	if err != nil || h.bytes == 0 || h.account == account {
		return err
	}
	from, to, err := m.between(h.account, account)
	if err != nil {
		return err
	}
	from.uplinkBytes -= h.bytes
	to.uplinkBytes += h.bytes
	h.account = account
	m.touchHoard(h)
	return nil
}

// between returns two accounts that are about to change.
func (m *Machine) between(was, now string) (from, to *account, err error) {
	if from, err = m.account(was); err == nil {
		to, err = m.account(now)
	}
	if err == nil {
		m.touchAccount(from)
		m.touchAccount(to)
	}
	return from, to, err
}

func (m *Machine) touchAccount(a *account) {
	if a.name != "" && !a.dirty {
		a.dirty = true
		m.dirty.accounts = append(m.dirty.accounts, a)
	}
}

// hoard returns the uplinks of a client.
func (m *Machine) hoard(id gateway.ClientID) (*hoard, error) {
	if h := m.hoards[id]; h != nil {
		return h, nil
	}
	h := &hoard{client: id}
	var err error
	if h.hoardRow, err = rowOrZero(m, hoardKey(id), decodeHoard); err == nil {
		m.hoards[id] = h
	}
	return h, err
}

// countUplink adds bytes to those of a client, of its account and of all.
func (m *Machine) countUplink(h *hoard, a *account, bytes int64) {
	h.bytes += bytes
	a.uplinkBytes += bytes
	m.State.uplinkBytes += bytes
	m.touchAccount(a)
	m.touchHoard(h)
}

func (m *Machine) touchHoard(h *hoard) {
	if !h.dirty {
		h.dirty = true
		m.dirty.hoards = append(m.dirty.hoards, h)
	}
}

// flushCounts writes the rows of accounts and hoards that have changed.
func (m *Machine) flushCounts() {
	slices.SortFunc(m.dirty.accounts, func(a, b *account) int { return strings.Compare(a.name, b.name) })
	for _, a := range m.dirty.accounts {
		a.dirty = false
		if k := accountKey(a.name); a.clients == 0 && a.uplinkBytes == 0 && a.bitmaps == 0 && a.events.in(m.hour()) == 0 {
			a.events = hourly{} // as a reader of the row would have it
			m.del(k)
		} else {
			m.set(k, a.encode(k))
		}
	}
	slices.SortFunc(m.dirty.hoards, func(a, b *hoard) int { return cmp.Compare(a.client, b.client) })
	for _, h := range m.dirty.hoards {
		h.dirty = false
		if k := hoardKey(h.client); h.bytes == 0 {
			h.events = hourly{}
			m.del(k)
		} else {
			m.set(k, h.encode(k))
		}
	}
	m.dirty.accounts, m.dirty.hoards = m.dirty.accounts[:0], m.dirty.hoards[:0]
}

// roomForClient returns why there is no room for one more client of an account.
// refused is the domain's answer.
func (m *Machine) roomForClient(name string) (refused, err error) {
	a, err := m.account(name)
	return gateway.TooManyClients(name, a.clients, m.State.Clients, m.bounds.MaxClients), err
}

// countBitmap adds n to the messages in bitmap form of an account, and of all.
func (m *Machine) countBitmap(name string, n int64) error {
	a, err := m.account(name)
	if err == nil {
		a.bitmaps += n
		m.State.bitmaps += n
		m.touchAccount(a)
	}
	return err
}
