package bench

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// sample is the work of one side in one round.
type sample struct {
	done    int
	elapsed time.Duration
	cpu     time.Duration // of the process under test; 0 = not known
	latency recorder
}

func (s *sample) perSecond() float64 { return float64(s.done) / s.elapsed.Seconds() }

// cpuEach is the CPU time of one call, in microseconds; NaN if it is not known.
func (s *sample) cpuEach() float64 {
	if s.cpu == 0 {
		return math.NaN()
	}
	return float64(s.cpu.Nanoseconds()) / 1e3 / float64(max(s.done, 1))
}

// caller sends one request after another and waits for each answer. One goroutine
// at a time uses it.
type caller interface {
	call() (done int, err error) // done counts the pushes, lines or deliveries of the call
}

// callerFunc is a caller without state.
type callerFunc func() (int, error)

func (f callerFunc) call() (int, error) { return f() }

// callers put one process under load.
type callers struct {
	target  *target // the process whose CPU time is counted; nil = none
	all     []caller
	deliver bool                        // a round also waits for the acks of its messages
	posts   func(context.Context) error // and for this; nil = nothing
}

// newCallers has no callers yet.
func (r *run) newCallers(t *target) *callers { return &callers{target: t} }

// play makes each caller call for d, the next time as soon as it has its answer: a
// closed loop, which finds the highest rate. It hides stalls, because no caller
// calls while all wait.
func (c *callers) play(ctx context.Context, d time.Duration) (sample, error) {
	return c.counted(ctx, func() (sample, error) { return closedLoop(ctx, d, c.all) })
}

// offer begins calls at a fixed rate for d, whether the earlier ones are answered
// or not: an open loop. Latencies count from the planned begin of a call, so a
// stall shows in all calls that it delays.
func (c *callers) offer(ctx context.Context, rate float64, d time.Duration) (sample, error) {
	return c.counted(ctx, func() (sample, error) {
		return openLoop(ctx, plan{rate: rate, lasting: d, sleep: preciseSleep}, c.all)
	})
}

// counted adds the target's CPU time. The round ends when the ack of each message
// of do is stored, so that rate and CPU time are those of the whole delivery.
func (c *callers) counted(ctx context.Context, do func() (sample, error)) (s sample, err error) {
	if c.target == nil {
		return do()
	}
	var before stats
	if c.deliver {
		if err := c.target.get(ctx, "/v1/stats", &before); err != nil {
			return s, err
		}
	}
	cpu, err := c.target.cpuDuring(func() (err error) {
		if s, err = do(); err == nil && c.deliver {
			start := time.Now()
			err = c.target.waitForAcks(ctx, &before)
			if err == nil && c.posts != nil {
				err = c.posts(ctx)
			}
			s.elapsed += time.Since(start)
		}
		return err
	})
	s.cpu = cpu
	return s, err
}

// closedLoop makes every caller call until d has passed, and at least once; it
// completes the last calls.
func closedLoop(ctx context.Context, d time.Duration, all []caller) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return together(all, func(c caller, s *sample) error {
		for s.done == 0 || ctx.Err() == nil {
			if err := s.count(c, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// count makes c call once and times it from start.
func (s *sample) count(c caller, start time.Time) error {
	done, err := c.call()
	if err != nil {
		return err
	}
	s.latency.observe(time.Since(start))
	s.done += done
	return nil
}

// plan is the schedule of the calls of an open loop.
type plan struct {
	rate    float64 // calls per second
	lasting time.Duration
	sleep   func(time.Duration)
}

// calls is the number of calls in the plan; at least one.
func (p *plan) calls() int { return max(1, int(p.rate*p.lasting.Seconds())) }

// at is when call i begins after the first.
func (p *plan) at(i int) time.Duration {
	return time.Duration(math.Round(float64(i) / p.rate * float64(time.Second)))
}

// leastSleep keeps the pacing of high rates from taking too much CPU time. Calls
// that become due during a sleep begin together, but are timed from their planned
// begin.
const leastSleep = 200 * time.Microsecond

// pace sends the planned begin of each call to due at that time. It closes due at
// the end, or early when ctx ends. due must have room for all calls.
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

// openLoop begins calls by the plan. A call that finds all callers busy waits for
// one, which counts as latency. openLoop returns when all calls are answered.
func openLoop(ctx context.Context, p plan, all []caller) (sample, error) {
	due := make(chan time.Time, p.calls())
	var pacer sync.WaitGroup
	pacer.Go(func() { p.pace(ctx, due) })
	defer pacer.Wait()
	return together(all, func(c caller, s *sample) error {
		for at := range due {
			if err := s.count(c, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs work for every caller and adds up the samples.
func together(all []caller, work func(caller, *sample) error) (sample, error) {
	samples, errs := make([]sample, len(all)), make([]error, len(all))
	start := time.Now()
	var working sync.WaitGroup
	for i, c := range all {
		working.Go(func() { errs[i] = work(c, &samples[i]) })
	}
	working.Wait()
	total := sample{elapsed: time.Since(start)}
	for i := range samples {
		total.done += samples[i].done
		total.latency.add(&samples[i].latency)
	}
	return total, firstOf(errs)
}

// firstOf is one error for many callers, which usually fail alike.
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
