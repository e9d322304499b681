package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/state"
)

// Engine is the durable gateway.Store. Open opens it, Close ends it.
type Engine struct {
	// Fixed by Open.
	opt     Options
	log     gateway.LogID
	writer  uint64 // of the data directory
	boot    uint64 // random, drawn by Open
	started time.Time
	follow  *follower // of a shared journal; nil if the database's log is the journal

	observer atomic.Pointer[gateway.Observer] // set by Observe

	queue   *queue
	view    atomic.Pointer[view]
	failure atomic.Pointer[error] // why nothing can be written; nil = writes work
	missing atomic.Pointer[error] // why no start would open the store
	refusal atomic.Pointer[error] // why nothing is accepted although writes work
	narrow  atomic.Pointer[error] // why no client is accepted that is not known
	stats   counters

	undurable undurable
	owed      owed
	mark      *disk.MarkWriter // fixed by Open

	// Owned by the committer.
	inst    *instance
	machine *state.Machine
	n       uint64    // of the last record of this boot
	intact  uint64    // position up to which the records from before the last opening are durable
	tried   time.Time // when the last attempt to open a new instance failed

	applied   chan *appliedRecord // from the committer to the writer, in log order
	written   chan *appliedRecord // from the writer to the finisher, in log order
	unsynced  atomic.Int32        // records that are not known to be durable or lost
	progress  atomic.Int64        // when the last of them ended, or the first began, as ns after started
	writing   sync.WaitGroup      // records that the writer has not dealt with
	finishing sync.WaitGroup      // records that the finisher has not dealt with
	toldTo    uint64              // position up to which the observer has the feed; the finisher's
	lost      []*appliedRecord    // failed, outcome unknown; the finisher's while any is in flight, else the committer's

	ctx       context.Context    // ends with Close
	end       context.CancelFunc // ends ctx
	wg        sync.WaitGroup     // committer, writer, finisher, driver, the writer of MARK
	closing   sync.WaitGroup     // instances that were replaced, until they are closed
	closeOnce sync.Once
	backupMu  sync.Mutex // one backup at a time
	sweepMu   sync.Mutex // one sweep at a time
	sweeper   sweeper    // guarded by sweepMu
	oldest    oldest
	reclaimer reclaimer
	saving    atomic.Bool    // the records of a removed log
	unapplied rate.Sometimes // for the log
	unswept   rate.Sometimes // for the log
	stuck     stuck
}

var _ gateway.Store = (*Engine)(nil)

// loggedFirst is how many messages of one kind the log gets before it gets one a minute: a
// damaged row fails in every sweep.
const loggedFirst = 10

func seldom() rate.Sometimes { return rate.Sometimes{First: loggedFirst, Interval: time.Minute} }

// ErrLocked is wrapped by Open's error when another process has the directory.
var ErrLocked = disk.ErrLocked

// Open opens the store in o.Dir, or makes a new one. It finishes recovery
// before it returns: the records that a crash left are applied and on stable storage.
func Open(o Options) (*Engine, error) {
	o = o.withDefaults()
	if err := disk.MakeDir(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	e := &Engine{opt: o, started: time.Now(), queue: newQueue(),
		boot: randomBoot(), unapplied: seldom(), unswept: seldom(), applied: make(chan *appliedRecord), written: make(chan *appliedRecord)}
	e.ctx, e.end = context.WithCancel(context.Background())
	if o.Journal != nil {
		e.follow = newFollower(e, o.Journal)
	}
	e.reclaimer.removed.Store(true) // perhaps, by an earlier process
	if err := e.open(); err != nil {
		return nil, err
	}
	e.wg.Add(2)
	e.wg.Go(func() { e.mark.Run(e.ctx.Done(), e.opt.Logger) })
	go e.runWriter()
	go e.runFinisher()
	if e.follow == nil {
		e.wg.Add(1)
		go e.runCommitter()
	} else if err := e.follow.start(); err != nil {
		e.follow.stop(err)
		return nil, errors.Join(err, e.Close())
	}
	if o.SweepEvery > 0 {
		e.wg.Add(2)
		go e.runDriver()
		go e.runWatch()
	}
	return e, nil
}

// open holds the directory and opens the state.
func (e *Engine) open() error {
	mark, err := disk.Hold(e.opt.disk(), e.opt.Now(), e.boot)
	if err != nil {
		return err
	}
	e.mark = mark
	err = e.openState()
	if err == nil {
		if err = mark.Follow(); err != nil {
			e.inst.Seal(err)
			e.view.Load().release()
			_ = e.inst.DB.Close()
		}
	}
	if err != nil {
		return errors.Join(err, mark.Close(disk.Stand{}, err))
	}
	e.checkDisk()
	return nil
}

// openState opens the database, brings it up to the journal's end and publishes
// the view of it. It is the one way to a state: at start-up and after a
// failure.
func (e *Engine) openState() error {
	db, err := e.mark.Open(e.sealed)
	if err != nil {
		return err
	}
	inst := &instance{Database: db}
	m, err := e.recoverState(inst)
	if err != nil {
		inst.Seal(err)
		_ = inst.DB.Close()
		return disk.Explain(err, e.opt.disk())
	}
	e.mark.Synced(m.State.Pos)
	old, oldInst := e.view.Swap(newView(inst, m.State)), e.inst
	e.inst, e.machine = inst, m
	if old != nil {
		old.release()
		e.closing.Go(func() {
			oldInst.views.Wait()
			_ = oldInst.DB.Close() // sealed: nothing it does reaches the disk
		})
	}
	return nil
}

// sealed is called by the database's file system, on any goroutine.
func (e *Engine) sealed(cause error) {
	if e.failure.CompareAndSwap(nil, &cause) {
		e.opt.Logger.Error("a write failed; nothing is accepted until the disk takes writes again", "error", cause)
	}
	e.queue.nudge()
	if e.follow != nil {
		e.follow.interrupt()
	}
}

// randomBoot returns a number that no other start of a writer has drawn.
func randomBoot() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return max(1, binary.BigEndian.Uint64(b[:]))
}

