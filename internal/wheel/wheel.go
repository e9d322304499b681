// Package wheel has the deadlines of a whole process in one hierarchical hashed
// timing wheel. A million armed timers cost one goroutine and no runtime timer
// each; arming, moving and disarming take constant time.
//
// A [Timer] is embedded by value in its owner, so arming it allocates nothing.
// Deadlines are rounded up to the wheel's tick: a timer never fires early and,
// while callbacks are quick, fires less than one tick late.
package wheel

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Tick is the resolution of a wheel.
const Tick = 5 * time.Millisecond

const (
	shardCount = 32 // so that a million connections do not contend for one mutex

	// asleepForever is Wheel.wake while no timer is armed, and while the driver
	// looks for the next one: any Schedule then wakes it.
	asleepForever = math.MaxInt64
	// awake is Wheel.wake while the driver fires. The driver looks again before
	// it sleeps, so Schedule need not wake it.
	awake = 0
)

// Firer is the callback of a Timer. Fire runs on the wheel's goroutine, one call
// at a time, with no lock of the wheel held. It must be quick, and it may call
// Schedule and Cancel, also for its own timer. now is the time at which the wheel
// woke.
type Firer interface {
	Fire(now time.Time)
}

// Timer is one deadline, 48 bytes, embedded by value. Init binds it to a wheel,
// and it must not be copied afterwards. The mutex of its shard guards all fields
// except firer and shard, which Init fixes.
type Timer struct {
	next, prev *Timer // ring through the slot's head; nil while not armed
	firer      Firer
	tick       int64 // when it is due
	slot       uint16
	shard      uint8
}

// Wheel fires timers. New makes it, and it runs between Start and Stop.
type Wheel struct {
	origin time.Time // tick 0
	shards [shardCount]shard

	spread atomic.Uint32 // gives each new timer its shard in turn
	wake   atomic.Int64  // the tick until which the driver sleeps, or awake, asleepForever

	nudge chan struct{} // capacity 1: the driver should look again
	stop  chan struct{}
	done  chan struct{}
	start sync.Once
	end   sync.Once
}

// New returns a stopped wheel. Timers may be armed before Start; they fire after it.
func New() *Wheel {
	w := &Wheel{
		origin: time.Now(),
		nudge:  make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	w.wake.Store(awake)
	return w
}

// Start runs the wheel's goroutine until Stop.
func (w *Wheel) Start() {
	w.start.Do(func() { go w.run() })
}

// Stop ends the goroutine and waits for a running callback. Armed timers stay
// armed and never fire. Stop must not be called from Fire.
func (w *Wheel) Stop() {
	w.end.Do(func() { close(w.stop) })
	w.start.Do(func() { close(w.done) }) // never started: nothing to wait for
	<-w.done
}

// Init binds t, which is zero, to w and sets its callback. Call it before all
// other uses of t.
func (w *Wheel) Init(t *Timer, f Firer) {
	t.firer = f
	t.shard = uint8(w.spread.Add(1) % shardCount)
}

// Schedule arms t for at, or moves it there, earlier or later. A past time fires
// at the next tick.
func (w *Wheel) Schedule(t *Timer, at time.Time) {
	if t.firer == nil {
		panic("wheel: Schedule before Init")
	}
	due := w.ceil(at)
	s := &w.shards[t.shard]
	s.mu.Lock()
	if t.next != nil {
		s.removeLocked(t)
	}
	if s.armed == 0 {
		// The clock of an idle shard stands still; set it before using it.
		s.now = max(s.now, w.floor(time.Now()))
	}
	due = min(max(due, s.now+1), maxTick)
	t.tick = due
	s.insertLocked(t)
	s.mu.Unlock()

	if due < w.wake.Load() {
		w.rouse()
	}
}

// Cancel disarms t and reports whether it was armed. If it was not, its callback
// may be running at this moment.
func (w *Wheel) Cancel(t *Timer) bool {
	s := &w.shards[t.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.next == nil {
		return false
	}
	s.removeLocked(t)
	return true
}

// run is the wheel's goroutine: it fires due timers, finds the next deadline and
// sleeps until then. It ends when Stop closes w.stop.
func (w *Wheel) run() {
	defer close(w.done)
	alarm := time.NewTimer(math.MaxInt64)
	defer alarm.Stop()
	for {
		w.wake.Store(awake)
		now := time.Now()
		if !w.fire(now) {
			return
		}
		if next := w.next(); next == asleepForever {
			alarm.Stop()
		} else {
			alarm.Reset(time.Until(w.origin.Add(time.Duration(next) * Tick)))
		}
		select {
		case <-w.stop:
			return
		case <-alarm.C:
		case <-w.nudge:
		}
	}
}

// fire calls every timer that is due at now. It returns false if the wheel was
// stopped in between.
func (w *Wheel) fire(now time.Time) bool {
	tick := w.floor(now)
	for i := range w.shards {
		s := &w.shards[i]
		for {
			t := s.popDue(tick)
			if t == nil {
				break
			}
			select {
			case <-w.stop:
				return false
			default:
			}
			t.firer.Fire(now)
		}
	}
	return true
}

// next returns and publishes the tick at which the driver must look again. A
// Schedule during the search finds asleepForever and nudges, so that no deadline
// is missed between the search and the sleep.
func (w *Wheel) next() int64 {
	w.wake.Store(asleepForever)
	next := int64(asleepForever)
	for i := range w.shards {
		next = min(next, w.shards[i].next())
	}
	w.wake.Store(next)
	return next
}

// rouse makes the driver look again. One pending nudge is enough.
func (w *Wheel) rouse() {
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// ceil returns the first tick that is not before at, so that no timer fires
// early.
func (w *Wheel) ceil(at time.Time) int64 {
	d := at.Sub(w.origin) // saturates at 292 years
	n := int64(d / Tick)
	if d%Tick > 0 {
		n++
	}
	return n
}

// floor returns the last tick that is not after now.
func (w *Wheel) floor(now time.Time) int64 { return int64(now.Sub(w.origin) / Tick) }
