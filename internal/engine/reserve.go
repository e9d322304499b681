package engine

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
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

// keeper writes MARK while the store is open.
type keeper struct {
	// floor is the highest number that other starts have reserved. Fixed by
	// Open.
	floor numbers

	mu   sync.Mutex // held while MARK is written
	file *markFile  // guarded by mu

	// Numbers up to these are in both slots of MARK, and may be given.
	seq, useq atomic.Uint64

	durable atomic.Uint64           // position of the last record that is on stable storage
	asked   atomic.Pointer[numbers] // given so far, when more were asked for
	wake    chan struct{}           // cap 1: numbers were asked for
	failing atomic.Bool             // the last write failed
}

// openMark takes the store over: what MARK says of an orderly close no longer
// holds, and a first block of numbers is reserved. It returns before anything
// else in the directory is written.
func (e *Engine) openMark(m mark, given numbers) error {
	file, err := openMarkFile(e.opt.FS, e.opt.Dir)
	if err != nil {
		return err
	}
	e.mark.floor = m.reserved.raise(given)
	e.mark.floor.event = max(e.mark.floor.event, uint64(e.opt.Now().UnixMicro()))
	m.reserved = e.mark.floor.plus(reserveBlock)
	m.reserved.event += eventBlock
	m.orderly, m.boot, m.at = false, newBoot(), time.Now().UnixNano()
	if err := file.writeBoth(m); err != nil {
		return errors.Join(err, file.f.Close())
	}
	e.mark.file, e.mark.wake = file, make(chan struct{}, 1)
	e.mark.reserve(m.reserved)
	return nil
}

func newBoot() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (k *keeper) reserve(n numbers) {
	k.seq.Store(n.seq)
	k.useq.Store(n.useq)
}

// left returns how many messages or uplinks can get a number.
func (k *keeper) left(given numbers) uint64 {
	seq, useq := k.seq.Load(), k.useq.Load()
	return min(seq-min(seq, given.seq), useq-min(useq, given.useq))
}

// reserve makes sure that the record which begins with this state has numbers for
// all its events. It waits only if a whole block is used up before MARK was
// written. It is the committer's.
func (e *Engine) reserve(s *stateRow) error {
	given := s.numbers()
	left := e.mark.left(given)
	if left >= reserveBlock/2 || e.mark.file == nil {
		return nil
	}
	e.mark.asked.Store(&given)
	if left < maxRecordEvents {
		return e.writeMark()
	}
	select {
	case e.mark.wake <- struct{}{}:
	default:
	}
	return nil
}

// runMark writes MARK once a second while records are written, and when numbers
// are asked for, until Close.
func (e *Engine) runMark() {
	defer e.wg.Done()
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		case <-e.mark.wake:
		}
		if err := e.writeMark(); err == nil {
			e.mark.failing.Store(false)
		} else if !e.mark.failing.Swap(true) {
			e.opt.Logger.Error("MARK cannot be written; it is tried again", "error", err)
		}
	}
}

// writeMark makes MARK follow stable storage, and reserves a block
// if one was asked for.
func (e *Engine) writeMark() error {
	k := &e.mark
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.file.last
	m.pos = max(m.pos, k.durable.Load())
	m.logs = e.view.Load().inst.fs.logs.lengths()
	asked := k.asked.Swap(nil)
	if asked != nil && k.left(*asked) < reserveBlock/2 {
		m.reserved = m.reserved.raise(asked.plus(reserveBlock))
		m.at = time.Now().UnixNano()
		if err := k.file.writeBoth(m); err != nil {
			k.asked.CompareAndSwap(nil, asked)
			return err
		}
		k.reserve(m.reserved)
		return nil
	}
	if m.pos == k.file.last.pos && slices.Equal(m.logs, k.file.last.logs) {
		return nil
	}
	m.at = time.Now().UnixNano()
	return k.file.write(m)
}

// marked returns the logs that MARK lists.
func (e *Engine) marked() []logLength {
	e.mark.mu.Lock()
	defer e.mark.mu.Unlock()
	return e.mark.file.last.logs
}

// closeMark says that the store was closed in an orderly way, with nothing in its
// logs, unless failed is set; then MARK stays as it is.
func (e *Engine) closeMark(failed error) (err error) {
	k := &e.mark
	k.mu.Lock()
	defer k.mu.Unlock()
	if failed == nil {
		m, s := k.file.last, &e.machine.state
		m.pos, m.reserved = s.pos, s.numbers().raise(numbers{event: m.reserved.event})
		m.orderly, m.logs, m.at = true, nil, time.Now().UnixNano()
		err = k.file.write(m)
	}
	return errors.Join(err, k.file.f.Close())
}
