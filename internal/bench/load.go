package bench

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// caller does one request after another and waits for each answer. One
// goroutine at a time uses it.
type caller interface {
	call() error
}

// callerFunc is a caller that has nothing of its own.
type callerFunc func() error

func (f callerFunc) call() error { return f() }

// load is callers of one process under test.
type load struct {
	target  *target // whose CPU time is counted; nil = nobody's
	callers []caller
	closers []func() error
}

func (l *load) close() {
	for _, c := range l.closers {
		_ = c()
	}
}

// play has each caller call for d, the next time as soon as it has its answer:
// a closed loop, which finds the most that can be done. It hides stalls, for
// nobody calls while all wait.
func (l *load) play(ctx context.Context, d time.Duration) (sample, error) {
	return l.counted(func() (sample, error) { return closedLoop(ctx, d, l.callers) })
}

// offer has calls begin at a fixed rate for d, whether the ones before are
// answered or not: an open loop. Latencies count from the time at which a call
// was to begin, so a stall is seen by all the calls that it held up.
func (l *load) offer(ctx context.Context, rate float64, d time.Duration) (sample, error) {
	return l.counted(func() (sample, error) {
		return openLoop(ctx, plan{rate: rate, lasting: d, sleep: preciseSleep}, l.callers)
	})
}

// counted adds the CPU time that the target takes.
func (l *load) counted(do func() (sample, error)) (s sample, err error) {
	if l.target == nil {
		return do()
	}
	cpu, err := l.target.cpuDuring(func() (err error) { s, err = do(); return err })
	s.cpu = cpu
	return s, err
}

// closedLoop has every caller call until d has passed, and once at least; the
// last call is completed.
func closedLoop(ctx context.Context, d time.Duration, callers []caller) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return together(callers, func(c caller, s *sample) error {
		for s.done == 0 || ctx.Err() == nil {
			start := time.Now()
			if err := c.call(); err != nil {
				return err
			}
			s.latency.observe(time.Since(start))
			s.done++
		}
		return nil
	})
}

// plan is when the calls of an open loop begin.
type plan struct {
	rate    float64 // calls per second
	lasting time.Duration
	sleep   func(time.Duration)
}

// calls is how many the plan has; at least one.
func (p *plan) calls() int { return max(1, int(p.rate*p.lasting.Seconds())) }

// at is when call i begins after the first.
func (p *plan) at(i int) time.Duration {
	return time.Duration(math.Round(float64(i) / p.rate * float64(time.Second)))
}

// leastSleep keeps the pacing of high rates from taking the time that is to be
// measured: what is due meanwhile begins together, and is timed from when it was
// to begin all the same.
const leastSleep = 200 * time.Microsecond

// pace sends the time at which each call is to begin to due, when it is, and
// closes it in the end, or early when ctx ends. due must have room for all.
func (p *plan) pace(ctx context.Context, due chan<- time.Time) {
	defer close(due)
	start := time.Now()
	for i := range p.calls() {
		at := start.Add(p.at(i))
		if wait := time.Until(at); wait > 0 {
			p.sleep(max(wait, leastSleep))
		}
		if ctx.Err() != nil {
			return
		}
		due <- at
	}
}

// openLoop has calls begin by the plan. A call that finds all callers busy
// waits for one, which counts as latency. It ends when all are answered.
func openLoop(ctx context.Context, p plan, callers []caller) (sample, error) {
	due := make(chan time.Time, p.calls())
	var pacer sync.WaitGroup
	pacer.Go(func() { p.pace(ctx, due) })
	defer pacer.Wait()
	return together(callers, func(c caller, s *sample) error {
		for at := range due {
			if err := c.call(); err != nil {
				return err
			}
			s.latency.observe(time.Since(at))
			s.done++
		}
		return nil
	})
}

// together has every caller do its work and adds up.
func together(callers []caller, work func(caller, *sample) error) (sample, error) {
	samples, errs := make([]sample, len(callers)), make([]error, len(callers))
	start := time.Now()
	var all sync.WaitGroup
	for i, c := range callers {
		all.Go(func() { errs[i] = work(c, &samples[i]) })
	}
	all.Wait()
	total := sample{elapsed: time.Since(start)}
	for i := range samples {
		total.done += samples[i].done
		total.latency.add(&samples[i].latency)
	}
	return total, firstOf(errs)
}

// firstOf is one error for many callers: theirs are all alike.
func firstOf(errs []error) error {
	n := 0
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if n++; first == nil {
			first = err
		}
	}
	if n > 1 {
		return fmt.Errorf("%w (and %d more like it)", first, n-1)
	}
	return first
}
