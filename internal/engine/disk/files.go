package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/private"
)

// Names within the data directory.
const (
	nameDB         = "db"
	nameLock       = "LOCK"
	nameFormat     = "FORMAT"
	nameQuarantine = "quarantine"
	nameProbe      = "probe.tmp"
)

// MakeDir makes a directory and its missing parents, so that a
// power cut does not take it away again with all that was synced inside.
func MakeDir(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	if info, err := fs.Stat(dir); err == nil && info.IsDir() {
		if parent != dir {
			_ = syncDir(fs, parent) // an earlier start may have been cut short before it; it may also be another's
		}
		return nil
	}
	if parent != dir {
		if err := MakeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, private.DirMode); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replaceFile gives a file a new content. After a crash it has the one or the
// other.
func replaceFile(fs vfs.FS, name string, content []byte) error {
	tmp := name + ".tmp"
	err := writeFile(fs, tmp, content)
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err == nil {
		err = syncDir(fs, fs.PathDir(name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// writeFile writes a file and syncs it, but not its directory.
func writeFile(fs vfs.FS, name string, content []byte) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	n, err := f.Write(content)
	if err == nil && n < len(content) {
		err = io.ErrShortWrite
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// exists reports whether there is a file or directory of that name.
func exists(fs vfs.FS, name string) (bool, error) {
	_, err := fs.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func readAll(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// cutFile leaves the first n bytes of a file.
func cutFile(fs vfs.FS, name string, n int64) error {
	b, err := readAll(fs, name)
	if err != nil {
		return err
	}
	return replaceFile(fs, name, b[:min(n, int64(len(b)))])
}

// emptyDir makes a directory without files. One that exists stays: it may be a link, or
// the place of a mount.
func emptyDir(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range names {
		if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return MakeDir(fs, dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// copyDir copies the files of a database and syncs them, until stopped returns an error.
// copyTable copies a table, which never changes.
func copyDir(fs vfs.FS, from, to string, copyTable func(fs vfs.FS, old, name string) error, stopped func() error) error {
	if err := MakeDir(fs, to); err != nil {
		return err
	}
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == nameProbe {
			continue // a process was killed while it probed the disk
		}
		if err := stopped(); err != nil {
			return err
		}
		copyFile := vfs.Copy
		if strings.HasSuffix(name, ".sst") {
			copyFile = copyTable
		}
		if err := copyFile(fs, fs.PathJoin(from, name), fs.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return syncDir(fs, to)
}

// linkOrCopy gives a file another name, or copies it if that is not possible.
func linkOrCopy(fs vfs.FS, old, name string) error {
	if fs.Link(old, name) == nil {
		return nil
	}
	return vfs.Copy(fs, old, name)
}

// probeBytes is enough for a database to be opened and a record to be written.
const probeBytes = 1 << 20

// Probe finds out whether the directory and the one of the database, which may be on another
// disk, take a synced write.
func Probe(o *Options) error {
	for _, dir := range []string{o.Dir, o.dbDir()} {
		if err := probe(o.FS, o.FS.PathJoin(dir, nameProbe)); err != nil {
			return fmt.Errorf("probe the disk: %w", err)
		}
	}
	return nil
}

func probe(fs vfs.FS, name string) error {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close(), fs.Remove(name))
}
