package bench

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper is a caller that takes a time for each call, in virtual time.
func sleeper(d func(call int) time.Duration) caller {
	n := 0
	return func() (int, error) {
		time.Sleep(d(n))
		n++
		return 1, nil
	}
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || float64(got) > float64(want)*1.01+1 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		callers := []caller{sleeper(always(time.Millisecond)), sleeper(always(time.Millisecond))}
		s, err := openLoop(t.Context(), plan{rate: 100, lasting: 2 * time.Second, sleep: time.Sleep}, callers)
		if err != nil || s.done != 200 {
			t.Fatalf("%d calls, %v; want 200", s.done, err)
		}
		if want := 1991 * time.Millisecond; s.elapsed != want { // the last one begins after 1.99 s
			t.Errorf("took %v, want %v", s.elapsed, want)
		}
		near(t, "the longest", s.latency.quantile(1), time.Millisecond)
	})
}

// TestOpenLoopSeesStalls makes the one caller hang for a second: the calls due in
// that second are late, by up to that second.
func TestOpenLoopSeesStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := func(call int) time.Duration {
			if call == 100 {
				return time.Second
			}
			return 0
		}
		s, err := openLoop(t.Context(), plan{rate: 100, lasting: 4 * time.Second, sleep: time.Sleep}, []caller{sleeper(stall)})
		if err != nil || s.done != 400 {
			t.Fatalf("%d calls, %v; want 400", s.done, err)
		}
		// 100 of 400 calls began in that second, evenly late.
		near(t, "p99", s.latency.quantile(0.99), 960*time.Millisecond)
		near(t, "the median of the late", s.latency.quantile(0.875), 500*time.Millisecond)
		near(t, "the least late", s.latency.quantile(301.0/400), 10*time.Millisecond)

		closed, err := closedLoop(t.Context(), 3995*time.Millisecond, []caller{sleeper(func(call int) time.Duration {
			return max(10*time.Millisecond, stall(call))
		})})
		if err != nil || closed.done != 301 {
			t.Fatalf("%d calls, %v; want 301", closed.done, err)
		}
		near(t, "p99 of a closed loop, which hides the stall,", closed.latency.quantile(0.99), 10*time.Millisecond)
	})
}

func TestOpenLoopWaitsForTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Five times as many calls as the caller can do.
		s, err := openLoop(t.Context(), plan{rate: 50, lasting: time.Second, sleep: time.Sleep}, []caller{sleeper(always(100 * time.Millisecond))})
		if err != nil || s.done != 50 {
			t.Fatalf("%d calls, %v; want 50", s.done, err)
		}
		if want := 5 * time.Second; s.elapsed != want {
			t.Errorf("took %v, want %v", s.elapsed, want)
		}
		near(t, "the last call", s.latency.quantile(1), 5*time.Second-980*time.Millisecond)
	})
}

// TestHighRatesAreTimedFromWhenTheyWereDue has more calls than the pacer wakes
// up for.
func TestHighRatesAreTimedFromWhenTheyWereDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleeps := 0
		sleep := func(d time.Duration) { sleeps++; time.Sleep(d) }
		s, err := openLoop(t.Context(), plan{rate: 100_000, lasting: 100 * time.Millisecond, sleep: sleep}, []caller{sleeper(always(0))})
		if err != nil || s.done != 10_000 {
			t.Fatalf("%d calls, %v; want 10,000", s.done, err)
		}
		if most := int(100 * time.Millisecond / leastSleep); sleeps > most {
			t.Errorf("the pacer slept %d times, want %d at most", sleeps, most)
		}
		if got := s.latency.quantile(1); got > leastSleep {
			t.Errorf("the pacing made a call %v late, want %v at most", got, leastSleep)
		}
		if got := s.latency.quantile(0.5); got < leastSleep/4 {
			t.Errorf("the median is %v: what was due during a sleep is not timed from then", got)
		}
	})
}

func TestOpenLoopEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 995*time.Millisecond)
		defer cancel()
		s, err := openLoop(ctx, plan{rate: 10, lasting: time.Minute, sleep: time.Sleep}, []caller{sleeper(always(0))})
		if err != nil || s.done != 10 {
			t.Errorf("%d calls before the end, %v; want 10", s.done, err)
		}
	})
}

func TestFailedCallEndsTheLoad(t *testing.T) {
	broken := errors.New("the gateway is gone")
	callers := []caller{caller(func() (int, error) { return 0, broken })}
	if _, err := openLoop(t.Context(), plan{rate: 1000, lasting: 10 * time.Millisecond, sleep: time.Sleep}, callers); !errors.Is(err, broken) {
		t.Errorf("open loop: %v, want %v", err, broken)
	}
	if _, err := closedLoop(t.Context(), time.Millisecond, callers); !errors.Is(err, broken) {
		t.Errorf("closed loop: %v, want %v", err, broken)
	}
}

func TestManyFailuresAreOneError(t *testing.T) {
	broken := errors.New("the gateway is gone")
	callers := make([]caller, 100)
	for i := range callers {
		callers[i] = caller(func() (int, error) { return 0, broken })
	}
	if _, err := closedLoop(t.Context(), time.Millisecond, callers); !errors.Is(err, broken) || err.Error() != "the gateway is gone (and 99 more like it)" {
		t.Errorf("error is %q, want one and how many more", err)
	}
}

func TestPreciseSleep(t *testing.T) {
	const d = 3 * time.Millisecond
	start := time.Now()
	preciseSleep(d)
	if got := time.Since(start); got < d {
		t.Errorf("slept %v, want %v at least", got, d)
	}
}
