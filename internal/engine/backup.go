package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/longwire/longwire/internal/engine/disk"
)

// ErrPlace is wrapped by the error of a backup or a restore whose two directories are one
// in the other.
var ErrPlace = errors.New("the backup and the data directory must lie apart")

// Backup writes a consistent copy of the store, as it is at some moment of the
// call, into dir, which must not exist. Sorted tables are hard links where dir
// is on the same file system. The store takes writes during it; another backup waits.
// When ctx ends or the store is closed it stops with the next block that it would
// write, and leaves no file. beside, if it is not nil, adds files to dir before dir is a
// store: an interrupted backup has them too, or is refused.
func (e *Engine) Backup(ctx context.Context, dir string, beside func() error) error {
	stopped := func() error {
		if e.ctx.Err() != nil {
			return errClosed
		}
		return ctx.Err()
	}
	e.backupMu.Lock()
	defer e.backupMu.Unlock()
	if err := stopped(); err != nil {
		return fmt.Errorf("back up to %s: %w", dir, err)
	}
	return e.opt.backUp(dir, func(copied *disk.Options) error {
		v, err := e.reading()
		if err != nil {
			return err
		}
		defer v.release()
		return v.inst.Backup(copied, e.mark, stopped, beside)
	})
}

// BackupStored is Backup of a store that no process has open. It reads the store and
// changes nothing in it: the disk may be full, and the store of an older format.
func BackupStored(ctx context.Context, dir string, o Options, beside func() error) error {
	o = o.withDefaults()
	d := o.disk()
	s, lock, err := disk.SurveyStored(d)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.DB.Close(); err != nil {
		return err
	}
	return o.backUp(dir, func(copied *disk.Options) error { return disk.BackupStored(d, copied, ctx.Err, beside) })
}

// backUp makes dir and has fill make a store in it, or leaves nothing.
func (o Options) backUp(dir string, fill func(copied *disk.Options) error) error {
	if within(o.Dir, dir) || within(filepath.Join(o.Dir, "db"), dir) { // db may be a link
		return fmt.Errorf("%s is in the data directory %s: %w", dir, o.Dir, ErrPlace)
	}
	if _, err := o.FS.Stat(dir); err == nil {
		return fmt.Errorf("backup directory %s exists already", dir)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := disk.MakeDir(o.FS, dir); err != nil {
		return err
	}
	copied := o
	copied.Dir = dir
	if err := fill(copied.disk()); err != nil {
		return fmt.Errorf("back up to %s: %w", dir, errors.Join(err, o.FS.RemoveAll(dir)))
	}
	return nil
}

// within reports whether name is dir or a place in it.
func within(dir, name string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(name))
	return err == nil && filepath.IsLocal(rel)
}

// resolved follows the links in the part of a path that exists.
func resolved(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	if found, err := filepath.EvalSymlinks(abs); err == nil {
		return found
	}
	parent := filepath.Dir(abs)
	if parent == abs {
		return abs
	}
	return filepath.Join(resolved(parent), filepath.Base(abs))
}

// Restore makes a store in o.Dir, which must not hold one, from a backup. The
// store gets a new log and higher numbers, so that devices forget the sequences
// of the old one. The backup is checked first and stays as it is. A
// restore that was cut short leaves no store, or a whole one, and can be run again.
// beside, if it is not nil, adds files before the directory is a store.
func Restore(backup string, o Options, beside func() error) error {
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
	if resolved(backup) != resolved(o.Dir) && within(backup, o.Dir) || within(filepath.Join(o.Dir, "db"), backup) {
		return fmt.Errorf("restore %s in %s: %w", backup, o.Dir, ErrPlace)
	}
	if err := disk.Restore(from.disk(), o.disk(), beside); err != nil {
		return err
	}
	o.SweepEvery = -1
	e, err := Open(o) // gives the log its new name
	if err != nil {
		return err
	}
	return e.Close()
}
