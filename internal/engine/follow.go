package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// recoverState reads the state and applies the records that the journal has
// beyond it.
func (e *Engine) recoverState(inst *instance) (*state.Machine, error) {
	var err error
	if e.log, e.writer, err = inst.OpenLog(rowsOfState{}); err != nil {
		return nil, err
	}
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
	return state.NewMachine(written{db, e.writing.Wait}, e.opt.caches)
}

// enter makes this process the writer: unless the state has its boot already, it adds the
// record that opens it. Another one follows if the settings are not those in force.
func (e *Engine) enter(inst *instance, m *state.Machine) error {
	e.intact = 0
	after, n := m.Boot(e.writer)
	if after == e.boot {
		e.n, e.intact = n, m.State.Pos
		return nil
	}
	e.n = 0
	if err := e.addRecord(inst, m, &record.Opened{After: after, Floor: e.mark.Floor}); err != nil {
		return err
	}
	want := e.opt.bounds()
	if m.Bounds() == want {
		return nil
	}
	return e.addRecord(inst, m, &record.Bounded{Bounds: want})
}

// addRecord applies a record of one event and returns when it is on stable storage.
func (e *Engine) addRecord(inst *instance, m *state.Machine, ev record.Event) error {
	e.n++
	r := &record.Commit{Writer: e.writer, Boot: e.boot, N: e.n, At: e.opt.Now().UnixNano(), Events: []record.Event{ev}}
	pos := m.State.Pos + 1
	if e.journal.Durable() {
		var err error
		if pos, err = e.journal.Append(r.Encode()); err != nil {
			return err
		}
	}
	return e.store(inst, m, r, pos)
}

// store applies a record as a whole and returns when it is on stable storage.
func (e *Engine) store(inst *instance, m *state.Machine, r *record.Commit, pos uint64) error {
	a, err := m.ApplyAll(r, pos, make([]state.Result, len(r.Events)))
	if err != nil {
		return err
	}
	batch, err := batchOf(inst.DB, &a.Changes)
	if err != nil {
		return err
	}
	defer batch.Close()
	return errors.Join(inst.DB.Apply(batch, pebble.Sync), inst.Err())
}

// replay applies one journal record to the database.
func replay(db *pebble.DB, m *state.Machine, pos uint64, raw []byte) error {
	r, err := record.Decode(raw)
	if err != nil {
		return fmt.Errorf("journal record at position %d: %w", pos, err)
	}
	if m.Judge(r) != state.Next {
		return nil
	}
	a, err := m.ApplyAll(r, pos, make([]state.Result, len(r.Events)))
	if err != nil {
		return fmt.Errorf("apply record at position %d: %w", pos, err)
	}
	batch, err := batchOf(db, &a.Changes)
	if err != nil {
		return err
	}
	defer batch.Close()
	return db.Apply(batch, pebble.NoSync)
}
