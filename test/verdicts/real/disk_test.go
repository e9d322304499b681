package real

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is a file system in memory under one engine. Each sync of a log waits for
// the explorer while slow is set.
type disk struct {
	vfs.FS
	mem *vfs.MemFS

	mu      sync.Mutex
	slow    bool
	full    bool
	dead    bool          // the process has crashed
	waiting chan struct{} // closed to let the sync go on; nil if none waits
}

var errDead = errors.New("the process has crashed")

func newDisk(mem *vfs.MemFS) *disk { return &disk{FS: mem, mem: mem} }

// crashed returns the disk as a crash leaves it: with the unsynced data or without.
func (d *disk) crashed(keep bool) *vfs.MemFS {
	c := vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 1))}
	if keep {
		c.UnsyncedDataPercent = 100
	}
	return d.mem.CrashClone(c)
}

// held reports whether a sync waits.
func (d *disk) held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting != nil
}

// release lets the sync that waits go on.
func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting != nil {
		close(d.waiting)
		d.waiting = nil
	}
}

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *disk) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.dead:
		return errDead
	case d.full:
		return syscall.ENOSPC
	}
	return nil
}

// gate is called before a sync of a log.
func (d *disk) gate() {
	d.mu.Lock()
	if !d.slow || d.dead {
		d.mu.Unlock()
		return
	}
	wait := make(chan struct{})
	d.waiting = wait
	d.mu.Unlock()
	<-wait
}

func (d *disk) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d, log: strings.HasSuffix(name, ".log")}, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.trouble(); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return d.wrap(name, f, err)
}

func (d *disk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.trouble(); err != nil {
		return nil, err
	}
	f, err := d.FS.ReuseForWrite(old, name, c)
	return d.wrap(name, f, err)
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

type diskFile struct {
	vfs.File
	disk *disk
	log  bool
}

func (f *diskFile) Write(p []byte) (int, error) {
	if err := f.disk.trouble(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *diskFile) sync(do func() error) error {
	if f.log {
		f.disk.gate()
	}
	if err := f.disk.trouble(); errors.Is(err, errDead) {
		return err
	}
	return do()
}

func (f *diskFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *diskFile) SyncData() error { return f.sync(f.File.SyncData) }
func (f *diskFile) SyncTo(n int64) (full bool, err error) {
	err = f.sync(func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
