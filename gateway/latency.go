package gateway

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencyBuckets is the number of buckets of Latencies: they reach to an hour, and the
// last one has everything above.
const latencyBuckets = 240

// Latencies counts durations in buckets of microseconds. A bucket is at most an eighth as
// wide as its durations are long. Any goroutine may add.
type Latencies struct{ counts [latencyBuckets]atomic.Uint64 }

// LatencyCounts is a snapshot of Latencies, or the difference of two.
type LatencyCounts [latencyBuckets]uint64

// latencyBucket returns the bucket of a duration; a negative one counts as 0.
func latencyBucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 16 {
		return int(us)
	}
	shift := bits.Len64(us) - 4
	return min(shift*8+int(us>>shift), latencyBuckets-1)
}

// latencyBound returns the duration at which a bucket ends.
func latencyBound(i int) time.Duration {
	if i < 16 {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/8 - 1
	return time.Duration(i-shift*8+1) << shift * time.Microsecond
}

func (l *Latencies) add(d time.Duration) { l.counts[latencyBucket(d)].Add(1) }

// Snapshot returns the counts.
func (l *Latencies) Snapshot() (c LatencyCounts) {
	for i := range l.counts {
		c[i] = l.counts[i].Load()
	}
	return c
}

// Sub returns the counts since an earlier snapshot.
func (c *LatencyCounts) Sub(before *LatencyCounts) (d LatencyCounts) {
	for i := range c {
		d[i] = c[i] - before[i]
	}
	return d
}

// Quantile returns the duration that the share q (0 to 1) of the observations did not
// exceed, rounded up by at most an eighth; 0 without observations.
func (c *LatencyCounts) Quantile(q float64) time.Duration {
	total := uint64(0)
	for _, n := range c {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(total)), total-1)
	for i, n := range c {
		if rank < n {
			return latencyBound(i)
		}
		rank -= n
	}
	return latencyBound(latencyBuckets - 1)
}
