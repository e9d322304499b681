package wheel

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// fireFunc is a function that implements Firer.
type fireFunc func(now time.Time)

func (f fireFunc) Fire(now time.Time) { f(now) }

// rec is a timer that notes when it fired.
type rec struct {
	Timer
	mu    sync.Mutex
	times []time.Time
}

func (r *rec) Fire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, now)
}

func (r *rec) fired() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times
}

// turn runs f in virtual time with a started wheel.
func turn(t *testing.T, f func(w *Wheel)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := New()
		w.Start()
		defer w.Stop()
		f(w)
	})
}

func after(d time.Duration) {
	time.Sleep(d) // virtual: the bubble's clock jumps
	synctest.Wait()
}

func TestFiresWithinOneTickAndNeverEarly(t *testing.T) {
	for _, d := range []time.Duration{
		1, time.Millisecond, 5*time.Millisecond - 1, 5 * time.Millisecond, 5*time.Millisecond + 1,
		319 * time.Millisecond, 320 * time.Millisecond, 321 * time.Millisecond, // level 0 to 1
		20*time.Second + 479*time.Millisecond, 20*time.Second + 480*time.Millisecond, // level 1 to 2
		12 * time.Second, 22 * time.Minute, 2 * time.Hour, 30 * 24 * time.Hour,
	} {
		t.Run(d.String(), func(t *testing.T) {
			turn(t, func(w *Wheel) {
				after(3*time.Second + 1234567) // an origin that is no round number of ticks ago
				var r rec
				w.Init(&r.Timer, &r)
				at := time.Now().Add(d)
				w.Schedule(&r.Timer, at)

				after(d - 1)
				if len(r.fired()) != 0 {
					t.Fatalf("fired %v early", time.Until(at))
				}
				after(Tick + 1)
				if len(r.fired()) != 1 {
					t.Fatalf("fired %d times within a tick of the deadline, want once", len(r.fired()))
				}
				if late := r.fired()[0].Sub(at); late < 0 || late >= Tick {
					t.Errorf("fired %v after the deadline, want 0 to %v", late, Tick)
				}
				after(time.Hour)
				if len(r.fired()) != 1 {
					t.Errorf("fired %d times, want once", len(r.fired()))
				}
			})
		})
	}
}

func TestDeadlineOnATickIsExact(t *testing.T) {
	turn(t, func(w *Wheel) {
		var r rec
		w.Init(&r.Timer, &r)
		at := time.Now().Add(10 * time.Second)
		w.Schedule(&r.Timer, at)
		after(10 * time.Second)
		if len(r.fired()) != 1 || !r.fired()[0].Equal(at) {
			t.Errorf("fired at %v, want once at %v", r.fired(), at)
		}
	})
}

func TestPastDeadlineFiresAtTheNextTick(t *testing.T) {
	turn(t, func(w *Wheel) {
		after(time.Hour)
		for _, ago := range []time.Duration{0, time.Second, 100 * 365 * 24 * time.Hour} {
			var r rec
			w.Init(&r.Timer, &r)
			w.Schedule(&r.Timer, time.Now().Add(-ago))
			after(5 * time.Millisecond)
			if len(r.fired()) != 1 {
				t.Errorf("%v ago: fired %d times after one tick, want once", ago, len(r.fired()))
			}
		}
	})
}

func TestFarFutureNeverFires(t *testing.T) {
	turn(t, func(w *Wheel) {
		var far, near rec
		w.Init(&far.Timer, &far)
		w.Init(&near.Timer, &near)
		w.Schedule(&far.Timer, time.Now().Add(1<<63-1))
		w.Schedule(&near.Timer, time.Now().Add(time.Minute))
		after(time.Minute)
		if len(far.fired()) != 0 || len(near.fired()) != 1 {
			t.Errorf("far fired %d times, near %d; want 0 and 1", len(far.fired()), len(near.fired()))
		}
	})
}

func TestReschedule(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then time.Duration
	}{
		{"earlier", time.Hour, 10 * time.Millisecond},
		{"later", 10 * time.Millisecond, time.Hour},
		{"same", time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			turn(t, func(w *Wheel) {
				var r rec
				w.Init(&r.Timer, &r)
				start := time.Now()
				w.Schedule(&r.Timer, start.Add(c.first))
				synctest.Wait() // the wheel sleeps for the first deadline
				w.Schedule(&r.Timer, start.Add(c.then))
				if got := w.armed(); got != 1 {
					t.Errorf("%d armed, want 1", got)
				}
				after(2 * time.Hour)
				if len(r.fired()) != 1 || !r.fired()[0].Equal(start.Add(c.then)) {
					t.Errorf("fired at %v, want once after %v", r.fired(), c.then)
				}
			})
		})
	}
}

