package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
)

// branchGap is added to the numbers of a store that continues from a copy of
// another, or after a loss. Devices of the text dialect and saved cursors know
// numbers and no name of a log; the gap is beyond all that they can have seen.
const branchGap = 1 << 32

// eventBranchGap is the same for events: the blocks of 1,024 starts after the copy.
const eventBranchGap = eventBlock << 10

// create makes a store. Each step is on stable storage before the next:
//
//	CREATING        without FORMAT: not a store yet
//	db/             an empty database with the log's name
//	MARK
//	FORMAT          CREATING, renamed
//
// When an earlier attempt was cut short, create begins anew: that attempt returned
// no store.
func create(o *Options) error {
	begun := o.path(nameCreating)
	err := replaceFile(o.FS, begun, fmt.Appendf(nil, formatLine, formatVersion))
	if err == nil {
		err = o.FS.RemoveAll(o.dbDir())
	}
	if err == nil {
		err = makeDir(o.FS, o.dbDir())
	}
	log := newLogID()
	if err == nil {
		err = makeDatabase(o, log)
	}
	if err == nil {
		err = makeMark(o.FS, o.Dir, mark{log: log, at: time.Now().UnixNano(), orderly: true})
	}
	if err == nil {
		err = complete(o, begun)
	}
	if err != nil {
		return fmt.Errorf("make a store in %s: %w", o.Dir, err)
	}
	return nil
}

// complete turns CREATING or RESTORING into FORMAT.
func complete(o *Options, begun string) error {
	if err := o.FS.Rename(begun, o.path(nameFormat)); err != nil {
		return err
	}
	return syncDir(o.FS, o.Dir)
}

func makeDatabase(o *Options, log gateway.LogID) error {
	inst, err := openInstance(o.dbDir(), o, openCreate, nil)
	if err != nil {
		return err
	}
	return inst.rewrite(map[string][]byte{
		string(keyFormat): binary.AppendUvarint(nil, formatVersion),
		string(keyLog):    record.PutSum(keyLog, []byte(log)),
	})
}

// rewrite sets rows, brings everything into tables and closes the database.
func (i *instance) rewrite(rows map[string][]byte) error {
	i.fs.strict.Store(true)
	b := i.db.NewBatch()
	defer b.Close()
	for k, v := range rows {
		_ = b.Set([]byte(k), v, nil)
	}
	err := b.Commit(pebble.Sync)
	return errors.Join(err, i.fs.Err(), i.db.Flush(), i.fs.Err(), i.db.Close())
}

// migrate brings a store of format 2 up to date, whose rows are the same. The
// new MARK has no position yet, because records of a killed process may not be on
// stable storage. Numbers skip a block, as after any kill.
func migrate(o *Options, s *Engine) error {
	given := s.machine.state.numbers()
	err := makeMark(o.FS, o.Dir, mark{log: s.log, at: time.Now().UnixNano(), reserved: given.plus(reserveBlock)})
	if err == nil {
		err = writeFormat(o)
	}
	if err != nil {
		return fmt.Errorf("bring the store in %s up to format %d: %w", o.Dir, formatVersion, err)
	}
	o.Logger.Info("store brought up to date", "dir", o.Dir, "from", oldFormat, "to", formatVersion)
	return nil
}

// branch gives the log of a store that continues from a copy a new name, and
// raises the numbers. Records of the old log's writers can then not be taken for
// records of the new one's, and no device takes a new number for an old one. When
// it is cut short it is done again, with other numbers.
func branch(o *Options, m mark) error {
	inst, err := openInstance(o.dbDir(), o, openWrite, nil)
	if err != nil {
		return err
	}
	e := &Engine{opt: *o, inst: inst, journal: &journal.Local{}}
	if err := e.readState(); err != nil {
		inst.fs.seal(err)
		return errors.Join(err, inst.db.Close())
	}
	s, log := e.machine.state, newLogID()
	m.reserved = s.numbers().raise(m.reserved).plus(branchGap)
	m.reserved.event += eventBranchGap
	s.seq, s.useq = gateway.Seq(m.reserved.seq), m.reserved.useq
	err = inst.rewrite(map[string][]byte{
		string(keyLog):   record.PutSum(keyLog, []byte(log)),
		string(keyState): s.encode(),
	})
	if err == nil {
		err = makeMark(o.FS, o.Dir, mark{gen: m.gen, log: log, pos: s.pos, at: time.Now().UnixNano(), reserved: m.reserved, orderly: true})
	}
	if err != nil {
		return fmt.Errorf("give the log of %s a new name: %w", o.Dir, err)
	}
	o.Logger.Info("the store continues from a copy: its log has a new name", "log", log, "before", e.log)
	return nil
}

// readMeta returns the version of the layout, 0 if there is none, and the log's
// name.
func readMeta(db *pebble.DB) (format uint64, log gateway.LogID, err error) {
	v, err := get(db, keyFormat)
	if err != nil || v == nil {
		return 0, "", err
	}
	n, _ := binary.Uvarint(v)
	if n != formatVersion && n != oldFormat {
		return n, "", foreignFormat(n)
	}
	if v, err = get(db, keyLog); err == nil {
		v, err = record.CheckSum(keyLog, v)
	}
	return n, gateway.LogID(v), err
}

func newLogID() gateway.LogID { return gateway.LogID("log_" + rand.Text()[:16]) }
