package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// latencies is a histogram of durations with a bounded error: each doubling is
// cut into steps of the same width, so that a quantile is never too low and at
// most 1/steps too high. It takes 17 KiB however many it counts. Longer than
// longest counts as longest.
type latencies struct{ counts [buckets]uint64 }

const (
	stepBits = 6
	steps    = 1 << stepBits
	longest  = 128 * time.Second
	buckets  = (37 - stepBits + 2) * steps // 2^37 ns is longest, rounded up
)

func (l *latencies) observe(d time.Duration) { l.counts[bucketOf(min(d, longest))]++ }

// bucketOf puts d by its highest bit and the stepBits bits below that. Below
// 2*steps every nanosecond has a bucket.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	shift := max(bits.Len64(n)-1-stepBits, 0)
	return shift*steps + int(n>>shift)
}

// endOf is the longest duration in the bucket.
func endOf(bucket int) time.Duration {
	if bucket < 2*steps {
		return time.Duration(bucket)
	}
	shift := bucket/steps - 1
	return time.Duration((steps+bucket%steps+1)<<shift - 1)
}

func (l *latencies) add(o *latencies) {
	for i, n := range o.counts {
		l.counts[i] += n
	}
}

func (l *latencies) total() (n uint64) {
	for _, c := range l.counts {
		n += c
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
		if seen += n; seen >= rank {
			return endOf(i)
		}
	}
	return 0
}

// ms is a quantile in milliseconds.
func (l *latencies) ms(q float64) float64 { return float64(l.quantile(q)) / 1e6 }

// MarshalJSON writes the buckets that are not empty, with their counts.
func (l *latencies) MarshalJSON() ([]byte, error) {
	pairs := [][2]uint64{}
	for i, n := range l.counts {
		if n > 0 {
			pairs = append(pairs, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON adds what MarshalJSON has written.
func (l *latencies) UnmarshalJSON(b []byte) error {
	var pairs [][2]uint64
	if err := json.Unmarshal(b, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		if p[0] >= buckets {
			return fmt.Errorf("a histogram has %d buckets and none with number %d", buckets, p[0])
		}
		l.counts[p[0]] += p[1]
	}
	return nil
}