func TestCancel(t *testing.T) {
	turn(t, func(w *Wheel) {
		var r rec
		w.Init(&r.Timer, &r)
		if w.Cancel(&r.Timer) {
			t.Error("Cancel of a timer that was never armed says it was")
		}
		w.Schedule(&r.Timer, time.Now().Add(time.Second))
		if !w.Cancel(&r.Timer) {
			t.Error("Cancel of an armed timer says it was not")
		}
		if w.Cancel(&r.Timer) {
			t.Error("the second Cancel says the timer was armed")
		}
		after(time.Hour)
		if len(r.fired()) != 0 {
			t.Errorf("a canceled timer fired at %v", r.fired())
		}
		w.Schedule(&r.Timer, time.Now().Add(time.Second)) // usable again
		after(time.Second)
		if len(r.fired()) != 1 {
			t.Errorf("fired %d times after it was armed again, want once", len(r.fired()))
		}
	})
}

// A timer that is due in the same tick can still be canceled by the one that
// fires before it.
func TestCancelFromACallbackOfTheSameTick(t *testing.T) {
	turn(t, func(w *Wheel) {
		var timers [2]Timer
		var fired atomic.Int32
		for i := range timers {
			w.Init(&timers[i], fireFunc(func(time.Time) {
				fired.Add(1)
				w.Cancel(&timers[1-i])
			}))
		}
		at := time.Now().Add(time.Second)
		w.Schedule(&timers[0], at)
		w.Schedule(&timers[1], at)
		after(2 * time.Second)
		if got := fired.Load(); got != 1 {
			t.Errorf("%d fired, want only the first", got)
		}
	})
}

func TestFireMayScheduleItself(t *testing.T) {
	turn(t, func(w *Wheel) {
		var tm Timer
		var n atomic.Int32
		w.Init(&tm, fireFunc(func(now time.Time) {
			n.Add(1)
			w.Schedule(&tm, now.Add(10*time.Second))
		}))
		w.Schedule(&tm, time.Now().Add(10*time.Second))
		after(time.Hour)
		if got := n.Load(); got != 360 {
			t.Errorf("a heartbeat of 10 s fired %d times in an hour, want 360", got)
		}
	})
}

// A callback that always asks for the past must not lock the wheel up.
func TestFireThatSchedulesThePastYields(t *testing.T) {
	turn(t, func(w *Wheel) {
		var tm Timer
		var n atomic.Int32
		w.Init(&tm, fireFunc(func(now time.Time) {
			n.Add(1)
			w.Schedule(&tm, now.Add(-time.Hour))
		}))
		w.Schedule(&tm, time.Now())
		after(time.Second)
		w.Cancel(&tm)
		if got := n.Load(); got < 199 || got > 201 {
			t.Errorf("fired %d times in a second, want once a tick (200)", got)
		}
	})
}

