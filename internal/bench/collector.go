package bench

import (
	"math"
	"runtime/metrics"
	"time"
)

// collector is what a process has done for its garbage collections so far.
type collector struct {
	Cycles    uint64    `json:"cycles"`
	Allocated uint64    `json:"allocated_bytes"` // since the process began
	Pauses    latencies `json:"pauses"`          // in which everything stood still
}

// readCollector asks the runtime. It does not ask for the collector's CPU time,
// which the runtime counts by the clock, as if its threads always had a core.
func readCollector() collector {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	c := collector{Cycles: s[0].Value.Uint64(), Allocated: s[1].Value.Uint64()}
	h := s[2].Value.Float64Histogram()
	for i, n := range h.Counts {
		c.Pauses.counts[bucketOf(pauseEnd(h.Buckets[i], h.Buckets[i+1]))] += n
	}
	return c
}

// pauseEnd is the longest pause in a bucket of the runtime's histogram, from and
// to seconds; the outermost have no end.
func pauseEnd(from, to float64) time.Duration {
	if math.IsInf(to, 1) {
		to = max(from, 0)
	}
	return min(time.Duration(to*float64(time.Second)), longest)
}

// since is what has been added to c after before.
func (c *collector) since(before *collector) collector {
	d := collector{Cycles: c.Cycles - before.Cycles, Allocated: c.Allocated - before.Allocated}
	for i := range d.Pauses.counts {
		d.Pauses.counts[i] = c.Pauses.counts[i] - before.Pauses.counts[i]
	}
	return d
}

// liveHeap is how many bytes the last collection has found in use.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
