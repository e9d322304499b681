package state

import (
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// The log of events has room for some bytes within an hour of the clock, so that the
// hours of its whole retention fit. An owner has a share of an hour, and beyond it as much
// as the hour has free; a nearly empty log refuses no event. So one owner fills at most an
// eighth of the log and half of its hours, and shortens the retention of no other one. The
// hour is that of the record.

// Shares of an hour of the event log: the hour's bytes are divided by them.
const (
	uplinkShare = 8  // the uplinks of one device
	churnShare  = 16 // the connections of one device
	tenantShare = 4  // all of a tenant
	newShare    = 1  // a tenant whose devices come for the first time

	emptyLog = 8 // a log with less than this part of its bytes is nearly empty
)

// Sizes in bytes.
const (
	minEventHour  = 256 << 10 // that an hour has, if the log is very small
	entryOverhead = 24        // of a row that an event is alone in
	freeChurn     = 256       // of a device's connections in an hour that are never refused: the first one
	eventsOfOne   = 128       // that a push causes for each recipient, and a change of a client
)

// hourly counts the bytes of an owner in one hour.
type hourly struct {
	hour  int64 // since 1970
	bytes int64
}

// in returns the bytes that were written in an hour.
func (h hourly) in(hour int64) int64 {
	if h.hour != hour {
		return 0
	}
	return h.bytes
}

func (h *hourly) add(hour, bytes int64) { *h = hourly{hour, h.in(hour) + bytes} }

func (h hourly) encode(b []byte) []byte {
	return record.PutUint(record.PutUint(b, uint64(h.hour)), uint64(h.bytes))
}

func decodeHourly(d *record.Decoder) hourly { return hourly{int64(d.Uint()), int64(d.Uint())} }

// hour returns the hour of the record under way.
func (m *Machine) hour() int64 { return m.record.At / int64(time.Hour) }

// eventBudget returns the bytes that the log has for an hour.
func (m *Machine) eventBudget() int64 {
	hours := max(1, int64((m.bounds.EventAge+time.Hour-1)/time.Hour))
	return max(m.bounds.MaxEventBytes/hours, minEventHour)
}

// eventsFull returns the refusal of an owner with one share of an hour's bytes, nil if it
// may write one more event.
func (m *Machine) eventsFull(own hourly, share int64) error {
	if m.State.eventBytes < m.bounds.MaxEventBytes/emptyLog {
		return nil
	}
	hour, budget := m.hour(), m.eventBudget()
	used := own.in(hour)
	if used < budget/share || used < budget-m.State.written.in(hour) {
		return nil
	}
	return gateway.EventsFull(budget/share, time.Duration(int64(time.Hour)-m.record.At%int64(time.Hour)))
}

// tenantFull is eventsFull of a tenant; other accounts have no share.
func (m *Machine) tenantFull(a *account, share int64) error {
	if !gateway.IsTenant(a.name) {
		return nil
	}
	return m.eventsFull(a.events, share)
}

// chargeTenant counts events for an account if it is a tenant's.
func (m *Machine) chargeTenant(a *account, bytes int64) {
	if gateway.IsTenant(a.name) {
		a.events.add(m.hour(), bytes)
		m.touchAccount(a)
	}
}

// ownerFull is tenantFull of a tenant by name, "" for the operator.
func (m *Machine) ownerFull(owner string, share int64) (refused, err error) {
	if owner == "" {
		return nil, nil
	}
	a, err := m.account(owner)
	if err != nil {
		return nil, err
	}
	return m.tenantFull(a, share), nil
}

// chargeOwner is chargeTenant of a tenant by name, "" for the operator.
func (m *Machine) chargeOwner(owner string, bytes int64) error {
	if owner == "" {
		return nil
	}
	a, err := m.account(owner)
	if err == nil {
		m.chargeTenant(a, bytes)
	}
	return err
}

// churnFull returns why a device may not connect again in this hour. The first connection
// is free, so that a fleet comes back after an outage; c is nil for a new client.
func (m *Machine) churnFull(c *client, account string) (refused, err error) {
	if c == nil {
		return m.ownerFull(account, newShare)
	}
	if c.churn.in(m.hour()) < freeChurn {
		return nil, nil
	}
	if refused = m.eventsFull(c.churn, churnShare); refused != nil {
		return refused, nil
	}
	return m.ownerFull(c.owner(), tenantShare)
}

// chargeChurn counts the event of a connection for a client and its tenant.
func (m *Machine) chargeChurn(c *client, bytes int64) error {
	c.churn.add(m.hour(), bytes)
	c.rowDirty = true
	m.touch(c)
	return m.chargeOwner(c.owner(), bytes)
}
