package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

var errFault = errors.New("injected fault")

// fault is what goes wrong with one kind of change of the disk.
type fault struct {
	file string // log, manifest, table, marker, dir
	op   string // create, write, sync
	mode string // fails, applied (done, and reported as failed), full, slow
	at   int64  // instead of file and op: the change with this number
}

// faultFS makes the disk fail. A fault hits once, but a full disk is full until
// it is healed.
type faultFS struct {
	vfs.FS
	fault fault
	armed atomic.Bool
	hits  atomic.Int64
	// changes counts what was done or failed so far.
	changes atomic.Int64
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
	case base == nameDB:
		return "dir"
	}
	return "other"
}

// do runs one change, or makes it go wrong.
func (f *faultFS) do(op, name string, change func() error) error {
	if f.fault.at > 0 && f.changes.Add(1) < f.fault.at {
		return change()
	}
	if f.fault.at == 0 && (f.fault.file != fileKind(name) || f.fault.op != op) || !f.armed.Load() {
		return change()
	}
	f.hits.Add(1)
	switch f.fault.mode {
	case "full":
		return syscall.ENOSPC
	case "slow":
		<-time.After(5 * time.Millisecond)
		return change()
	}
	if !f.armed.CompareAndSwap(true, false) {
		return change()
	}
	if f.fault.mode == "applied" {
		return errors.Join(errFault, change())
	}
	return errFault
}

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

func (f *faultFS) Rename(old, name string) error {
	return f.do("rename", name, func() error { return f.FS.Rename(old, name) })
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
	return n, err
}

func (f *faultFile) Sync() error     { return f.fs.do("sync", f.name, f.File.Sync) }
func (f *faultFile) SyncData() error { return f.fs.do("sync", f.name, f.File.SyncData) }
func (f *faultFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.do("sync", f.name, func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// Whatever write or sync goes wrong, in whatever way: nobody is told what is not
// so, the store takes writes again once the disk does, and what was told is
// still there, also after a power cut.
func TestFaultMatrix(t *testing.T) {
	for file, ops := range map[string][]string{
		"log":      {"create", "write", "sync"},
		"manifest": {"write", "sync"}, // made when a store is opened: see TestFaultWhileOpening
		"table":    {"create", "write", "sync"},
		"dir":      {"sync"},
	} {
		for _, op := range ops {
			for _, mode := range []string{"fails", "applied", "full", "slow"} {
				f := fault{file: file, op: op, mode: mode}
				t.Run(fmt.Sprintf("%s %s %s", file, op, mode), func(t *testing.T) { runFault(t, f) })
			}
		}
	}
}

func runFault(t *testing.T, f fault) {
	disk := vfs.NewCrashableMem()
	fs, l := &faultFS{FS: disk, fault: f}, newLedger()
	o := powerOptions(fs)
	o.MemTableBytes, o.SweepEvery = 32<<10, time.Millisecond
	e := openTest(t, o)
	e.Observe(l)
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	wait := load(e, l, 4, 2*time.Second, stop, new(sync.RWMutex))

	records := func() uint64 { return e.stats.records.Load() }
	eventually(t, "the load to begin", func() bool { return records() > 20 })
	fs.armed.Store(true)
	var flushing atomic.Bool
	eventually(t, "the fault to hit", func() bool {
		// Few files are made by themselves: a flush makes all kinds. It waits
		// while the disk is full.
		if flushing.CompareAndSwap(false, true) {
			go func() {
				_ = e.read(func(v *view) error { return v.inst.db.Flush() })
				flushing.Store(false)
			}()
		}
		return fs.hits.Load() > 0
	})
	if f.mode == "full" && f.file == "log" {
		eventually(t, "the store to refuse", func() bool { return e.Health() != nil })
	}
	fs.armed.Store(false)
	eventually(t, "the store to heal", func() bool { return e.Health() == nil })
	healed := records()
	eventually(t, "the last flush to end", func() bool { return !flushing.Load() })
	eventually(t, "the load to go on", func() bool { return records() > healed+20 })
	end()
	wait()
	drain(e)

	check := func(what string, e *Engine) {
		t.Helper()
		for _, s := range l.losses(t, e) {
			t.Errorf("%s: %s", what, s)
		}
		verifyView(t, e)
		verifyOrder(t, e)
	}
	check("after healing", e)
	for i := range e.undurable {
		if n, bytes := split(e.undurable[i].Load()); n != 0 || bytes != 0 {
			t.Errorf("%d outcomes with %d bytes count as undurable for ever", n, bytes)
		}
	}
	for _, s := range l.faults {
		t.Error(s)
	}
	check("after a power cut", openTest(t, powerOptions(disk.CrashClone(vfs.CrashCloneCfg{}))))
	if err := e.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	check("after a restart", openTest(t, powerOptions(disk)))
}

// A fault at any change that opening makes: Open says so, and the next one finds
// everything.
func TestFaultWhileOpening(t *testing.T) {
	disk, l := vfs.NewCrashableMem(), newLedger()
	e := openTest(t, powerOptions(disk))
	e.Observe(l)
	w := &worker{e: e, l: l, rng: rand.New(rand.NewPCG(1, 2)), clients: []gateway.ClientID{"a", "b"}}
	for range 100 {
		if err := w.step(); err != nil {
			t.Fatal(err)
		}
	}
	drain(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	modes := []string{"fails", "applied", "full"}
	if underRace { // one goroutine opens: the detector has little to see
		modes = modes[:1]
	}
	for _, mode := range modes {
		for n := int64(1); ; n++ {
			cut := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, uint64(n)))})
			fs := &faultFS{FS: cut, fault: fault{mode: mode, at: n}}
			fs.armed.Store(true)
			e, err := Open(powerOptions(fs))
			if err == nil {
				_ = e.Close()
			}
			if fs.hits.Load() == 0 {
				if n < 10 {
					t.Errorf("opening makes only %d changes", n)
				}
				break
			}
			again, err := Open(powerOptions(cut))
			if err != nil {
				t.Errorf("%s at change %d: %v", mode, n, err)
				continue
			}
			for _, s := range l.losses(t, again) {
				t.Errorf("%s at change %d: %s", mode, n, s)
			}
			verifyView(t, again)
			_ = again.Close()
		}
	}
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		default:
			pause()
		}
	}
}
