package bench

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"
)

// median of values; 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// latencies is a histogram of durations: four buckets for each doubling, so a
// quantile is at most a quarter too high. It takes 1 KiB however many it counts.
type latencies struct{ counts [4 * 64]uint32 }

func (l *latencies) observe(d time.Duration) { l.counts[bucketOf(d)]++ }

// bucketOf puts d by its highest bit and the two bits below that.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 1))
	top := bits.Len64(n) - 1
	below := (n << 2 >> top) & 3
	return top*4 + int(below)
}

// endOf is the first duration, in nanoseconds, that is above the bucket.
func endOf(bucket int) float64 {
	return math.Ldexp(1+float64(bucket%4+1)/4, bucket/4)
}

func (l *latencies) add(o *latencies) {
	for i, n := range o.counts {
		l.counts[i] += n
	}
}

func (l *latencies) total() (n uint64) {
	for _, c := range l.counts {
		n += uint64(c)
	}
	return n
}

// quantile returns a duration that a share q of the observations did not
// exceed; 0 without any.
func (l *latencies) quantile(q float64) time.Duration {
	total := l.total()
	if total == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(total))))
	seen := uint64(0)
	for i, n := range l.counts {
		if seen += uint64(n); seen >= rank {
			return time.Duration(endOf(i))
		}
	}
	return 0
}

// brief writes a duration with two or three digits.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// thousands writes a whole number with separators.
func thousands(v float64) string {
	s := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	first := 0
	if s[0] == '-' {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// String names the unit in JSON.
func (u unit) String() string {
	return [...]string{ratio: "ratio", bytesEach: "bytes", microseconds: "microseconds", milliseconds: "milliseconds",
		seconds: "seconds", count: "count"}[u]
}

// text writes a value of the unit for people.
func (u unit) text(v float64) string {
	switch u {
	case ratio:
		return fmt.Sprintf("%.3f ×", v)
	case bytesEach:
		if v >= 1000 {
			return fmt.Sprintf("%.1f KiB", v/1024)
		}
		return fmt.Sprintf("%.0f B", v)
	case microseconds:
		return fmt.Sprintf("%.1f µs", v)
	case milliseconds:
		return fmt.Sprintf("%.2f ms", v)
	case seconds:
		return fmt.Sprintf("%.2f s", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// goal writes a budget's bound: short, and with its direction.
func (u unit) goal(v float64, atLeast bool) string {
	switch {
	case v == 0:
		return ""
	case atLeast:
		return "≥ " + u.text(v)
	}
	return "≤ " + u.text(v)
}
