package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

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
		err = writeFormatFile(fs, dir, fs.PathJoin(dir, nameFormat))
	}
	if err != nil {
		return fmt.Errorf("back up to %s: %w", dir, errors.Join(err, fs.RemoveAll(dir)))
	}
	return nil
}

// Restore makes a store in o.Dir, which must not hold one, from a backup. The
// store gets a new log: what a device remembers of the old one's sequences is
// void, because sequences that were given after the backup will be given again.
// The backup is checked first and stays as it is.
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
	fs := o.FS
	if err := makeDir(fs, o.Dir); err != nil {
		return err
	}
	lock, err := lockDir(fs, o.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := fs.Stat(o.dbDir()); err == nil {
		return fmt.Errorf("there is a store in %s already", o.Dir)
	}
	// Under another name until the new log's name is in it: a restore that was
	// cut short leaves no store.
	tmp := o.FS.PathJoin(o.Dir, "restore.tmp")
	err = errors.Join(fs.RemoveAll(tmp), copyDir(fs, from.dbDir(), tmp))
	if err == nil {
		err = renameLog(tmp, &o)
	}
	if err == nil {
		err = fs.Rename(tmp, o.dbDir())
	}
	if err == nil {
		err = syncDir(fs, o.Dir)
	}
	if err == nil {
		err = writeFormatFile(fs, o.Dir, fs.PathJoin(o.Dir, nameFormat))
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", backup, err)
	}
	return nil
}

// renameLog gives the database in dir a new log id. Records of the old log's
// writers can then not be taken for records of the new one's.
func renameLog(dir string, o *Options) error {
	inst, err := openInstance(dir, o, false, nil)
	if err != nil {
		return err
	}
	err = inst.db.Set(keyLog, putSum(keyLog, []byte(newLogID())), pebble.Sync)
	return errors.Join(err, inst.fs.Err(), inst.db.Flush(), inst.db.Close())
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
