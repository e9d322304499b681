package disk

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/engine/record"
)

// Database is one opened database. When its file system is sealed it is of no more
// use but to readers: another one is opened over the same directory.
type Database struct {
	DB *pebble.DB // for reading, and for batches of rows
	fs *sealFS
	// background is the last failure of a flush or compaction that was not
	// followed by a success.
	background atomic.Pointer[error]
	// corrupt is the first damaged file that a read has met.
	corrupt atomic.Pointer[error]
	stalled atomic.Bool // writes wait for flushes
}

// pebbleLog passes Pebble's messages on. Pebble ends the process after Fatalf;
// here it seals the directory, which is as safe, and the engine opens it again.
type pebbleLog struct {
	log  *slog.Logger
	inst *Database
}

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("database", "error", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("database cannot continue: "+format, args...)
	l.log.Error("database cannot continue", "error", err)
	l.inst.fs.seal(err)
}

// errSetTwice is why a row is corrupt that was removed as one that was set once.
var errSetTwice = errors.New("it was set twice before it was removed")

// openMode selects how a database is opened.
type openMode uint8

const (
	openRead   openMode = iota // nothing is changed
	openWrite                  // it must exist
	openCreate                 // it must not exist
)

// openDatabase opens the database in dir; onSeal is called when it is sealed.
func openDatabase(dir string, o *Options, mode openMode, onSeal func(error)) (*Database, error) {
	inst := &Database{}
	inst.fs = newSealFS(o.FS, dir, onSeal)
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		FS:                          inst.fs,
		Cache:                       cache,
		FormatMajorVersion:          databaseFormat,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       40,
		LBaseMaxBytes:               256 << 20,
		BytesPerSync:                1 << 20,
		MaxOpenFiles:                512,
		ReadOnly:                    mode == openRead,
		ErrorIfNotExists:            mode != openCreate,
		ErrorIfExists:               mode == openCreate,
		Logger:                      pebbleLog{o.Logger, inst},
		EventListener:               inst.listener(o.Logger),
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, po)
	if err == nil {
		err = inst.fs.Err()
		if err != nil {
			_ = db.Close()
		}
	}
	if err != nil {
		inst.fs.seal(err)
		return nil, err
	}
	inst.fs.strict.Store(false)
	inst.DB = db
	return inst, nil
}

// listener returns a listener to the failures that no commit reports.
func (i *Database) listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if i.background.Swap(&err) == nil && !i.fs.strict.Load() { // else the opening fails with it
				log.Error("background write failed", "error", err)
			}
		},
		FlushEnd: func(f pebble.FlushInfo) {
			if f.Err == nil {
				i.background.Store(nil)
			}
		},
		CompactionEnd: func(c pebble.CompactionInfo) {
			if c.Err == nil {
				i.background.Store(nil)
			}
		},
		DataCorruption: func(c pebble.DataCorruptionInfo) {
			if errors.Is(c.Details, os.ErrNotExist) && vfs.Root(i.fs.FS) == vfs.Default {
				i.fs.absent.Store(true) // until LostFiles finds all files
				return
			}
			err := fmt.Errorf("file %s is damaged: %w", c.Path, c.Details)
			if i.NoteCorrupt(err) {
				log.Error("damaged file", "file", c.Path, "error", c.Details)
			}
		},
		// A row removed by delOnce was set twice. No range is ever deleted, which is
		// what could make this a false alarm. That it was never set is harmless, and
		// happens after a repair that gave up tables.
		PossibleAPIMisuse: func(m pebble.PossibleAPIMisuseInfo) {
			if m.Kind != pebble.NondeterministicSingleDelete {
				return
			}
			err := error(&record.CorruptError{Key: bytes.Clone(m.UserKey), Cause: errSetTwice})
			if i.NoteCorrupt(err) {
				log.Error("damaged row", "error", err)
			}
		},
		WriteStallBegin: func(w pebble.WriteStallBeginInfo) {
			i.stalled.Store(true)
			log.Warn("writes wait for the disk", "reason", w.Reason)
		},
		WriteStallEnd: func() { i.stalled.Store(false) },
	}
}

// Dir is the directory of the files.
func (i *Database) Dir() string { return i.fs.dir }

