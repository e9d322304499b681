package gateway

import (
	"testing"
	"time"
)

// TestAQuantileIsAnEighthTooLargeAtMost: whatever the durations are.
func TestAQuantileIsAnEighthTooLargeAtMost(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < time.Hour; d += d/50 + time.Microsecond {
		i := latencyBucket(d)
		if i < last || i >= latencyBuckets {
			t.Fatalf("%v is in bucket %d, behind %d", d, i, last)
		}
		last = i
		var l Latencies
		l.add(d)
		c := l.Snapshot()
		if q := c.Quantile(0.5); q < d || q > d+d/8+time.Microsecond {
			t.Fatalf("%v is shown as %v", d, q)
		}
	}
	for _, d := range []time.Duration{-time.Hour, 1000 * time.Hour} {
		var l Latencies
		l.add(d) // and no panic
	}
}

func TestQuantiles(t *testing.T) {
	var l Latencies
	before := l.Snapshot()
	if before.Quantile(0.99) != 0 {
		t.Error("a quantile of nothing")
	}
	for range 98 {
		l.add(time.Millisecond)
	}
	l.add(time.Second)
	l.add(time.Second)
	c := l.Snapshot()
	c = c.Sub(&before)
	if p50, p99 := c.Quantile(0.5), c.Quantile(0.99); p50 < time.Millisecond || p50 > 1130*time.Microsecond || p99 < time.Second || p99 > 1130*time.Millisecond {
		t.Errorf("p50 %v, p99 %v; want 1 ms and 1 s", p50, p99)
	}
}
