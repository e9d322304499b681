package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/private"
)

// privateFS is the operating system's file system. Its files and directories are
// made for their owner alone, while Pebble would leave their modes to the umask.
type privateFS struct{ vfs.FS }

// OwnersFS returns the operating system's file system, on which files and directories
// are made for their owner alone.
func OwnersFS() vfs.FS { return privateFS{vfs.Default} }

// Create makes the file with its final mode, so that no other user can open it
// before, and opens it through the file system below.
func (p privateFS) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	err := makeFile(name)
	for errors.Is(err, os.ErrExist) { // like the FS below, give the name a new inode: the old one may have other links
		if err = os.Remove(name); err == nil || errors.Is(err, os.ErrNotExist) {
			err = makeFile(name)
		}
	}
	if err != nil {
		return nil, err
	}
	return p.FS.OpenReadWrite(name, cat)
}

// Open refuses anything but a file: the open of a named pipe would not return.
func (p privateFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if err := regular(name); err != nil {
		return nil, err
	}
	return p.FS.Open(name, o...)
}

func (p privateFS) OpenReadWrite(name string, cat vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := makeFile(name); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := regular(name); err != nil {
		return nil, err
	}
	return p.FS.OpenReadWrite(name, cat, o...)
}

// Lock does not open a file that exists: closing it again would release the lock
// that this process has on it.
func (p privateFS) Lock(name string) (io.Closer, error) {
	if err := makeFile(name); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := regular(name); err != nil {
		return nil, err
	}
	return p.FS.Lock(name)
}

func (p privateFS) MkdirAll(dir string, _ os.FileMode) error { return private.MakeDirs(dir) }

func (p privateFS) Unwrap() vfs.FS { return p.FS }

// regular returns an error for a name of anything but a file, such as a named pipe.
func regular(name string) error {
	info, err := os.Stat(name)
	if err != nil || info.Mode().IsRegular() {
		return nil // the caller's open reports an error
	}
	what := "a named pipe, a socket or a device"
	if info.IsDir() {
		what = "a directory"
	}
	return &os.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is %s, not a file", what)}
}

// makeFile makes an empty file: os.ErrExist.
func makeFile(name string) error {
	f, err := private.MakeFile(name)
	if err != nil {
		return err
	}
	return f.Close()
}
