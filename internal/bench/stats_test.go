package bench

import (
	"math/rand/v2"
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

func TestBucketHoldsItsDuration(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		d := time.Duration(random.Uint64() >> (1 + random.IntN(60)))
		b := bucketOf(d)
		if end := endOf(b); float64(d) > end {
			t.Fatalf("%d ns is in bucket %d, which ends at %v", d, b, end)
		}
		if d > 4 && endOf(b) > 1.26*float64(d) {
			t.Fatalf("%d ns is in bucket %d, which ends at %v: more than a quarter above", d, b, endOf(b))
		}
	}
}

func TestBucketsRise(t *testing.T) {
	for i := 1; i < len(latencies{}.counts); i++ {
		if endOf(i) <= endOf(i-1) {
			t.Errorf("bucket %d ends at %v, the one before it at %v", i, endOf(i), endOf(i-1))
		}
	}
}

func TestQuantile(t *testing.T) {
	var l, other latencies
	if got := l.quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v, want 0", got)
	}
	for range 99 {
		l.observe(time.Millisecond)
	}
	other.observe(time.Second)
	l.add(&other)
	if got := l.total(); got != 100 {
		t.Errorf("%d observations, want 100", got)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration // and at most a quarter above
	}{{0, time.Millisecond}, {0.5, time.Millisecond}, {0.99, time.Millisecond}, {1, time.Second}} {
		if got := l.quantile(c.q); got < c.want || got > c.want+c.want/4 {
			t.Errorf("quantile %v is %v, want about %v", c.q, got, c.want)
		}
	}
}

func TestFormatting(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{thousands(0), "0"},
		{thousands(999.6), "1,000"},
		{thousands(1234567), "1,234,567"},
		{thousands(-12345), "-12,345"},
		{thousands(-123), "-123"},
		{brief(0), "0"},
		{brief(1536 * time.Nanosecond), "1.54 µs"},
		{brief(14680064 * time.Nanosecond), "14.7 ms"},
		{brief(83 * time.Second), "83 s"},
		{ratio.text(0.4461), "0.446 ×"},
		{bytesEach.text(4.5 * 1024), "4.5 KiB"},
		{bytesEach.text(853), "853 B"},
		{bytesEach.text(-2048), "-2048 B"},
		{microseconds.text(17.84), "17.8 µs"},
		{milliseconds.text(0.321), "0.32 ms"},
		{seconds.text(2.5), "2.50 s"},
		{count.text(1), "1.00"},
		{ratio.goal(0.4, true), "≥ 0.400 ×"},
		{microseconds.goal(20, false), "≤ 20.0 µs"},
		{seconds.goal(0, false), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
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
	m := match{ours: second(500, 50, 10), theirs: second(1000, 100, 1000)}
	if got, want := m.ratio((*sample).perSecond), 0.5; got != want {
		t.Errorf("ratio is %v, want %v", got, want)
	}
	if got, want := describe(m.theirs), "1,000/s"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}

func TestDescribeTellsCPUAndLatencyWhereKnown(t *testing.T) {
	s := sample{done: 100, elapsed: time.Second, cpu: 5 * time.Millisecond}
	s.latency.observe(1 << 20)
	if got, want := describe([]sample{s}), "100/s, 50 µs CPU, p50 1.31 ms, p99 1.31 ms"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}
