package state

import (
	"bytes"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// arrivalRow is the place of an uplink in the order of arrival.
type arrivalRow struct {
	client gateway.ClientID
	size   int64 // of the uplink's row, which is counted; 0 in rows of format 3, which are not
}

func (r arrivalRow) encode() []byte {
	return record.PutUint(append([]byte(r.client), 0), uint64(r.size)) // no client id has a zero byte
}

func decodeArrival(key, v []byte) (r arrivalRow, err error) {
	id, size, counted := bytes.Cut(v, []byte{0})
	r.client = gateway.ClientID(id)
	if counted {
		d := record.Decoder{Rest: size}
		r.size = int64(d.Uint())
		err = record.Corrupt(key, d.End())
	}
	return r, err
}

// uplink stores an uplink, unless its client or the client's account has used up its
// share.
func (m *Machine) uplink(e *record.Uplink, r *Result) error {
	u := e.Uplink
	u.Seq = m.State.Useq + 1
	k := uplinkKey(u.Client, u.Seq)
	v := encodeUplink(k, &u)
	size := int64(len(k) + len(v))
	own, err := m.hoard(u.Client)
	if err != nil {
		return err
	}
	name := own.account
	if own.bytes == 0 {
		if name, err = m.accountOf(u.Client); err != nil {
			return err
		}
	}
	a, err := m.account(name)
	if err != nil {
		return err
	}
	if r.Err = gateway.UplinksFull(max(own.bytes, a.uplinkBytes), m.State.uplinkBytes, size, m.bounds.MaxUplinkBytes); r.Err != nil {
		return nil
	}
	if r.Err = m.eventsFull(own.events, uplinkShare); r.Err != nil {
		return nil
	}
	if r.Err = m.tenantFull(a, tenantShare); r.Err != nil {
		return nil
	}
	own.account = name
	m.State.Useq = u.Seq
	m.set(k, v)
	m.set(key64(kindUplinkSeq, u.Seq), arrivalRow{u.Client, size}.encode())
	m.countUplink(own, a, size)
	r.Useq = u.Seq
	n := m.note(&Event{Kind: EventReceived, Client: u.Client, Seq: u.Seq, At: record.Nanos(u.At)})
	own.events.add(m.hour(), n)
	m.chargeTenant(a, n)
	m.notices.add(&gateway.Uplinked{Uplink: u})
	return nil
}

func (m *Machine) forgetUplinks(e *record.ForgetUplinks) error {
	type row struct {
		arrivalRow
		useq uint64
	}
	var rows []row
	err := m.each([]byte{kindUplinkSeq}, key64(kindUplinkSeq, e.Through+1), func(k, val []byte) (bool, error) {
		if len(rows) >= e.Max {
			return false, nil
		}
		a, err := decodeArrival(k, val)
		rows = append(rows, row{a, tail64(k)})
		return true, err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		m.del(key64(kindUplinkSeq, r.useq))
		m.del(uplinkKey(r.client, r.useq))
		if r.size == 0 {
			continue
		}
		own, err := m.hoard(r.client)
		if err != nil {
			return err
		}
		a, err := m.account(own.account)
		if err != nil {
			return err
		}
		m.countUplink(own, a, -r.size)
	}
	return nil
}
