package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

// latencyBounds are the upper bounds of the latency histograms.
var latencyBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// histogram counts durations; any goroutine may add.
type histogram struct {
	counts [len(latencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) snapshot() gateway.Histogram {
	out := gateway.Histogram{Bounds: latencyBounds[:], Counts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		out.Counts[i] = h.counts[i].Load()
	}
	return out
}

// counters are the figures of Stats beside the state's own counts.
type counters struct {
	accept  histogram // from the call of Accept to its return
	sync    histogram // from a record's hand-over to the database to its durability
	records atomic.Uint64
	events  atomic.Uint64
}

// Stats returns a snapshot for metrics.
func (e *Engine) Stats() gateway.StoreStats {
	s := gateway.StoreStats{Engine: "pebble", Durable: !e.opt.NoSync, Records: e.stats.records.Load(),
		Events: e.stats.events.Load(), AcceptNanos: e.stats.accept.snapshot(), SyncNanos: e.stats.sync.snapshot()}
	_ = e.read(func(v *view) (err error) {
		s.Clients, s.Messages, s.Queued = int(v.State.Clients), int(v.State.Messages), int(v.State.Queued)
		s.DiskBytes, s.UplinkBytes = v.diskBytes(), v.State.UplinkBytes()
		disk := e.opt.diskUsage()
		s.DiskFree, s.DiskTotal = disk.free, disk.total
		s.OldestAt, err = e.oldest.at(v)
		return err
	})
	return s
}

// Waiting returns how many events wait for the committer.
func (e *Engine) Waiting() int { return int(e.queue.depth.Load()) }

func (v *view) diskBytes() int64 { return int64(v.inst.DB.Metrics().DiskSpaceUsage()) }

// diskBytes returns the size of the store on disk, 0 when it is closed.
func (e *Engine) diskBytes() int64 {
	n, _ := read(e, func(v *view) (int64, error) { return v.diskBytes(), nil })
	return n
}

// maxOldestScan bounds how many completed messages one call may pass over.
const maxOldestScan = 2_000

// oldest finds the oldest message that is not completed. It has its own lock, because a
// sweep waits for the disk and Stats must not.
type oldest struct {
	mu   sync.Mutex
	next []byte // key of a message before which all are completed; guarded by mu
}

// at returns when that message was accepted. It continues at the place of the last
// call: messages before that are completed for good. Behind a long run of completed
// ones the answer is too early for some calls.
func (o *oldest) at(v *view) (at time.Time, err error) {
	if v.State.Queued == 0 {
		return at, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	at, o.next, err = v.Oldest(o.next, maxOldestScan)
	return at, err
}
