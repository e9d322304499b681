package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Two settings of Go's runtime fit a server with a small heap and a log better than its
// defaults. Whoever sets GOMAXPROCS or GOGC has decided, and keeps that.
const (
	// moreProcs are processors of the runtime beyond the CPUs. A goroutine that syncs a
	// file keeps its processor until the runtime notices: with two CPUs that is half of
	// the process, many times a second.
	moreProcs = 1
	// leastGarbage is how much garbage there must be for a collection, in bytes. By
	// default it is as much as is in use, and a gateway with some thousand devices has
	// 20 MiB in use and allocates 100 MiB a second.
	leastGarbage = 64 << 20
)

// addProcs gives the runtime its processors. The number of CPUs counts, not a share of
// them: above the share of a container the kernel stops the process for a while.
func addProcs() {
	n := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" && n == runtime.NumCPU() {
		runtime.GOMAXPROCS(n + moreProcs)
	}
}

// collector sets how much the heap may grow between two garbage collections. The memory
// limit counts all the same.
type collector struct {
	fixed   bool // by GOGC
	percent int
	live    []metrics.Sample
}

func newCollector() *collector {
	return &collector{fixed: os.Getenv("GOGC") != "", percent: defaultPercent, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
}

const defaultPercent = 100

// adjust follows the live heap of the last collection. It sets nothing for a small
// change, because setting stops the program for a moment.
func (c *collector) adjust() {
	if c.fixed {
		return
	}
	metrics.Read(c.live)
	want := percentFor(c.live[0].Value.Uint64())
	if 4*want >= 5*c.percent || 5*want <= 4*c.percent {
		debug.SetGCPercent(want)
		c.percent = want
	}
}

// percentFor returns the growth for a live heap of so many bytes, in percent of it.
func percentFor(live uint64) int {
	const leastLive = 4 << 20 // less is not measured yet, or the least heap of the runtime
	return int(max(defaultPercent, leastGarbage*100/max(live, leastLive)))
}
