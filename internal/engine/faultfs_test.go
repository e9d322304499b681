package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errFault = errors.New("injected fault")

// fault is what goes wrong with one kind of change of the disk.
type fault struct {
	file string // log, manifest, table, marker, mark, dir
	op   string // create, write, sync, read
	// mode is fails, applied (done, and reported as failed), short, slow or, until
	// the disk is healed, full, dies, eio, flaky (every second one is eio).
	mode string
	at   int64 // instead of file and op: the change with this number
	read bool  // with at: the read with this number
}

// faultFS makes the disk fail. A fault hits once, but for modes that last.
type faultFS struct {
	vfs.FS
	fault fault
	armed atomic.Bool
	hits  atomic.Int64
	// changes counts what was done or failed so far.
	changes atomic.Int64
	mu      sync.Mutex
	done    []change // all of them, while the fault has at
	hit     change   // the first that went wrong
}

// change is one change of the disk.
type change struct{ op, name string }

// marker returns the kind of a file whose name says something, "" for others. It is
// written as NAME.tmp first.
func (c change) marker() string {
	base := strings.TrimSuffix(filepath.Base(c.name), ".tmp")
	switch {
	case strings.HasPrefix(base, markerManifest):
		return strings.TrimSuffix(markerManifest, ".")
	case strings.HasPrefix(base, markerFormat):
		return strings.TrimSuffix(markerFormat, ".")
	case slices.Contains([]string{nameMark, nameCreating, nameRestoring, nameFormat, nameRepaired}, base):
		return base
	}
	return ""
}

func fileKind(name string) string {
	switch base := filepath.Base(name); {
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasPrefix(base, "MANIFEST"):
		return "manifest"
	case strings.HasSuffix(base, ".sst"):
		return "table"
	case strings.HasPrefix(base, "marker"):
		return "marker"
	case base == nameMark:
		return "mark"
	case base == nameDB:
		return "dir"
	}
	return "other"
}

// do runs one change or read, or makes it go wrong.
func (f *faultFS) do(op, name string, change func() error) error {
	err := f.try(op, name, change)
	if errors.Is(err, errFault) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		return &os.PathError{Op: op, Path: name, Err: err} // as a real disk says it
	}
	return err
}

func (f *faultFS) try(op, name string, change func() error) error {
	if f.fault.at > 0 {
		if (op == "read") != f.fault.read || f.count(op, name) < f.fault.at {
			return change()
		}
	} else if f.fault.file != fileKind(name) || f.fault.op != op {
		return change()
	}
	if !f.armed.Load() {
		return change()
	}
	n := f.hits.Add(1)
	f.note(op, name, n)
	switch f.fault.mode {
	case "full":
		return syscall.ENOSPC
	case "dies":
		return errFault
	case "eio":
		return syscall.EIO
	case "flaky":
		if n%2 == 1 {
			return syscall.EIO
		}
		return change()
	case "slow":
		<-time.After(5 * time.Millisecond)
		return change()
	}
	if !f.armed.CompareAndSwap(true, false) {
		return change()
	}
	switch f.fault.mode {
	case "applied":
		return errors.Join(errFault, change())
	case "short":
		return errShortWrite
	}
	return errFault
}

func (f *faultFS) count(op, name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, change{op, name})
	return f.changes.Add(1)
}

func (f *faultFS) note(op, name string, n int64) {
	if n == 1 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hit = change{op, name}
	}
}

// errShortWrite has a write put half of its bytes into the file.
var errShortWrite = fmt.Errorf("%w: %w", errFault, io.ErrShortWrite)

func (f *faultFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

func (f *faultFS) create(name string, make func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.do("create", name, func() (err error) { file, err = make(); return err })
	if err != nil && file != nil {
		_ = file.Close()
	}
	return f.wrap(name, file, err)
}

func (f *faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *faultFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(name, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

func (f *faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.create(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *faultFS) Rename(old, name string) error {
	return f.do("rename", name, func() error { return f.FS.Rename(old, name) })
}

func (f *faultFS) Link(old, name string) error {
	return f.do("link", name, func() error { return f.FS.Link(old, name) })
}

func (f *faultFS) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

func (f *faultFS) RemoveAll(name string) error {
	return f.do("remove", name, func() error { return f.FS.RemoveAll(name) })
}

func (f *faultFS) MkdirAll(name string, perm os.FileMode) error {
	return f.do("mkdir", name, func() error { return f.FS.MkdirAll(name, perm) })
}

func (f *faultFS) Open(name string, o ...vfs.OpenOption) (file vfs.File, err error) {
	err = f.do("read", name, func() (err error) { file, err = f.FS.Open(name, o...); return err })
	return f.wrap(name, file, err)
}

func (f *faultFS) List(dir string) (names []string, err error) {
	err = f.do("read", dir, func() (err error) { names, err = f.FS.List(dir); return err })
	return names, err
}

func (f *faultFS) Stat(name string) (info vfs.FileInfo, err error) {
	err = f.do("read", name, func() (err error) { info, err = f.FS.Stat(name); return err })
	return info, err
}

func (f *faultFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.wrap(name, file, err)
}

func (f *faultFS) Unwrap() vfs.FS { return f.FS }

type faultFile struct {
	vfs.File
	fs   *faultFS
	name string
}

func (f *faultFile) Write(p []byte) (n int, err error) {
	err = f.fs.do("write", f.name, func() (err error) { n, err = f.File.Write(p); return err })
	if errors.Is(err, io.ErrShortWrite) {
		n, _ = f.File.Write(p[:len(p)/2])
	}
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do("write", f.name, func() (err error) { n, err = f.File.WriteAt(p, off); return err })
	if errors.Is(err, io.ErrShortWrite) {
		n, _ = f.File.WriteAt(p[:len(p)/2], off)
	}
	return n, err
}

func (f *faultFile) Read(p []byte) (n int, err error) {
	err = f.fs.do("read", f.name, func() (err error) { n, err = f.File.Read(p); return err })
	return n, err
}

func (f *faultFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do("read", f.name, func() (err error) { n, err = f.File.ReadAt(p, off); return err })
	return n, err
}

func (f *faultFile) Sync() error     { return f.fs.do("sync", f.name, f.File.Sync) }
func (f *faultFile) SyncData() error { return f.fs.do("sync", f.name, f.File.SyncData) }
func (f *faultFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.do("sync", f.name, func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
