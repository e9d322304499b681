package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrLocked is wrapped by Open's error when another process has the directory.
var ErrLocked = errors.New("in use by another process")

// dirLock keeps other processes out of a data directory and of the database in it. The
// database has its own lock, because two data directories may have it by a link.
type dirLock struct {
	file io.Closer // LOCK
	db   io.Closer // nil if there is no database yet
}

// lockDir takes the data directory and the database for this process: ErrLocked.
func lockDir(o *Options) (*dirLock, error) {
	file, err := o.FS.Lock(o.path(nameLock))
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("data directory %s cannot be written: %w", o.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s is %w (stop the other process, or give this one another directory): %w", o.Dir, ErrLocked, err)
	}
	l := &dirLock{file: file}
	if err := l.lockDB(o, false); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// lockToRead is lockDir for a process that changes nothing. It needs no LOCK on a
// read-only file system.
func lockToRead(o *Options) (*dirLock, error) {
	l, err := lockDir(o)
	if !errors.Is(err, syscall.EROFS) {
		return l, err
	}
	l = &dirLock{file: io.NopCloser(nil)}
	return l, l.lockDB(o, true)
}

// lockDB takes the database, unless there is none or this process has it.
func (l *dirLock) lockDB(o *Options, shared bool) (err error) {
	if l.db != nil || vfs.Root(o.FS) != vfs.Default {
		return nil
	}
	l.db, err = flockDir(o.dbDir(), shared)
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("database %s is %w (stop that process; another data directory may have the database by a link)", o.dbDir(), ErrLocked)
	}
	return nil // other errors show when the database is read
}

// Close gives the directory back.
func (l *dirLock) Close() error {
	err := l.file.Close()
	if l.db != nil {
		err = errors.Join(err, l.db.Close())
	}
	return err
}