// Log names the sequence space of this store.
func (e *Engine) Log() gateway.LogID { return e.log }

// Observe sets the observer of changes; called once, before use. The driver may make
// changes before.
func (e *Engine) Observe(o gateway.Observer) { e.observer.Store(&o) }

// tell passes changes to the observer. Without one it drops them.
func (e *Engine) tell(feed *state.Feed) {
	if o := e.observer.Load(); o != nil {
		feed.Tell(*o)
	} else {
		feed.Tell(nil)
	}
}

// payWithin bounds how long Close waits for room for the ends of sessions; the next
// start ends the other sessions.
const payWithin = 5 * time.Second

// closePatience is how long Close waits for a disk that fails.
const closePatience = time.Second

// Close waits until all settled deliveries are durable, unless the disk fails, and releases
// the store.
func (e *Engine) Close() error {
	var err error
	e.closeOnce.Do(func() { err = e.close() })
	return err
}

func (e *Engine) close() error {
	e.end()
	if e.failure.Load() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), payWithin)
		e.payOwed(ctx)
		cancel()
	}
	e.queue.close()
	e.awaitEnd()
	v := e.view.Load()
	sealed := e.inst.Err()
	if sealed == nil {
		// An empty log makes the next start quick, and leaves no record that
		// only the log's end vouches for.
		sealed = e.inst.Flush()
	}
	v.release()
	e.inst.views.Wait()
	err := errors.Join(sealed, e.inst.Err(), e.inst.DB.Close())
	e.closing.Wait()
	return errors.Join(err, e.mark.Close(standOf(&e.machine.State), err))
}

// awaitEnd waits for the goroutines. It gives a database up whose disk takes no table: a
// write or a flush may wait for that without end, and the records are in the log.
func (e *Engine) awaitEnd() {
	ended := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return
		case <-time.After(closePatience):
			inst := e.view.Load().inst
			if err := inst.Failing(); err != nil {
				inst.Seal(err)
			}
		}
	}
}

// reading returns the state to read; the caller releases it.
func (e *Engine) reading() (*view, error) {
	for {
		v := e.view.Load()
		if v.acquire() {
			return v, nil
		}
		if e.view.Load() == v {
			return nil, unavailable(errClosed)
		}
	}
}

// Health returns nil when the store accepts messages, else why it does not.
func (e *Engine) Health() error {
	if p := e.failure.Load(); p != nil {
		return unavailable(*p)
	}
	if p := e.missing.Load(); p != nil {
		return unavailable(*p)
	}
	if p := e.refusal.Load(); p != nil {
		return diskFull(*p)
	}
	v, err := e.reading()
	if err != nil {
		return err
	}
	defer v.release()
	if err := v.inst.Trouble(); err != nil {
		return unavailable(err)
	}
	if hung := time.Since(e.started) - time.Duration(e.progress.Load()); hung > e.opt.hungAfter && e.unsynced.Load() > 0 {
		return unavailable(fmt.Errorf("the disk has not finished a write for %s", hung.Round(time.Second)))
	}
	return nil
}
