package engine

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// repair moves what Open cannot read into the quarantine directory, so that it
// can be opened without. Only a damaged log can be helped so: it is cut at its
// first damaged record. Everything else needs a backup.
func repair(o *Options, cause error) error {
	file, offset, ok := damagedLog(cause)
	if !ok {
		return fmt.Errorf("cannot be repaired, restore a backup: %w", cause)
	}
	name := o.FS.PathJoin(o.dbDir(), file)
	kept, err := quarantine(o, name)
	if err != nil {
		return err
	}
	if err := cutFile(o.FS, kept, name, offset); err != nil {
		return fmt.Errorf("cut %s at %d: %w", name, offset, err)
	}
	o.Logger.Warn("cut a damaged log", "file", name, "offset", offset, "copy", kept)
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
