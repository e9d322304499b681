package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeFile creates a file with FileMode and opens it for writing. A name that is
// taken is fs.ErrExist.
//
// A file or directory that root makes in the directory of another user belongs to
// that user: a command that root runs beside the gateway must not make files that
// the gateway cannot read. Some systems do not let root do that; root keeps the file
// there.
func MakeFile(name string) (*os.File, error) {
	w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, FileMode)
	if err == nil && os.Geteuid() == 0 {
		give(w)
	}
	return w, err
}

// Write gives a file this content, durably, with FileMode and an owner as of MakeFile.
// After a crash it has all of the content, or is as it was.
func Write(name string, content []byte) error {
	fresh := name + ".tmp"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := MakeFile(fresh)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	if err = errors.Join(err, w.Sync(), w.Close()); err == nil {
		err = os.Rename(fresh, name)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// KeepOwner gives an open file the owner of the old one that it will replace. Otherwise an
// edit by root would take the file from the account that the gateway runs under.
func KeepOwner(w *os.File, old fs.FileInfo) error {
	uid, gid := owner(old)
	if uid < 0 || uid == os.Geteuid() && gid == os.Getegid() {
		return nil
	}
	return w.Chown(uid, gid)
}

// give gives a file or directory that root has just made to the owner of the directory
// that it is in. It changes the open file, because that user can put another file
// under the name at any time.
func give(w *os.File) {
	info, err := os.Stat(filepath.Dir(w.Name()))
	if err != nil {
		return
	}
	if uid, gid := owner(info); uid > 0 {
		_ = w.Chown(uid, gid)
	}
}

// giveDir is give for the name of a directory.
func giveDir(dir string) {
	if d, err := openDir(dir); err == nil {
		give(d)
		d.Close()
	}
}
