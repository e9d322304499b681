package engine

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// detailOfDamage has the sentence for people that goes with each kind of damage.
var detailOfDamage = map[string]string{
	gateway.DamageLog:        "the log of the store was damaged and cut there: its last messages, uplinks and events are missing",
	gateway.DamageLogMissing: "a log of the store was missing: its last messages, uplinks and events are missing",
	gateway.DamageLogShort:   "the end of the log of the store was missing: its last messages, uplinks and events are missing",
	gateway.DamageMark:       "a file beside the log of the store was missing or damaged: the last messages, uplinks and events may be missing",
}

// untold returns the repair whose event is not in the log yet, nil for none. It is called
// before this process writes a record: a record at the position that an earlier start has
// chosen is the event of that start.
func (e *Engine) untold(m *state.Machine) (*disk.Repaired, error) {
	r, err := disk.ReadRepaired(e.opt.disk())
	if err != nil || r == nil || r.Pos == 0 || m.State.Pos < r.Pos {
		return r, err
	}
	return nil, disk.RemoveRepaired(e.opt.disk())
}

// tellRepair puts the event store.repaired into the log, once.
func (e *Engine) tellRepair(inst *instance, m *state.Machine, r *disk.Repaired) error {
	r.Pos = m.State.Pos + 1
	if err := disk.WriteRepaired(e.opt.disk(), r); err != nil {
		return err
	}
	ev := gateway.Event{Type: gateway.EventStoreRepaired, At: r.At, Reason: r.Damage, Detail: detailOfDamage[r.Damage],
		Repair: &gateway.StoreRepair{After: r.After, Since: r.Since}}
	if err := e.addRecord(inst, m, &record.Note{Event: ev}); err != nil {
		return err
	}
	return disk.RemoveRepaired(e.opt.disk())
}
