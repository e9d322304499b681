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

// match is the rounds of several sides that took turns, ours first.
type match [][]sample

// takeTurns lets all sides warm up and then play their rounds.
func (b *bench) takeTurns(ctx context.Context, sides ...side) (match, error) {
	m := make(match, len(sides))
	for round := -1; round < rounds; round++ {
		d := b.Duration / rounds
		if round < 0 {
			d /= 2 // the warm-up, which does not count
		}
		for i, play := range sides {
			s, err := play(ctx, d)
			if err != nil {
				return m, err
			}
			if round >= 0 {
				m[i] = append(m[i], s)
			}
		}
	}
	return m, ctx.Err()
}

// ratio is the median, over the rounds, of value(ours) / value(the side's).
func (m match) ratio(side int, value func(*sample) float64) float64 {
	list := make([]float64, len(m[0]))
	for i := range m[0] {
		list[i] = value(&m[0][i]) / value(&m[side][i])
	}
	return median(list)
}

// latency is a side's over all rounds.
func (m match) latency(side int) *latencies {
	var all latencies
	for i := range m[side] {
		all.add(&m[side][i].latency)
	}
	return &all
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
