package engine

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
)

// IsStore returns an error unless the directory has a store, or remains of one.
func IsStore(o Options) error {
	o = o.withDefaults()
	kind, err := look(&o)
	if err == nil && (kind == dirNew || kind == dirBegun) {
		err = fmt.Errorf("no store in %s: %w", o.Dir, os.ErrNotExist)
	}
	if _, refused := errors.AsType[*RefusalError](err); refused {
		return nil // there is a store to look at
	}
	return err
}

// survey is the one judge of a directory that has a store: a start, Verify,
// Restore and Repair all ask it. It changes nothing. It returns the store, open
// for reading, with its database and its machine, and what MARK says; a store of
// the old format has no mark.
//
// A refusal is a *RefusalError, *DamageError or *CorruptError, or Pebble's.
func survey(o *Options) (*Engine, mark, error) {
	var m mark
	kind, err := look(o)
	if err != nil {
		return nil, m, err
	}
	if kind == dirStore {
		if m, _, err = readMark(o.FS, o.Dir); errors.Is(err, errNoMark) {
			err = &RefusalError{File: o.path(nameMark), Found: "neither of its slots can be read", Missing: "what MARK says",
				Remedy: o.repairRemedy(), Cause: err}
		}
		if err != nil {
			return nil, m, err
		}
	}
	e, err := surveyDatabase(o, &m)
	if err != nil {
		return nil, m, err
	}
	if kind == dirStore {
		err = e.compare(&m)
	}
	if err != nil {
		return nil, m, errors.Join(err, e.inst.db.Close())
	}
	return e, m, nil
}

// surveyDatabase opens the database for reading, if its logs have all that m
// lists.
func surveyDatabase(o *Options, m *mark) (*Engine, error) {
	if err := checkFiles(o, m.logs); err != nil {
		return nil, err
	}
	inst, err := openInstance(o.dbDir(), o, openRead, nil)
	if m := missingTable.FindStringSubmatch(fmt.Sprint(err)); m != nil {
		err = &RefusalError{File: o.FS.PathJoin(o.dbDir(), m[1]+m[2]+".sst"), Found: "the file is not as the manifest names it",
			Missing: "the file with its size", Remedy: "put it back, or restore a backup", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	e := &Engine{opt: *o, inst: inst, journal: &journal.Local{}, queue: newQueue()}
	if err := e.readState(); err != nil {
		return nil, errors.Join(err, inst.db.Close())
	}
	return e, nil
}

// missingTable finds the number of a table in the errors by which Pebble says that
// it is not there, or not with the size that the manifest names.
var missingTable = regexp.MustCompile(`(\d+): object size mismatch|file (\d+) \(type sstable\) unknown`)

// checkFiles looks for what Pebble would not miss: a marker of the manifest, and
// the end of a log.
func checkFiles(o *Options, logs []logLength) error {
	manifest, err := findManifest(o)
	if err != nil {
		return err
	}
	oldest, err := oldestLog(o.FS, manifest)
	if err != nil {
		return err
	}
	return checkLogs(o, oldest, logs)
}

// readState is recoverState without changes.
func (e *Engine) readState() (err error) {
	n, log, err := readMeta(e.inst.db)
	if err == nil && n == 0 {
		err = &record.CorruptError{Key: keyFormat, Cause: errMissing}
	}
	if err != nil {
		return err
	}
	e.setLog(log)
	e.machine, err = e.newMachine(e.inst.db)
	return err
}

// compare refuses a database that is not the one of MARK, or is behind it.
func (e *Engine) compare(m *mark) error {
	s := &e.machine.state
	refuse := func(missing, format string, args ...any) error {
		return &RefusalError{File: e.opt.dbDir(), Found: fmt.Sprintf(format, args...), Missing: missing, Remedy: e.opt.repairRemedy()}
	}
	switch {
	case m.branched: // the log may have its new name already
	case e.log != m.log:
		return refuse("the database of this MARK", "the database has the log %s, MARK has %s", e.log, m.log)
	case e.opt.Journal == nil && (uint64(s.seq) > m.reserved.seq || s.useq > m.reserved.useq):
		return refuse("a MARK of this time", "the database has given the message number %d and the uplink number %d, MARK reserves them up to %d and %d: MARK is older than the database",
			s.seq, s.useq, m.reserved.seq, m.reserved.useq)
	}
	if s.pos < m.pos {
		return refuse(fmt.Sprintf("%d records at least", m.pos-s.pos), "the database ends with record %d, MARK says that record %d was synced at %s",
			s.pos, m.pos, record.TimeOf(m.at).Format("2006-01-02 15:04:05"))
	}
	return nil
}

// numbers returns the highest numbers that were given.
func (r *stateRow) numbers() numbers { return numbers{seq: uint64(r.seq), useq: r.useq} }

func (e *Engine) setLog(id gateway.LogID) {
	e.log = id
	h := uint64(14695981039346656037) // FNV-1a: any stable number that differs between logs
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	e.writer = h
}
