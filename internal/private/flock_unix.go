//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

var errLocked = syscall.EWOULDBLOCK

// flock locks an open file until it is closed. Errors: errLocked while another process has
// the lock, errors.ErrUnsupported on a file system without locks.
func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, errLocked) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// openClaim opens the file of a claim. It follows no link and waits for no pipe. It opens
// the file to write, because NFS locks no other one, unless its owner may only read it.
func openClaim(name string) (*os.File, error) {
	const flags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(name, os.O_WRONLY|flags, 0)
	if errors.Is(err, fs.ErrPermission) {
		return os.OpenFile(name, os.O_RDONLY|flags, 0)
	}
	return f, err
}
