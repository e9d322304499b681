package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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

// keeper holds a store for writing: it keeps MARK, and the numbers that MARK reserves.
type keeper struct {
	// floor is the highest number that other starts have reserved. Fixed.
	floor numbers
	// current returns the database that is written; its logs are listed in MARK.
	current func() *database

	mu   sync.Mutex // held while MARK is written
	file *markFile  // guarded by mu

	// Numbers up to these are in both slots of MARK, and may be given.
	seq, useq atomic.Uint64

	durable atomic.Uint64           // position of the last record that is on stable storage
	asked   atomic.Pointer[numbers] // given so far, when more were asked for
	wake    chan struct{}           // cap 1: numbers were asked for
	failing atomic.Bool             // the last write failed
}

// hold makes the store, or judges it and brings it up to date, and takes it over: what
// MARK says of an orderly close no longer holds, and a first block of numbers is
// reserved. It returns before anything else in the directory is written. now is the
// clock of the store; current is asked from the first follow on.
func hold(o *diskOptions, now time.Time, current func() *database) (*keeper, error) {
	m, given, err := prepare(o)
	if err != nil {
		return nil, explain(err, o)
	}
	file, err := openMarkFile(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	k := &keeper{floor: m.reserved.raise(given), current: current, file: file, wake: make(chan struct{}, 1)}
	k.floor.event = max(k.floor.event, uint64(now.UnixMicro()))
	m.reserved = k.floor.plus(reserveBlock)
	m.reserved.event += eventBlock
	m.orderly, m.boot, m.at = false, newBoot(), time.Now().UnixNano()
	if err := file.writeBoth(m); err != nil {
		return nil, errors.Join(err, file.f.Close())
	}
	k.allow(m.reserved)
	return k, nil
}

func newBoot() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (k *keeper) allow(n numbers) {
	k.seq.Store(n.seq)
	k.useq.Store(n.useq)
}

// left returns how many messages or uplinks can get a number.
func (k *keeper) left(given numbers) uint64 {
	seq, useq := k.seq.Load(), k.useq.Load()
	return min(seq-min(seq, given.seq), useq-min(useq, given.useq))
}

// reserve makes sure that need numbers are left behind those given. It waits only if a
// whole block is used up before MARK was written.
func (k *keeper) reserve(given numbers, need uint64) error {
	left := k.left(given)
	if left >= reserveBlock/2 {
		return nil
	}
	k.asked.Store(&given)
	if left < need {
		return k.follow()
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return nil
}

// synced notes that the records up to pos are on stable storage.
func (k *keeper) synced(pos uint64) { k.durable.Store(pos) }

// run writes MARK once a second while records are written, and when numbers are asked
// for, until stop is closed.
func (k *keeper) run(stop <-chan struct{}, log *slog.Logger) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		case <-k.wake:
		}
		if err := k.follow(); err == nil {
			k.failing.Store(false)
		} else if !k.failing.Swap(true) {
			log.Error("MARK cannot be written; it is tried again", "error", err)
		}
	}
}

// follow makes MARK follow stable storage, and reserves a block
// if one was asked for.
func (k *keeper) follow() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.file.last
	m.pos = max(m.pos, k.durable.Load())
	m.logs = k.current().logs()
	asked := k.asked.Swap(nil)
	if asked != nil && k.left(*asked) < reserveBlock/2 {
		m.reserved = m.reserved.raise(asked.plus(reserveBlock))
		m.at = time.Now().UnixNano()
		if err := k.file.writeBoth(m); err != nil {
			k.asked.CompareAndSwap(nil, asked)
			return err
		}
		k.allow(m.reserved)
		return nil
	}
	if m.pos == k.file.last.pos && slices.Equal(m.logs, k.file.last.logs) {
		return nil
	}
	m.at = time.Now().UnixNano()
	return k.file.write(m)
}

// open opens the database for writing, of which MARK says the least. It may be
// opened again when it has been sealed: the disk has failed since. onSeal is called
// when it is sealed.
func (k *keeper) open(o *diskOptions, onSeal func(error)) (*database, error) {
	k.mu.Lock()
	logs := k.file.last.logs
	k.mu.Unlock()
	err := checkFiles(o, logs)
	var db *database
	if err == nil {
		db, err = openInstance(o.dbDir(), o, openWrite, onSeal)
	}
	if err != nil {
		return nil, explain(err, o)
	}
	return db, nil
}

// close says that the store was closed in an orderly way where s stands, with nothing
// in its logs, unless failed is set; then MARK stays as it is.
func (k *keeper) close(s stand, failed error) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if failed == nil {
		m := k.file.last
		m.pos, m.reserved = s.pos, s.given.raise(numbers{event: m.reserved.event})
		m.orderly, m.logs, m.at = true, nil, time.Now().UnixNano()
		err = k.file.write(m)
	}
	return errors.Join(err, k.file.f.Close())
}
