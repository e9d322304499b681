package engine

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// repair moves what Open cannot read into the quarantine directory, so that it
// can be opened without. Only a damaged log can be helped so: it is cut at its
// first damaged record, and logs behind it go as a whole. Everything else needs
// a backup.
func repair(o *Options, cause error) error {
	d, ok := damagedLog(cause, o)
	if !ok {
		return fmt.Errorf("cannot be repaired, restore a backup: %w", cause)
	}
	kept, err := quarantine(o, d.File)
	if err != nil {
		return err
	}
	names, err := o.FS.List(o.dbDir())
	if err != nil {
		return err
	}
	// From the newest to the oldest, so that a repair that is cut short leaves
	// a log without a gap.
	for _, name := range slices.Backward(logsOf(names)) {
		if logNumber(name) <= logNumber(o.FS.PathBase(d.File)) {
			break
		}
		file := o.FS.PathJoin(o.dbDir(), name)
		if _, err := quarantine(o, file); err != nil {
			return err
		}
		if err := errors.Join(o.FS.Remove(file), syncDir(o.FS, o.dbDir())); err != nil {
			return err
		}
	}
	if err := cutFile(o.FS, kept, d.File, d.Offset); err != nil {
		return fmt.Errorf("cut %s at %d: %w", d.File, d.Offset, err)
	}
	o.Logger.Warn("cut a damaged log", "file", d.File, "offset", d.Offset, "copy", kept)
	return nil
}

// quarantine copies a file into the quarantine directory, under a name that is
// not taken, and returns it.
func quarantine(o *Options, name string) (string, error) {
	dir := o.FS.PathJoin(o.Dir, nameQuarantine)
	if err := makeDir(o.FS, dir); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		kept := o.FS.PathJoin(dir, fmt.Sprintf("%s.%d", o.FS.PathBase(name), n))
		if _, err := o.FS.Stat(kept); err == nil {
			continue
		}
		err := vfs.Copy(o.FS, name, kept)
		if err == nil {
			err = syncDir(o.FS, dir)
		}
		return kept, err
	}
}

// cutFile replaces name by the first n bytes of from.
func cutFile(fs vfs.FS, from, name string, n int64) error {
	src, err := fs.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := name + ".cut"
	dst, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.LimitReader(src, n))
	err = errors.Join(err, dst.Sync(), dst.Close())
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err == nil {
		err = syncDir(fs, fs.PathDir(name))
	}
	return err
}
