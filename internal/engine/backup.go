package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/longwire/longwire/internal/engine/disk"
)

// Backup writes a consistent copy of the store, as it is at some moment of the
// call, into dir, which must not exist. Sorted tables are hard links where dir
// is on the same file system. The store takes writes during it; another backup waits.
// When ctx ends or the store is closed it stops with the next block that it would
// write, and leaves no file.
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
	if err := disk.MakeDir(fs, dir); err != nil {
		return err
	}
	copied := e.opt
	copied.Dir = dir
	err := e.read(func(v *view) error { return v.inst.Backup(copied.disk(), e.mark, stopped) })
	if err != nil {
		return fmt.Errorf("back up to %s: %w", dir, errors.Join(err, fs.RemoveAll(dir)))
	}
	return nil
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
	if err := disk.Restore(from.disk(), o.disk()); err != nil {
		return err
	}
	o.SweepEvery = -1
	e, err := Open(o) // gives the log its new name
	if err != nil {
		return err
	}
	return e.Close()
}
