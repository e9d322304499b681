// Package private makes files and directories that only their owner can reach,
// whatever the umask, names those that others can reach, and refuses keys that
// others can change. Modes are checked on Unix only: elsewhere a file takes its
// access list from its directory.
package private

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Modes of everything that the gateway makes. They have no bits of the group or of
// others, so no umask can widen them.
const (
	DirMode  fs.FileMode = 0o700
	FileMode fs.FileMode = 0o600
)

// HasModes reports whether this system enforces the mode bits of Unix.
const HasModes = runtime.GOOS != "windows"

// MakeDir makes a directory with DirMode. Its parent must exist. The error names in
// one line the file or link that is in the way.
func MakeDir(dir string) error {
	err := os.Mkdir(dir, DirMode)
	if err == nil && os.Geteuid() == 0 {
		giveDir(dir)
	}
	if errors.Is(err, fs.ErrExist) && isDir(dir) {
		return nil
	}
	return explain(dir, err)
}

// MakeDirs makes a directory and its missing parents with DirMode and syncs the
// entry of each, so that a power cut does not remove them. A directory that exists
// keeps its mode, and its entry is synced too, because the process that made it may
// have died before its own sync; that parent may belong to another user, so the
// error of this sync is ignored.
func MakeDirs(dir string) error {
	parent := filepath.Dir(dir)
	if isDir(dir) {
		_ = SyncDir(parent)
		return nil
	}
	if parent != dir {
		if err := MakeDirs(parent); err != nil {
			return err
		}
	}
	if err := MakeDir(dir); err != nil {
		return err
	}
	return SyncDir(parent)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// SyncDir makes the names in a directory durable. Windows has no such call and
// needs none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// explain says why dir could not be made, where err alone would be "file exists" or
// "not a directory".
func explain(dir string, err error) error {
	if err == nil {
		return nil
	}
	return cmp.Or(InTheWay(dir), err)
}

// InTheWay returns an error if dir is not a directory and cannot become one: it, or
// the nearest name above it that exists, is a file or a link that leads nowhere.
func InTheWay(dir string) error {
	for {
		info, err := os.Lstat(dir)
		switch {
		case err != nil && dir != filepath.Dir(dir):
			dir = filepath.Dir(dir)
			continue
		case err != nil || isDir(dir):
			return nil
		case info.Mode()&fs.ModeSymlink == 0:
			return fmt.Errorf("%s is a file, not a directory", dir)
		}
		target, _ := os.Readlink(dir)
		return fmt.Errorf("%s is a symbolic link to %s, which is not a directory", dir, target)
	}
}
