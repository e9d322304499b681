package state

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// An account is a key or a tenant that clients are counted for, so that none takes the
// room of the others.

// accountRow has the counts of an account. It is absent while they are 0.
type accountRow struct {
	clients int64
}

func (r accountRow) encode(key []byte) []byte {
	return record.PutSum(key, record.PutUint(nil, uint64(r.clients)))
}

func decodeAccount(key, v []byte) (r accountRow, err error) {
	if v, err = record.CheckSum(key, v); err != nil {
		return r, err
	}
	d := record.Decoder{Rest: v}
	r.clients = int64(d.Uint())
	return r, d.End()
}

func (m *Machine) account(name string) (r accountRow, err error) {
	if name == "" {
		return r, nil
	}
	k := accountKey(name)
	v, err := m.get(k)
	if err != nil || v == nil {
		return r, err
	}
	return decodeAccount(k, v)
}

// countFor adds clients to those of an account.
func (m *Machine) countFor(name string, clients int64) error {
	if name == "" {
		return nil
	}
	r, err := m.account(name)
	if err != nil {
		return err
	}
	r.clients += clients
	if k := accountKey(name); r.clients == 0 {
		m.del(k)
	} else {
		m.set(k, r.encode(k))
	}
	return nil
}

// roomForClient returns why there is no room for one more client of an account.
// refused is the domain's answer.
func (m *Machine) roomForClient(account string) (refused, err error) {
	r, err := m.account(account)
	return gateway.TooManyClients(account, r.clients, m.State.Clients, m.bounds.MaxClients), err
}
