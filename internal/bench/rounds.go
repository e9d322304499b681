package bench

import (
	"context"
	"fmt"
	"time"
)

// rounds is how often the two sides of a comparison take turns.
const rounds = 3

// sample is what one side did in one round.
type sample struct {
	done    int
	elapsed time.Duration
	cpu     time.Duration // of the process under test; 0 = not known
	latency latencies
}

func (s *sample) perSecond() float64 { return float64(s.done) / s.elapsed.Seconds() }

// cpuEach is the CPU time for one, in microseconds.
func (s *sample) cpuEach() float64 {
	return float64(s.cpu.Nanoseconds()) / 1e3 / float64(max(s.done, 1))
}

// side does one round of about d.
type side func(ctx context.Context, d time.Duration) (sample, error)

// match is the rounds of two sides that took turns.
type match struct{ ours, theirs []sample }

// takeTurns lets both sides warm up and then play their rounds.
func (b *bench) takeTurns(ctx context.Context, ours, theirs side) (match, error) {
	var m match
	each := b.Duration / rounds
	for round := -1; round < rounds; round++ {
		d := each
		if round < 0 {
			d /= 2 // the warm-up, which does not count
		}
		a, err := ours(ctx, d)
		if err != nil {
			return m, err
		}
		o, err := theirs(ctx, d)
		if err != nil {
			return m, err
		}
		if round < 0 {
			continue
		}
		m.ours, m.theirs = append(m.ours, a), append(m.theirs, o)
	}
	return m, ctx.Err()
}

// ratio is the median, over the rounds, of value(ours) / value(theirs).
func (m match) ratio(value func(*sample) float64) float64 {
	list := make([]float64, len(m.ours))
	for i := range m.ours {
		list[i] = value(&m.ours[i]) / value(&m.theirs[i])
	}
	return median(list)
}

// medianOf is the median of one side's rounds.
func medianOf(s []sample, value func(*sample) float64) float64 {
	list := make([]float64, len(s))
	for i := range s {
		list[i] = value(&s[i])
	}
	return median(list)
}

// describe is one side in words: rate, CPU where it is known, latency.
func describe(s []sample) string {
	var all latencies
	for i := range s {
		all.add(&s[i].latency)
	}
	text := fmt.Sprintf("%s/s", thousands(medianOf(s, (*sample).perSecond)))
	if cpu := medianOf(s, (*sample).cpuEach); cpu > 0 {
		text += fmt.Sprintf(", %.0f µs CPU", cpu)
	}
	if all.total() > 0 {
		text += fmt.Sprintf(", p50 %s, p99 %s", brief(all.quantile(0.5)), brief(all.quantile(0.99)))
	}
	return text
}
