package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// instance is one opened database. When its file system is sealed it is
// replaced by another one over the same directory; views of it may be in use
// for a while.
type instance struct {
	db    *pebble.DB
	fs    *sealFS
	views sync.WaitGroup // views that are not released
	// background is the last failure of a flush or compaction that was not
	// followed by a success.
	background atomic.Pointer[error]
	// corrupt is the first damaged file that a read has met.
	corrupt atomic.Pointer[error]
	stalled atomic.Bool // writes wait for flushes

	bodies  bodies
	waiting *waitingSet // fixed before the first view that delivers
}

// pebbleLog passes Pebble's messages on. Pebble ends the process after Fatalf;
// here it seals the directory, which is as safe, and the engine opens it again.
type pebbleLog struct {
	log  *slog.Logger
	inst *instance
}

func (l pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("database", "error", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("database cannot go on: "+format, args...)
	l.log.Error("database cannot go on", "error", err)
	l.inst.fs.seal(err)
}

// openMode selects how a database is opened.
type openMode uint8

const (
	openRead   openMode = iota // nothing is changed
	openWrite                  // it must exist
	openCreate                 // it must not exist
)

// openInstance opens the database in dir; onSeal is called when it is sealed.
func openInstance(dir string, o *Options, mode openMode, onSeal func(error)) (*instance, error) {
	inst := &instance{}
	inst.fs = newSealFS(o.FS, dir, onSeal)
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		FS:                          inst.fs,
		Cache:                       cache,
		FormatMajorVersion:          databaseFormat,
		MemTableSize:                uint64(o.memTableBytes()),
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
	inst.db = db
	return inst, nil
}

// listener hears of what goes wrong behind the commits.
func (i *instance) listener(log *slog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if i.background.Swap(&err) == nil {
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
			err := fmt.Errorf("file %s is damaged: %w", c.Path, c.Details)
			if i.corrupt.CompareAndSwap(nil, &err) {
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
			if i.corrupt.CompareAndSwap(nil, &err) {
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

// trouble returns why the instance should not be given more work.
func (i *instance) trouble() error {
	if err := i.fs.Err(); err != nil {
		return err
	}
	if p := i.corrupt.Load(); p != nil {
		return *p
	}
	if p := i.background.Load(); p != nil {
		return *p
	}
	return nil
}

// view is what readers see: the state after a record that is durable.
type view struct {
	inst  *instance
	snap  *pebble.Snapshot
	state stateRow
	refs  atomic.Int64 // one is the publisher's

	broadcasts broadcasts
}

func newView(inst *instance, state stateRow) *view {
	v := &view{inst: inst, snap: inst.db.NewSnapshot(), state: state}
	v.refs.Store(1)
	inst.views.Add(1)
	return v
}

// acquire reports whether the view can still be used.
func (v *view) acquire() bool {
	for {
		n := v.refs.Load()
		if n == 0 {
			return false
		}
		if v.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *view) release() {
	if v.refs.Add(-1) == 0 {
		_ = v.snap.Close()
		v.inst.views.Done()
	}
}

// unavailable wraps a cause so that a caller sees ErrUnavailable.
func unavailable(cause error) error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: gateway.ErrUnavailable.Message, Cause: cause}
}
