package engine

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// recoverState reads the state and applies the records that the journal has
// beyond it.
func (e *Engine) recoverState(inst *instance) (*state.Machine, error) {
	log, err := inst.OpenLog()
	if err != nil {
		return nil, err
	}
	e.setLog(log)
	m, err := e.newMachine(inst.DB)
	if err != nil {
		return nil, err
	}
	err = e.journal.Replay(m.State.Pos, func(pos uint64, raw []byte) error {
		return replay(inst.DB, m, pos, raw)
	})
	if err != nil {
		return nil, err
	}
	if inst.shared, err = state.NewShared(rows{inst.DB}); err != nil {
		return nil, err
	}
	if e.journal.Durable() {
		err = inst.DB.Flush()
	}
	if err == nil {
		err = inst.Err()
	}
	return m, err
}

func (e *Engine) newMachine(db *pebble.DB) (*state.Machine, error) {
	o := state.Settings{RecentQueued: e.opt.recentQueued}
	if e.opt.bitmapsOnly {
		o.SmallAudience = -1
	}
	m, err := state.NewMachine(written{db, e.writing.Wait}, o)
	if !e.journal.Durable() { // the other kind keeps each number that was given
		m.State.Seq = max(m.State.Seq, gateway.Seq(e.mark.Floor.Seq))
		m.State.Useq = max(m.State.Useq, e.mark.Floor.Useq)
	}
	return m, err
}

// replay applies one journal record to the database.
func replay(db *pebble.DB, m *state.Machine, pos uint64, raw []byte) error {
	r, err := record.Decode(raw)
	if err != nil {
		return fmt.Errorf("journal record at position %d: %w", pos, err)
	}
	changes, err := m.Replay(r, pos)
	if err != nil {
		return fmt.Errorf("apply record at position %d: %w", pos, err)
	}
	if changes.Count() == 0 {
		return nil
	}
	batch, err := batchOf(db, &changes)
	if err != nil {
		return err
	}
	defer batch.Close()
	return db.Apply(batch, pebble.NoSync)
}