// Err returns why the directory was sealed, nil while it is not.
func (i *Database) Err() error { return i.fs.Err() }

// Seal gives the database up: nothing reaches the directory through it any more.
func (i *Database) Seal(cause error) { i.fs.seal(cause) }

// Quiet reports whether the database is sealed and has no change under way: another one may
// be opened over its directory. It returns true only after the call of onSeal.
func (i *Database) Quiet() bool {
	if !i.fs.quiet.Load() {
		return false
	}
	i.fs.gate.RLock() // waits for onSeal
	defer i.fs.gate.RUnlock()
	return true
}

// LostLogs returns the logs that were removed, got another name or were cut, and not by this
// process. A start would not find the records in them. It returns none on a file system in
// memory.
func (i *Database) LostLogs() (paths []string) {
	if vfs.Root(i.fs.FS) != vfs.Default {
		return nil
	}
	for _, l := range i.fs.logs.lengths() {
		path := i.logPath(l.number)
		info, err := os.Stat(path)
		lost := errors.Is(err, os.ErrNotExist) || err == nil && info.Size() < l.synced
		if lost && i.fs.logs.has(l.number) {
			paths = append(paths, path)
		}
	}
	if i.Err() != nil {
		return nil // its successor has the records, and removes logs
	}
	return paths
}

// LostFiles returns the tables, the manifest and the markers that were removed, and not by
// this process. No start opens the store without them. It returns none on a file system in
// memory.
func (i *Database) LostFiles() (names []string) {
	if vfs.Root(i.fs.FS) != vfs.Default {
		return nil
	}
	if names = i.missing(); len(names) > 0 {
		// A file that is missing twice counted in between, so it is lost.
		again := i.missing()
		names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(again, n) })
	}
	if i.Err() != nil {
		return nil // new tables are in memory
	}
	i.fs.absent.Store(len(names) > 0)
	return names
}

// missing returns the files that count and are not in the directory. One that began or
// ceased to count during the look may be among them.
func (i *Database) missing() (lost []string) {
	want := []string{fmt.Sprintf("MANIFEST-%06d", i.fs.logs.manifestLength().number)}
	levels, err := i.DB.SSTables()
	if err != nil {
		return nil
	}
	for _, tables := range levels {
		for _, t := range tables {
			want = append(want, fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum)))
		}
	}
	names, err := i.fs.List(i.fs.dir)
	if err != nil {
		return nil
	}
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
	}
	for _, n := range want {
		if !there[n] {
			lost = append(lost, n)
		}
	}
	for _, prefix := range []string{markerManifest, markerFormat} {
		if newestMarker(names, prefix) == "" {
			lost = append(lost, prefix+"*")
		}
	}
	return lost
}

// SaveLost brings the records of lost logs, which are also in memory, into tables. From
// then on the logs do not count.
func (i *Database) SaveLost(paths []string) error {
	err := i.DB.Flush()
	if err == nil {
		err = i.Err()
	}
	if err == nil {
		for _, p := range paths {
			i.fs.logs.gone(p)
		}
	}
	return err
}

func (i *Database) logPath(number uint32) string {
	return i.fs.PathJoin(i.fs.dir, fmt.Sprintf("%06d.log", number))
}

// Flush brings everything into tables, before a close: an error seals.
func (i *Database) Flush() error {
	i.fs.strict.Store(true)
	return i.DB.Flush()
}

// NoteCorrupt has trouble report a damaged row. It returns false if there is damage
// already.
func (i *Database) NoteCorrupt(err error) bool {
	i.fs.damaged.Store(true)
	return i.corrupt.CompareAndSwap(nil, &err)
}

// Stuck returns why no write gets through: the memtables are full, and the disk takes
// no table. It is nil if writes get through.
func (i *Database) Stuck() error {
	if !i.stalled.Load() {
		return nil
	}
	return i.Failing()
}

// Failing returns the failure of the last flush or compaction, nil if it has succeeded.
func (i *Database) Failing() error {
	if p := i.background.Load(); p != nil {
		return *p
	}
	return nil
}

// Trouble returns why the database should not be given more work.
func (i *Database) Trouble() error {
	if err := i.fs.Err(); err != nil {
		return err
	}
	if p := i.corrupt.Load(); p != nil {
		return *p
	}
	return i.Failing()
}
