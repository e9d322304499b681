package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Backup writes a consistent copy of the store, as it is at some moment of the
// call, into dir, which must not exist. Sorted tables are hard links where dir
// is on the same file system. Writes go on meanwhile; another backup waits. When
// ctx ends or the store is closed it stops with the next block that it would
// write, and leaves nothing behind.
func (e *Engine) Backup(ctx context.Context, dir string) error {
	stopped := func() error {
		select {
		case <-e.stop:
			return errClosed
		default:
			return ctx.Err()
		}
	}
	e.backupMu.Lock()
	defer e.backupMu.Unlock()
	if err := stopped(); err != nil {
		return fmt.Errorf("back up to %s: %w", dir, err)
	}
	fs := e.opt.FS
	if _, err := fs.Stat(dir); err == nil {
		return fmt.Errorf("backup directory %s exists already", dir)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := makeDir(fs, dir); err != nil {
		return err
	}
	err := e.read(func(v *view) error {
		if err := v.inst.fs.Err(); err != nil {
			return err
		}
		err := v.inst.fs.copy(stopped, func() error {
			return v.inst.db.Checkpoint(fs.PathJoin(dir, nameDB), pebble.WithFlushedWAL())
		})
		return errors.Join(err, v.inst.fs.Err())
	})
	if err == nil {
		copied := e.opt
		copied.Dir = dir
		err = completeCopy(&copied, nameCreating, e.mark.floor.event+eventBlock)
	}
	if err != nil {
		return fmt.Errorf("back up to %s: %w", dir, errors.Join(err, fs.RemoveAll(dir)))
	}
	return nil
}

// completeCopy makes a store of the copy of a database in db/. Its MARK is made
// from the database, with all that the logs hold, and has the first start give
// the log a new name: numbers that were given after the copy would be given
// again. Events have numbers up to event. begun stands for FORMAT until then.
func completeCopy(o *Options, begun string, event uint64) error {
	name := o.path(begun)
	err := replaceFile(o.FS, name, fmt.Appendf(nil, formatLine, formatVersion))
	if err != nil {
		return err
	}
	m, err := markCopy(o)
	m.reserved.event = event
	if err == nil {
		err = makeMark(o.FS, o.Dir, m)
	}
	if err == nil {
		err = complete(o, name)
	}
	return err
}

// markCopy returns a mark of a database whose files are on stable storage.
func markCopy(o *Options) (m mark, err error) {
	e, err := surveyDatabase(o, &mark{})
	if err != nil {
		return m, err
	}
	s := &e.machine.state
	m = mark{log: e.log, pos: s.pos, at: time.Now().UnixNano(), reserved: s.numbers(), orderly: true, branched: true}
	names, err := o.FS.List(o.dbDir())
	for _, name := range logsOf(names) {
		scan, scanErr := scanLog(o.FS, o.FS.PathJoin(o.dbDir(), name), logNumber(name))
		err = errors.Join(err, scanErr)
		m.logs = append(m.logs, logLength{logNumber(name), scan.end})
	}
	return m, errors.Join(err, e.inst.db.Close())
}

// Restore makes a store in o.Dir, which must not hold one, from a backup. The
// store gets a new log and higher numbers, so that devices forget the sequences
// of the old one. The backup is checked first and stays as it is. A
// restore that was cut short leaves no store, and can be run again.
func Restore(backup string, o Options) error {
	o = o.withDefaults()
	from := o
	from.Dir = backup
	r, err := Verify(from)
	if err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("backup %s is damaged: %d problems, the first: %s", backup, r.Count, r.Problems[0])
	}
	if err := makeDir(o.FS, o.Dir); err != nil {
		return err
	}
	lock, err := lockDir(o.FS, o.Dir)
	if err != nil {
		return err
	}
	err = restore(&from, &o)
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", backup, err)
	}
	o.SweepEvery = -1
	e, err := Open(o) // gives the log its new name
	if err != nil {
		return err
	}
	return e.Close()
}

func restore(from, o *Options) error {
	begun := o.path(nameRestoring)
	again, err := exists(o.FS, begun)
	if err != nil {
		return err
	}
	if kind, err := look(o); !again && (err != nil || kind != dirNew && kind != dirBegun) {
		return errors.Join(fmt.Errorf("there is a store in %s already", o.Dir), err)
	}
	if formatted, err := exists(o.FS, o.path(nameFormat)); err != nil || formatted {
		return errors.Join(fmt.Errorf("there is a store in %s already", o.Dir), err)
	}
	err = replaceFile(o.FS, begun, fmt.Appendf(nil, formatLine, formatVersion))
	if err == nil {
		err = errors.Join(ignoreMissing(o.FS.Remove(o.path(nameCreating))), o.FS.RemoveAll(o.dbDir()))
	}
	if err == nil {
		err = copyDir(o.FS, from.dbDir(), o.dbDir())
	}
	if err == nil {
		m, _, _ := readMark(from.FS, from.Dir) // a backup of format 2 has none
		err = completeCopy(o, nameRestoring, m.reserved.event)
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// copyDir copies the files of a directory and syncs them.
func copyDir(fs vfs.FS, from, to string) error {
	if err := makeDir(fs, to); err != nil {
		return err
	}
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := vfs.Copy(fs, fs.PathJoin(from, name), fs.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return syncDir(fs, to)
}
