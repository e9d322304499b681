package disk

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
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errSealed is what table writes get once the file system is sealed.
var errSealed = errors.New("file system sealed after a failed write")

// tableRetryDelay slows down Pebble's immediate retry of a failed flush or
// compaction, so that a full disk does not cost a whole core.
const tableRetryDelay = 50 * time.Millisecond

// damagedDelay is the least time between two merges while a table is damaged. Pebble
// repeats a failed merge at once, without end.
const damagedDelay = 10 * time.Second

// sealFS stands between one open database and the disk. When a write that the
// database cannot take back fails (write-ahead log, manifest, directory), it is
// sealed: that write and all later ones report success and do nothing, new
// tables go to memory, and nothing changes the directory any more. The database
// stays alive, can flush, be read and closed, and the owner learns from Err that
// nothing since is durable. Recovery is opening the directory again.
//
// Pebble would otherwise end the process, or stay locked for ever, at such an
// error; and a database that was given up could still write its manifest or
// delete files behind the back of its successor.
type sealFS struct {
	vfs.FS
	dir    string       // the database's; files elsewhere (a backup) are not guarded
	gate   sync.RWMutex // held for reading by every change, for writing by seal
	cause  atomic.Pointer[error]
	onSeal func(error)
	quiet  atomic.Bool // no change is under way, and onSeal was called or holds gate
	// strict is true while the database opens and closes: Pebble would repeat a
	// failing flush for ever then, so that a failed table seals too.
	strict atomic.Bool
	// copying holds, while a copy is made elsewhere, what says that it is to
	// stop: every further change of foreign files fails with its error.
	copying atomic.Pointer[func() error]
	// Tables that were made after the seal: without them a flush under way would
	// never end.
	tables *vfs.MemFS
	quota  atomic.Int64 // bytes that tables may still take
	logs   logFiles
	listed []string // the directory, as it was listed while the database opened
	// damaged is true when a file is known to be damaged.
	damaged atomic.Bool
	// absent is true while a table is not in the directory.
	absent atomic.Bool
	// settled is true when the database, while it opens, has written its own OPTIONS.
	settled atomic.Bool
}

// maxSealedTables bounds the tables in memory: a flush's worth and more. What
// does not fit fails, as on a full disk.
const maxSealedTables = 256 << 20

func newSealFS(fs vfs.FS, dir string, onSeal func(error)) *sealFS {
	s := &sealFS{FS: fs, dir: dir, onSeal: onSeal, tables: vfs.NewMem()}
	s.quota.Store(maxSealedTables)
	s.strict.Store(true)
	return s
}

// Err returns why the file system was sealed, nil while it is not.
func (s *sealFS) Err() error {
	if p := s.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// seal stops all changes. When it returns, none is under way. onSeal must not
// change the directory.
func (s *sealFS) seal(cause error) {
	s.cause.CompareAndSwap(nil, &cause)
	s.gate.Lock() // waits for the changes under way
	defer s.gate.Unlock()
	if !s.quiet.Swap(true) && s.onSeal != nil {
		s.onSeal(s.Err())
	}
}

// copy runs make, which copies the database elsewhere, until stopped returns an
// error. One at a time.
func (s *sealFS) copy(stopped func() error, make func() error) error {
	s.copying.Store(&stopped)
	defer s.copying.Store(nil)
	err := make()
	if cause := stopped(); err != nil && cause != nil {
		return cause
	}
	return err
}

// class is the effect of a failure to write a file.
type class uint8

const (
	classVital   class = iota // log, manifest, markers, options: seal
	classTable                // sorted tables: Pebble tries again
	classForeign              // not the database's: the error is the caller's
)

func (s *sealFS) classOf(name string) class {
	if rest, ok := strings.CutPrefix(name, s.dir); !ok || rest != "" && !os.IsPathSeparator(rest[0]) {
		return classForeign
	}
	if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob") {
		return classTable
	}
	return classVital
}

// do runs a change of the directory. A vital one seals on error and always
// reports success; see sealFS.
func (s *sealFS) do(c class, what, name string, change func() error) error {
	if c == classForeign {
		if stopped := s.copying.Load(); stopped != nil {
			if err := (*stopped)(); err != nil {
				return err
			}
		}
		return change()
	}
	s.gate.RLock()
	if s.cause.Load() != nil {
		s.gate.RUnlock()
		if c == classTable {
			time.Sleep(tableRetryDelay)
			return errSealed
		}
		return nil
	}
	err := change()
	s.gate.RUnlock()
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = p.Err // the name comes once
	}
	err = fmt.Errorf("%s %s: %w", what, name, err)
	if c == classTable && s.strict.Load() {
		s.seal(err)
		return err
	}
	if c == classTable {
		time.Sleep(tableRetryDelay)
		return err
	}
	s.seal(err)
	return nil
}

// open runs a change that yields a file; a sealed vital one yields a void file.
func (s *sealFS) open(what, name string, change func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	c := s.classOf(name)
	if c == classTable && s.cause.Load() != nil {
		return s.createTable(name)
	}
	err := s.do(c, what, name, func() (err error) { f, err = change(); return err })
	if err != nil {
		return nil, err
	}
	if f == nil {
		f = voidFile{name: filepath.Base(name)}
	}
	file := &sealFile{File: f, fs: s, class: c, name: name}
	if c == classVital {
		file.log = s.logs.begun(name)
	}
	return file, nil
}

