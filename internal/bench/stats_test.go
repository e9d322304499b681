package bench

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestRatioIsTheMedianOfTheRounds(t *testing.T) {
	second := func(done ...int) (s []sample) {
		for _, n := range done {
			s = append(s, sample{done: n, elapsed: time.Second})
		}
		return s
	}
	// In the second round something else slowed down both, in the third our side only.
	m := match{second(500, 50, 10), second(1000, 100, 1000)}
	if got, want := m.ratio(1, (*sample).perSecond), 0.5; got != want {
		t.Errorf("ratio is %v, want %v", got, want)
	}
	if got, want := describe(m[1]), "1,000/s"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}

func TestDescribeTellsCPUAndLatencyWhereKnown(t *testing.T) {
	s := sample{done: 100, elapsed: time.Second, cpu: 5 * time.Millisecond}
	s.latency.observe(1000 * time.Microsecond)
	if got, want := describe([]sample{s}), "100/s, 50 µs CPU, p50 1.01 ms, p99 1.01 ms"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}
