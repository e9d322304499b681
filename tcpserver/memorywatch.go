package tcpserver

import (
	"context"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// memoryWatch measures the process's memory once a second, so that an accept costs
// one atomic load. Above the limit the server refuses new connections and keeps the
// open ones.
type memoryWatch struct {
	limit uint64 // bytes; 0 = none
	used  func() uint64
	above atomic.Bool
}

const memoryInterval = time.Second

// watch measures until ctx ends.
func (m *memoryWatch) watch(ctx context.Context) {
	if m.limit == 0 {
		return
	}
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		m.above.Store(m.used() > m.limit)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (m *memoryWatch) exhausted() bool { return m.above.Load() }

// memoryInUse returns a function that measures the memory that GOMEMLIMIT bounds:
// all memory that the runtime has from the system and has not returned.
func memoryInUse() func() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	return func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64() - sample[1].Value.Uint64()
	}
}
