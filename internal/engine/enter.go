package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// recoverState reads the state. A local one becomes this process's: its boot is opened.
func (e *Engine) recoverState(inst *instance) (*state.Machine, error) {
	log, writer, err := inst.OpenLog(rowsOfState{})
	if err != nil {
		return nil, err
	}
	if e.follow != nil {
		log = gateway.LogID(e.follow.log.Name())
	}
	if e.log == "" { // later it is read by any goroutine
		e.log, e.writer = log, writer
	}
	if e.log != log || e.writer != writer {
		return nil, fmt.Errorf("the database has the log %s, this process writes %s: start again", log, e.log)
	}
	m, err := e.newMachine(inst.DB)
	if err != nil {
		return nil, err
	}
	if e.follow == nil {
		err = e.enter(inst, m)
	} else if err = e.follow.checkJournal(inst, m.State.Pos); err == nil {
		err = inst.DB.Flush() // MARK says that all of it is on stable storage
	}
	if err != nil {
		return nil, err
	}
	if inst.shared, err = state.NewShared(rows{inst.DB}); err != nil {
		return nil, err
	}
	return m, inst.Err()
}

func (e *Engine) newMachine(db *pebble.DB) (*state.Machine, error) {
	return state.NewMachine(written{db, e.writing.Wait}, e.opt.caches)
}

// enter makes this process the writer: unless the state has its boot already, it adds the
// record that opens it. Another one follows if the settings are not those in force, and one
// after a repair.
func (e *Engine) enter(inst *instance, m *state.Machine) error {
	e.intact = 0
	after, n := m.Boot(e.writer)
	if after == e.boot {
		e.n, e.intact = n, m.State.Pos
		return nil
	}
	e.n = 0
	repair, err := e.untold(m)
	if err != nil {
		return err
	}
	if err := e.addRecord(inst, m, &record.Opened{After: after, Floor: e.mark.Floor}); err != nil {
		return err
	}
	if want := e.opt.bounds(); m.Bounds() != want {
		if err := e.addRecord(inst, m, &record.Bounded{Bounds: want}); err != nil {
			return err
		}
	}
	if repair != nil {
		return e.tellRepair(inst, m, repair)
	}
	return nil
}

// newRecord returns an empty record of this process.
func (e *Engine) newRecord() *record.Commit {
	return &record.Commit{Writer: e.writer, Boot: e.boot, At: e.opt.Now().UnixNano()}
}

// addRecord applies a record of one event and returns when it is on stable storage.
func (e *Engine) addRecord(inst *instance, m *state.Machine, ev record.Event) error {
	e.n++
	r := e.newRecord()
	r.N, r.Events = e.n, []record.Event{ev}
	a, err := m.ApplyAll(r, m.State.Pos+1, make([]state.Result, 1))
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