// Ten thousand timers between a tick and two hours, moved and canceled at
// random while the wheel turns: each fires exactly when its last word said.
func TestRandomDeadlinesCascade(t *testing.T) {
	turn(t, func(w *Wheel) {
		type entry struct {
			rec
			at time.Time // zero: canceled
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		span := func() time.Duration { // evenly over the magnitudes
			return time.Duration(float64(time.Millisecond) * pow2(rnd.Float64()*22.7))
		}
		entries := make([]entry, 10_000)
		for i := range entries {
			e := &entries[i]
			w.Init(&e.Timer, e)
			e.at = time.Now().Add(span())
			w.Schedule(&e.Timer, e.at)
		}
		for range 2_000 {
			after(time.Duration(rnd.Int64N(int64(5 * time.Second))))
			e := &entries[rnd.IntN(len(entries))]
			if len(e.fired()) > 0 || e.at.IsZero() {
				continue
			}
			if rnd.IntN(4) == 0 {
				if !w.Cancel(&e.Timer) {
					t.Fatal("a timer that has not fired is not armed")
				}
				e.at = time.Time{}
				continue
			}
			e.at = time.Now().Add(span())
			w.Schedule(&e.Timer, e.at)
		}
		after(4 * time.Hour)
		for i := range entries {
			e := &entries[i]
			switch {
			case e.at.IsZero() && len(e.fired()) != 0:
				t.Fatalf("timer %d fired though it was canceled", i)
			case e.at.IsZero():
			case len(e.fired()) != 1:
				t.Fatalf("timer %d fired %d times, want once", i, len(e.fired()))
			case e.fired()[0].Before(e.at) || e.fired()[0].Sub(e.at) >= Tick:
				t.Fatalf("timer %d fired %v after its deadline", i, e.fired()[0].Sub(e.at))
			}
		}
		if got := w.armed(); got != 0 {
			t.Errorf("%d timers still armed", got)
		}
	})
}

func pow2(x float64) float64 {
	f := 1.0
	for ; x >= 1; x-- {
		f *= 2
	}
	return f * (1 + x)
}

func TestStartAfterScheduleAndStopBeforeFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		var r rec
		w.Init(&r.Timer, &r)
		w.Schedule(&r.Timer, time.Now().Add(time.Second))
		after(time.Minute)
		if len(r.fired()) != 0 {
			t.Fatal("fired before Start")
		}
		w.Start()
		synctest.Wait()
		if len(r.fired()) != 1 {
			t.Errorf("fired %d times after Start, want once", len(r.fired()))
		}
		w.Schedule(&r.Timer, time.Now().Add(time.Second))
		w.Stop()
		w.Stop() // harmless
		after(time.Minute)
		if len(r.fired()) != 1 {
			t.Error("fired after Stop")
		}
	})
}

func TestStopWithoutStart(t *testing.T) { New().Stop() }

// Goroutines arm, move and cancel their timers against a real clock while the
// wheel fires them; at the end every timer has fired or was canceled.
func TestConcurrentUse(t *testing.T) {
	w := New()
	w.Start()
	defer w.Stop()
	const workers, rounds = 8, 2_000
	var fired, canceled atomic.Int64
	var wg sync.WaitGroup
	for g := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 9))
			gone := make(chan struct{}, 1)
			var tm Timer
			w.Init(&tm, fireFunc(func(time.Time) {
				fired.Add(1)
				gone <- struct{}{} // never blocks: armed again only after it was read
			}))
			for range rounds {
				w.Schedule(&tm, time.Now().Add(time.Duration(rnd.IntN(300))*time.Microsecond))
				if rnd.IntN(2) == 0 && w.Cancel(&tm) {
					canceled.Add(1)
					continue
				}
				if rnd.IntN(64) > 0 { // seldom wait for the clock
					if w.Cancel(&tm) {
						canceled.Add(1)
						continue
					}
				}
				<-gone
			}
		})
	}
	wg.Wait()
	if got := fired.Load() + canceled.Load(); got != workers*rounds {
		t.Errorf("%d fired + %d canceled = %d, want %d", fired.Load(), canceled.Load(), got, workers*rounds)
	}
	if fired.Load() == 0 || w.armed() != 0 {
		t.Errorf("%d fired, %d still armed", fired.Load(), w.armed())
	}
}

func TestCost(t *testing.T) {
	if got := unsafe.Sizeof(Timer{}); got > 48 {
		t.Errorf("a Timer takes %d bytes, want at most 48", got)
	}
	w := New()
	w.Start()
	defer w.Stop()
	var r rec
	w.Init(&r.Timer, &r)
	at := time.Now().Add(time.Hour)
	if n := testing.AllocsPerRun(1000, func() {
		w.Schedule(&r.Timer, at)
		w.Cancel(&r.Timer)
	}); n != 0 {
		t.Errorf("Schedule and Cancel allocate %v times, want 0", n)
	}
}

func TestScheduleBeforeInitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New().Schedule(new(Timer), time.Now())
}

func BenchmarkSchedule(b *testing.B) {
	w := New()
	w.Start()
	defer w.Stop()
	timers := make([]rec, 100_000)
	base := time.Now().Add(10 * time.Second)
	for i := range timers {
		w.Init(&timers[i].Timer, &timers[i])
		w.Schedule(&timers[i].Timer, base)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := rand.IntN(len(timers))
		for pb.Next() {
			i = (i + 1) % len(timers)
			w.Schedule(&timers[i].Timer, base.Add(time.Duration(i%10_000)*time.Millisecond))
		}
	})
}

// armed returns how many timers are armed.
func (w *Wheel) armed() int {
	n := 0
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		n += s.armed
		s.mu.Unlock()
	}
	return n
}
