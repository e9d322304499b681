package private

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

// Trusted returns an error if a user other than the owner can change the content
// that is read under the name: by writing to the file, or by putting another file or
// link in its place. It follows links, as Kubernetes mounts secrets, and checks the
// file at the end and the directory of each step. It returns nil for a file that does not exist or is not
// regular: opening it says more.
func Trusted(name string) error {
	if !HasModes {
		return nil
	}
	for range maxLinks {
		info, err := os.Lstat(name)
		if err != nil {
			return nil
		}
		if err := trustedEntry(name, info); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return trustedFile(name, info)
		}
		if name, err = follow(name); err != nil {
			return nil
		}
	}
	return nil
}

// follow returns the name that a link leads to.
func follow(link string) (string, error) {
	target, err := os.Readlink(link)
	if err != nil || filepath.IsAbs(target) {
		return target, err
	}
	// The link may be relative to a directory that is reached through links itself.
	dir, err := filepath.EvalSymlinks(filepath.Dir(link))
	return filepath.Join(dir, target), err
}

func trustedFile(name string, info fs.FileInfo) error {
	if info.IsDir() {
		return TrustedDir(name)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by users other than its owner (mode %04o), and such a user could grant access; run: chmod go-w %s",
			name, info.Mode().Perm(), name)
	}
	return nil
}

// trustedEntry checks that the name cannot be given to another file. In a sticky
// directory only the owners of the file and of the directory can do that.
func trustedEntry(name string, info fs.FileInfo) error {
	dir := filepath.Dir(name)
	d, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	if d.Mode()&fs.ModeSticky == 0 {
		return TrustedDir(dir)
	}
	uid, _ := owner(info)
	if dirUID, _ := owner(d); d.Mode().Perm()&0o022 != 0 && uid != 0 && uid != os.Geteuid() && uid != dirUID {
		return fmt.Errorf("%s belongs to user %d and is in %s, a directory that every user can write; move it to another directory",
			name, uid, dir)
	}
	return nil
}

// TrustedDir returns an error if a user other than the owner can make and replace
// files in a directory. A sticky directory passes: files that exist are safe in it.
// The group passes if it has the number of its owner, because that is the user's
// own group, whose members share a umask of 002.
func TrustedDir(dir string) error {
	if !HasModes {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	others := fs.FileMode(0o022)
	if uid, gid := owner(info); uid == gid && uid > 0 {
		others = 0o002
	}
	if info.Mode().Perm()&others != 0 {
		return fmt.Errorf("directory %s can be written by users other than its owner (mode %04o), and such a user could replace the keys in it; run: chmod go-w %s",
			dir, info.Mode().Perm(), dir)
	}
	return nil
}
