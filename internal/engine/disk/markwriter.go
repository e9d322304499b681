package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// reserveBlock is how many numbers MARK reserves at once. Half of it is left
	// when the next block is asked for, so that no record waits for one.
	reserveBlock = 1 << 16
	// eventBlock is how many events a process may number. One block is reserved at
	// each start, because events are numbered without the store.
	eventBlock = 1 << 40
	// markEvery is how often MARK follows the log.
	markEvery = time.Second
)

// MarkWriter holds a store for writing: it writes MARK and reserves numbers in it.
type MarkWriter struct {
	// Fixed by Hold.
	o     *Options
	lock  *dirLock
	Floor Numbers    // the highest numbers that other starts have reserved
	held  []heldFile // MARK, LOCK and db; none on a file system in memory

	mu   sync.Mutex // held while MARK is written
	file *markFile  // guarded by mu
	db   *Database  // opened last, its logs are listed in MARK; guarded by mu

	// Numbers up to these are in both slots of MARK, and may be given.
	seq, useq atomic.Uint64

	durable atomic.Uint64           // position of the last record that is on stable storage
	asked   atomic.Pointer[Numbers] // given so far, when more were asked for
	wake    chan struct{}           // cap 1: numbers were asked for
	failing atomic.Bool             // the last write failed
}

// Hold locks the directory (ErrLocked), makes the store, or judges it and brings it up to
// date, and takes it over: what MARK says of an orderly close no longer holds, and a first
// block of numbers is reserved. It returns before anything else in the directory is
// written. now is the clock of the store; boot is random, of this start.
func Hold(o *Options, now time.Time, boot uint64) (*MarkWriter, error) {
	lock, err := lockDir(o)
	if err != nil {
		return nil, err
	}
	k, err := hold(o, lock, now, boot)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return k, nil
}

func hold(o *Options, lock *dirLock, now time.Time, boot uint64) (*MarkWriter, error) {
	m, given, err := prepare(o)
	if err != nil {
		return nil, Explain(err, o)
	}
	if err := lock.lockDB(o, false); err != nil { // it may be new
		return nil, err
	}
	file, err := openMarkFile(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	k := &MarkWriter{o: o, lock: lock, Floor: m.Reserved.Raise(given), file: file, wake: make(chan struct{}, 1)}
	k.Floor.Event = max(k.Floor.Event, uint64(now.UnixMicro()))
	m.Reserved = plus(k.Floor, reserveBlock)
	m.Reserved.Event += eventBlock
	m.Orderly, m.Boot, m.at = false, boot, time.Now().UnixNano()
	if err := file.writeBoth(m); err != nil {
		return nil, errors.Join(err, file.f.Close())
	}
	k.allow(m.Reserved)
	for _, name := range []string{nameMark, nameLock, nameDB} {
		if info, err := o.stat(name); err == nil && info != nil {
			k.held = append(k.held, heldFile{name, info})
		}
	}
	return k, nil
}

// heldFile is a file or directory of the data directory that this process has open.
type heldFile struct {
	name string
	info os.FileInfo
}

// stat returns the facts of a file of the operating system, nil on a file system in memory.
func (o *Options) stat(name string) (os.FileInfo, error) {
	if vfs.Root(o.FS) != vfs.Default {
		return nil, nil
	}
	return os.Stat(o.path(name))
}

// Lost returns an error if the directory was moved, removed or replaced since Hold, or LOCK
// or db was. Writes to open files still succeed then, but no later start finds them; and
// without LOCK another process may write to the store.
func (k *MarkWriter) Lost() error {
	for _, f := range k.held {
		info, err := k.o.stat(f.name)
		if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(info, f.info) {
			return fmt.Errorf("data directory %s was moved, removed or replaced: %s is not the one that this process holds; put the directory back, or start again", k.o.Dir, k.o.path(f.name))
		}
	}
	return nil // other errors of the disk show at the next write
}

func (k *MarkWriter) allow(n Numbers) {
	k.seq.Store(n.Seq)
	k.useq.Store(n.Useq)
}

// left returns how many messages or uplinks can get a number.
func (k *MarkWriter) left(given Numbers) uint64 {
	seq, useq := k.seq.Load(), k.useq.Load()
	return min(seq-min(seq, given.Seq), useq-min(useq, given.Useq))
}

// Reserve makes sure that need numbers are left behind those given. It waits only if a
// whole block is used up before MARK was written.
func (k *MarkWriter) Reserve(given Numbers, need uint64) error {
	left := k.left(given)
	if left >= reserveBlock/2 {
		return nil
	}
	k.asked.Store(&given)
	if left < need {
		return k.Follow()
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return nil
}

// Synced notes that the records up to pos are on stable storage.
func (k *MarkWriter) Synced(pos uint64) { k.durable.Store(pos) }

// Run writes MARK once a second while records are written, and when numbers are asked
// for, until stop is closed.
func (k *MarkWriter) Run(stop <-chan struct{}, log *slog.Logger) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		case <-k.wake:
		}
		if err := k.Follow(); err == nil {
			k.failing.Store(false)
		} else if !k.failing.Swap(true) {
			log.Error("MARK cannot be written; it is tried again", "error", err)
		}
	}
}

// Follow makes MARK follow stable storage, and reserves a block
// if one was asked for.
func (k *MarkWriter) Follow() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.file.last
	m.Pos = max(m.Pos, k.durable.Load())
	m.Logs, m.manifest = k.db.fs.logs.lengths(), k.db.fs.logs.manifestLength()
	asked := k.asked.Swap(nil)
	if asked != nil && k.left(*asked) < reserveBlock/2 {
		m.Reserved = m.Reserved.Raise(plus(*asked, reserveBlock))
		m.at = time.Now().UnixNano()
		if err := k.file.writeBoth(m); err != nil {
			k.asked.CompareAndSwap(nil, asked)
			return err
		}
		k.allow(m.Reserved)
		return nil
	}
	if m.Pos == k.file.last.Pos && m.manifest == k.file.last.manifest && slices.Equal(m.Logs, k.file.last.Logs) {
		return nil
	}
	m.at = time.Now().UnixNano()
	return k.file.write(m)
}

// Open opens the database for writing, if it has what MARK lists. A store whose
// database was sealed opens it again: the disk has failed since. A seal calls onSeal.
func (k *MarkWriter) Open(onSeal func(error)) (*Database, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := checkFiles(k.o, &k.file.last)
	var db *Database
	if err == nil {
		db, err = openDatabase(k.o.dbDir(), k.o, openWrite, onSeal)
	}
	if err != nil {
		return nil, Explain(err, k.o)
	}
	k.db = db
	return db, nil
}

// Close says that the store was closed in an orderly way where s stands, with nothing
// in its logs, unless failed is set; then MARK stays as it is. It gives the directory back.
func (k *MarkWriter) Close(s Stand, failed error) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if failed == nil {
		m := k.file.last
		m.Pos, m.Reserved = s.Pos, s.Given.Raise(Numbers{Event: m.Reserved.Event})
		m.Orderly, m.Logs, m.manifest, m.at = true, nil, k.db.fs.logs.manifestLength(), time.Now().UnixNano()
		err = k.file.write(m)
	}
	return errors.Join(err, k.file.f.Close(), k.lock.Close())
}
