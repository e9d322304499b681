package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// sample is the work of one side in one round.
type sample struct {
	done    int
	elapsed time.Duration
	cpu     time.Duration // of the process under test; 0 = not known
	latency recorder
}

func (s *sample) perSecond() Figure { return Figure(float64(s.done) / s.elapsed.Seconds()) }

// cpuEach is the CPU time of one call, in microseconds.
func (s *sample) cpuEach() Figure {
	if s.cpu == 0 {
		return unknown
	}
	return Figure(float64(s.cpu.Nanoseconds()) / 1e3 / float64(max(s.done, 1)))
}

// percent is the CPU time as a share of one core.
func (s *sample) percent() Figure { return Figure(100 * s.cpu.Seconds() / s.elapsed.Seconds()) }

func (s *sample) seconds() Figure { return Figure(s.elapsed.Seconds()) }

// timed is a sample of n calls that do makes, with the CPU time of the process.
func (t *target) timed(n int, do func() error) (s sample, err error) {
	before, start := processCPU(t.pid), time.Now()
	err = do()
	s.done, s.elapsed, s.cpu = n, time.Since(start), max(0, processCPU(t.pid)-before)
	return s, err
}

// caller sends one request and waits for the answer. done counts the pushes, lines
// or deliveries of the call. One goroutine at a time uses it.
type caller func() (done int, err error)

// callers put one process under load.
type callers struct {
	target  *target // the process whose CPU time is counted; nil = none
	all     []caller
	deliver bool // a round also waits for the acks of its messages, and for the posts of a webhook
}

// play makes each caller call for d, the next time as soon as it has its answer: a
// closed loop, which finds the highest rate. It hides stalls, because no caller
// calls while all wait.
func (c *callers) play(ctx context.Context, d time.Duration) (sample, error) {
	return c.counted(ctx, func() (sample, error) { return closedLoop(ctx, d, c.all) })
}

// offer begins calls at a fixed rate for d, whether the earlier ones are answered
// or not: an open loop. Latencies count from the planned begin of a call, so a
// stall shows in all calls that it delays.
func (c *callers) offer(ctx context.Context, rate Figure, d time.Duration) (sample, error) {
	p := plan{rate: float64(rate), lasting: d, sleep: preciseSleep}
	return c.counted(ctx, func() (sample, error) { return openLoop(ctx, p, c.all) })
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
	whole, err := c.target.timed(0, func() (err error) {
		if s, err = do(); err != nil || !c.deliver {
			return err
		}
		start := time.Now()
		err = c.target.settle(ctx, &before)
		s.elapsed += time.Since(start)
		return err
	})
	s.cpu = whole.cpu
	return s, err
}

// settle waits until the ack of each message accepted since before is stored and, if
// a webhook posts acks, posted.
func (t *target) settle(ctx context.Context, before *stats) error {
	acked := 0
	err := t.until(ctx, "the acks of all messages", func(now *stats) bool {
		acked = now.Settled["acked"]
		return acked-before.Settled["acked"] >= now.Accepted-before.Accepted
	})
	if err == nil && t.posted != nil {
		err = t.posted.await(ctx, acked)
	}
	return err
}

// closedLoop makes every caller call until d has passed, and at least once; it
// completes the last calls.
func closedLoop(ctx context.Context, d time.Duration, all []caller) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return loop(all, func(call caller, s *sample) error {
		for s.done == 0 || ctx.Err() == nil {
			if err := s.count(call, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// count makes one call and times it from start.
func (s *sample) count(call caller, start time.Time) error {
	done, err := call()
	if err == nil {
		s.latency.observe(time.Since(start))
		s.done += done
	}
	return err
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
	return loop(all, func(call caller, s *sample) error {
		for at := range due {
			if err := s.count(call, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// loop runs work for every caller and adds up the samples.
func loop(all []caller, work func(caller, *sample) error) (total sample, err error) {
	samples, start := make([]sample, len(all)), time.Now()
	err = together(len(all), func(i int) error { return work(all[i], &samples[i]) })
	total.elapsed = time.Since(start)
	for i := range samples {
		total.done += samples[i].done
		total.latency.add(&samples[i].latency)
	}
	return total, err
}

// together calls do for 0 to n-1 at the same time. It returns one error for all,
// which usually fail alike.
func together(n int, do func(int) error) (err error) {
	ended, failed := make(chan error, n), 0
	for i := range n {
		go func() { ended <- do(i) }() // ends with do
	}
	for range n {
		if e := <-ended; e != nil {
			failed++
			err = cmp.Or(err, e)
		}
	}
	if failed > 1 {
		return fmt.Errorf("%w (and %d more like it)", err, failed-1)
	}
	return err
}

// inParallel calls do for 0 to n-1, some at a time. After an error it begins no
// further calls.
func inParallel(atOnce, n int, do func(int) error) error {
	var begun atomic.Int64
	return together(min(atOnce, n), func(int) (err error) {
		for i := begun.Add(1); err == nil && int(i) <= n; i = begun.Add(1) {
			if err = do(int(i) - 1); err != nil {
				begun.Store(int64(n))
			}
		}
		return err
	})
}
