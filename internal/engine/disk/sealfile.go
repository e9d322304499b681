package disk

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sealFile passes reads through and guards changes.
type sealFile struct {
	vfs.File
	fs    *sealFS
	class class
	name  string
	log   *logFile // nil for a file that is no log
}

func (f *sealFile) Write(p []byte) (int, error) {
	n := len(p)
	err := f.fs.do(f.class, "write", f.name, func() (err error) { n, err = f.log.write(f.File, p); return err })
	if err == nil {
		n = len(p)
	}
	return n, err
}

func (f *sealFile) WriteAt(p []byte, off int64) (int, error) {
	n := len(p)
	err := f.fs.do(f.class, "write", f.name, func() (err error) { n, err = f.File.WriteAt(p, off); return err })
	if err == nil {
		n = len(p)
	}
	return n, err
}

func (f *sealFile) Sync() error {
	return f.fs.do(f.class, "sync", f.name, func() error { return f.log.sync(f.File.Sync) })
}

func (f *sealFile) SyncData() error {
	return f.fs.do(f.class, "sync", f.name, func() error { return f.log.sync(f.File.SyncData) })
}

func (f *sealFile) SyncTo(length int64) (full bool, err error) {
	err = f.fs.do(f.class, "sync", f.name, func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Close always closes: the descriptor is gone whatever it says.
func (f *sealFile) Close() error {
	err := f.File.Close()
	if err != nil && f.class == classVital {
		f.fs.seal(fmt.Errorf("close %s: %w", f.name, err))
		return nil
	}
	return err
}

// Preallocate is a hint: a disk that has no room says so at the write.
func (f *sealFile) Preallocate(off, length int64) error {
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	if f.fs.cause.Load() == nil {
		_ = f.File.Preallocate(off, length)
	}
	return nil
}

// voidFile stands for a vital file that could not be created.
type voidFile struct{ name string }

func (voidFile) Close() error                           { return nil }
func (voidFile) Read([]byte) (int, error)               { return 0, io.EOF }
func (voidFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (voidFile) Write(p []byte) (int, error)            { return len(p), nil }
func (voidFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (voidFile) Preallocate(int64, int64) error         { return nil }
func (v voidFile) Stat() (vfs.FileInfo, error)          { return voidInfo(v), nil }
func (voidFile) Sync() error                            { return nil }
func (voidFile) SyncTo(int64) (bool, error)             { return true, nil }
func (voidFile) SyncData() error                        { return nil }
func (voidFile) Prefetch(int64, int64) error            { return nil }
func (voidFile) Fd() uintptr                            { return vfs.InvalidFd }

type voidInfo struct{ name string }

func (i voidInfo) Name() string         { return i.name }
func (voidInfo) Size() int64            { return 0 }
func (voidInfo) Mode() os.FileMode      { return 0o600 }
func (voidInfo) ModTime() time.Time     { return time.Time{} }
func (voidInfo) IsDir() bool            { return false }
func (voidInfo) Sys() any               { return nil }
func (voidInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
