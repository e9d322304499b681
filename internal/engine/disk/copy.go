package disk

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Backup makes a store in o.Dir of a copy of the database, as it is at some moment of
// the call, until stopped returns an error; one at a time. The files may be hard links.
// Its first start gives the log a new name, and numbers events above all that k allows.
func (i *Database) Backup(o *Options, k *MarkWriter, stopped func() error) error {
	if err := i.Err(); err != nil {
		return err
	}
	err := i.fs.copy(stopped, func() error { return i.DB.Checkpoint(o.dbDir(), pebble.WithFlushedWAL()) })
	if err = errors.Join(err, i.Err()); err != nil {
		return err
	}
	return completeCopy(o, nameCreating, k.Floor.Event+eventBlock)
}

// completeCopy makes a store of the copy of a database in db/. Its MARK is made
// from the database, with all that the logs hold, and has the first start give
// the log a new name: numbers that were given after the copy would be given
// again. Events have numbers up to event. begun stands for FORMAT until then.
func completeCopy(o *Options, begun string, event uint64) error {
	name := o.path(begun)
	err := replaceFile(o.FS, name, fmt.Appendf(nil, formatLine, Format))
	if err != nil {
		return err
	}
	m, err := markCopy(o)
	m.Reserved.Event = event
	if err == nil {
		err = makeMark(o.FS, o.Dir, m)
	}
	if err == nil {
		err = complete(o, name)
	}
	return err
}

// markCopy returns a mark of a database whose files are on stable storage.
func markCopy(o *Options) (m Mark, err error) {
	s, err := surveyDatabase(o, &Mark{})
	if err != nil {
		return m, err
	}
	m = Mark{Log: s.Log, Pos: s.stand.Pos, at: time.Now().UnixNano(), Reserved: s.stand.Given, Orderly: true, Branched: true}
	names, err := o.FS.List(o.dbDir())
	for _, name := range logsOf(names) {
		scan, scanErr := scanLog(o.FS, o.FS.PathJoin(o.dbDir(), name), logNumber(name))
		err = errors.Join(err, scanErr)
		m.Logs = append(m.Logs, logLength{logNumber(name), scan.end})
	}
	return m, errors.Join(err, s.DB.Close())
}

// Restore makes a store in o.Dir of the backup in from.Dir, which is whole. After a
// kill it can be run again. The next start gives the log a new name.
func Restore(from, o *Options) error {
	if err := MakeDir(o.FS, o.Dir); err != nil {
		return err
	}
	lock, err := Lock(o.FS, o.Dir)
	if err != nil {
		return err
	}
	err = restoreLocked(from, o)
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", from.Dir, err)
	}
	return nil
}

func restoreLocked(from, o *Options) error {
	begun := o.path(nameRestoring)
	again, err := exists(o.FS, begun)
	if err != nil {
		return err
	}
	if kind, _, err := look(o); !again && (err != nil || kind != dirNew && kind != dirBegun) {
		return errors.Join(fmt.Errorf("there is a store in %s already", o.Dir), err)
	}
	if formatted, err := exists(o.FS, o.path(nameFormat)); err != nil || formatted {
		return errors.Join(fmt.Errorf("there is a store in %s already", o.Dir), err)
	}
	err = replaceFile(o.FS, begun, fmt.Appendf(nil, formatLine, Format))
	if err == nil {
		err = errors.Join(ignoreMissing(o.FS.Remove(o.path(nameCreating))), o.FS.RemoveAll(o.dbDir()))
	}
	if err == nil {
		err = copyDir(o.FS, from.dbDir(), o.dbDir())
	}
	if err == nil {
		m, _, _ := ReadMark(from.FS, from.Dir) // a backup of format 2 has none
		err = completeCopy(o, nameRestoring, m.Reserved.Event)
	}
	return err
}