// createTable makes a table in memory.
func (s *sealFS) createTable(name string) (vfs.File, error) {
	if err := s.tables.MkdirAll(s.tables.PathDir(filepath.ToSlash(name)), 0o755); err != nil {
		return nil, err
	}
	f, err := s.tables.Create(filepath.ToSlash(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &sealedTable{f, s}, nil
}

// sealedTable is a table in memory, within the quota.
type sealedTable struct {
	vfs.File
	fs *sealFS
}

func (t *sealedTable) Write(p []byte) (int, error) {
	if t.fs.quota.Add(-int64(len(p))) < 0 {
		time.Sleep(tableRetryDelay)
		return 0, errSealed
	}
	return t.File.Write(p)
}

// Open finds tables in memory first: their names are not taken on disk.
func (s *sealFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if s.cause.Load() != nil && s.classOf(name) == classTable {
		if f, err := s.tables.Open(filepath.ToSlash(name)); err == nil {
			return f, nil
		}
	}
	return s.FS.Open(name, opts...)
}

func (s *sealFS) Stat(name string) (vfs.FileInfo, error) {
	if s.cause.Load() != nil && s.classOf(name) == classTable {
		if i, err := s.tables.Stat(filepath.ToSlash(name)); err == nil {
			return i, nil
		}
	}
	return s.FS.Stat(name)
}

// List seals when the database cannot list its directory again while it opens:
// Pebble would close while one of its goroutines reads, which then panics.
//
// Until the database has written its OPTIONS it finds no earlier ones. They are for
// people, but Pebble refuses a database whose OPTIONS it cannot parse.
func (s *sealFS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	if !s.strict.Load() || dir != s.dir {
		return names, err
	}
	if !s.settled.Load() {
		names = slices.DeleteFunc(names, isOptions)
	}
	switch {
	case err == nil:
		s.listed = slices.Clone(names)
	case s.listed != nil:
		s.seal(fmt.Errorf("list %s: %w", dir, err))
		return slices.Clone(s.listed), nil
	}
	return names, err
}

func (s *sealFS) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	s.settle(name)
	if cat == categoryCompaction {
		s.slowDown()
	}
	return s.open("create", name, func() (vfs.File, error) { return s.FS.Create(name, cat) })
}

// categoryCompaction is what Pebble calls the tables that a compaction makes.
const categoryCompaction = "pebble-compaction"

// slowDown waits if a file is damaged or absent, until the database closes or is given up.
func (s *sealFS) slowDown() {
	for end := time.Now().Add(damagedDelay); (s.damaged.Load() || s.absent.Load()) && !s.strict.Load() && s.cause.Load() == nil && time.Now().Before(end); {
		time.Sleep(tableRetryDelay)
	}
}

// settle syncs the directory before a marker is made or removed. The manifest
// that a marker names is then there after any crash, and an older marker goes only
// when the newer one is there; Pebble leaves that order to the file system.
func (s *sealFS) settle(name string) {
	if strings.HasPrefix(filepath.Base(name), "marker.") && s.classOf(name) == classVital {
		_ = s.do(classVital, "sync", s.dir, func() error { return syncDir(s.FS, s.dir) })
	}
}

func (s *sealFS) OpenReadWrite(name string, cat vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.open("open", name, func() (vfs.File, error) { return s.FS.OpenReadWrite(name, cat, o...) })
}

func (s *sealFS) ReuseForWrite(old, name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	s.logs.gone(old)
	return s.open("reuse", name, func() (vfs.File, error) { return s.FS.ReuseForWrite(old, name, cat) })
}

func (s *sealFS) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &sealFile{File: f, fs: s, class: s.classOf(name), name: name}, nil
}

func (s *sealFS) Link(old, name string) error {
	return s.do(s.classOf(name), "link", name, func() error { return s.FS.Link(old, name) })
}

func (s *sealFS) Rename(old, name string) error {
	err := s.do(s.classOf(name), "rename", name, func() error { return s.FS.Rename(old, name) })
	if err == nil && isOptions(filepath.Base(name)) {
		s.settled.Store(true)
	}
	return err
}

func isOptions(name string) bool { return strings.HasPrefix(name, "OPTIONS-") }

// Remove never seals: a file that stays costs space only.
func (s *sealFS) Remove(name string) error {
	s.settle(name)
	return s.remove(name, s.FS.Remove)
}

func (s *sealFS) RemoveAll(name string) error {
	return s.remove(name, s.FS.RemoveAll)
}

func (s *sealFS) remove(name string, change func(string) error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.cause.Load() != nil && s.classOf(name) != classForeign {
		_ = s.tables.Remove(filepath.ToSlash(name))
		return nil
	}
	s.logs.gone(name)
	return change(name)
}

func (s *sealFS) MkdirAll(dir string, perm os.FileMode) error {
	return s.do(s.classOf(dir), "mkdir", dir, func() error { return s.FS.MkdirAll(dir, perm) })
}

// Lock grants Pebble's own lock without asking: the engine holds the directory
// for as long as it lives, over all databases it opens in it.
func (s *sealFS) Lock(name string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (s *sealFS) Unwrap() vfs.FS { return s.FS }
