package disk

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Backup makes a store in o.Dir of a copy of the database, as it is at some moment of
// the call, until stopped returns an error; one at a time. The files may be hard links.
// Its first start gives the log a new name, and numbers events above all that k allows.
// beside, if it is not nil, adds files to the copy before it is a store.
func (i *Database) Backup(o *Options, k *MarkWriter, stopped, beside func() error) error {
	if err := i.Err(); err != nil {
		return err
	}
	err := i.fs.copy(stopped, func() error { return i.DB.Checkpoint(o.dbDir(), pebble.WithFlushedWAL()) })
	if err = errors.Join(err, i.Err()); err != nil {
		return err
	}
	return completeCopy(o, nameCreating, k.Floor.Event+eventBlock, beside)
}

// completeCopy makes a store of the copy of a database in db/. Its MARK is made
// from the database, with all that the logs hold, and has the first start give
// the log a new name: numbers that were given after the copy would be given
// again. Events have numbers up to event. begun stands for FORMAT until beside has
// returned.
func completeCopy(o *Options, begun string, event uint64, beside func() error) error {
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
	if err == nil && beside != nil {
		err = beside()
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

// BackupStored makes a store in o.Dir of the one in from.Dir, which is whole, held by
// this process, and not changed. Tables may be hard links. As with Backup, the first
// start gives the log a new name.
func BackupStored(from, o *Options, stopped, beside func() error) error {
	return copyStored(from, o, nameCreating, linkOrCopy, stopped, beside)
}

// Restore makes a store in o.Dir of the backup in from.Dir, which is whole. After a
// kill it can be run again. The next start gives the log a new name. beside, if it is not
// nil, adds files before the directory is a store.
func Restore(from, o *Options, beside func() error) error {
	if err := MakeDir(o.FS, o.Dir); err != nil {
		return err
	}
	lock, err := lockDir(o)
	if err != nil {
		return err
	}
	err = restoreLocked(from, o, beside)
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", from.Dir, err)
	}
	return nil
}

func restoreLocked(from, o *Options, beside func() error) error {
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
		err = errors.Join(ignoreMissing(o.FS.Remove(o.path(nameCreating))), emptyDir(o.FS, o.dbDir()))
	}
	if err == nil {
		err = copyStored(from, o, nameRestoring, vfs.Copy, func() error { return nil }, beside)
	}
	return err
}

// copyStored copies db/ and makes a store of it; copyTable copies a table.
func copyStored(from, o *Options, begun string, copyTable func(fs vfs.FS, old, name string) error, stopped, beside func() error) error {
	if err := copyDir(o.FS, from.dbDir(), o.dbDir(), copyTable, stopped); err != nil {
		return err
	}
	if r, err := readAll(from.FS, from.path(nameRepaired)); err == nil {
		err = replaceFile(o.FS, o.path(nameRepaired), r)
		if err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m, _, _ := ReadMark(from.FS, from.Dir) // a store of format 2 has none
	return completeCopy(o, begun, m.Reserved.Event, beside)
}
