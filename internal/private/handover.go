package private

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Give gives a file that was just made to the owner of its directory, if root made
// it: a command that root runs beside the gateway makes files that the gateway's
// user has to read. Other users keep their files, and so does a root whose own the
// directory is.
func Give(w *os.File) error {
	info, err := os.Stat(filepath.Dir(w.Name()))
	if err != nil {
		return err
	}
	return give(w, info)
}

// GiveAll gives everything below dir that belongs to root to the owner of dir, if
// root asks for it. A file with a second name is left alone: that name may be
// elsewhere.
func GiveAll(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || !gives(info) {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if now, err := f.Stat(); err != nil || !onlyRoots(now) {
			return err
		}
		return give(f, info)
	})
}

// gives reports whether files in the directory described by info change hands.
func gives(info fs.FileInfo) bool {
	uid, _ := owner(info)
	return os.Geteuid() == 0 && uid > 0
}

func give(w *os.File, dir fs.FileInfo) error {
	if !gives(dir) {
		return nil
	}
	uid, gid := owner(dir)
	return w.Chown(uid, gid)
}
