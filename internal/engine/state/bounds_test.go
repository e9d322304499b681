package state

import (
	"testing"

	"github.com/longwire/longwire/gateway"
)

// The queues that are full follow the bound, when a start has changed it.
func TestFullQueuesFollowTheBound(t *testing.T) {
	for _, size := range []Caches{CachesFull, CachesEmpty} {
		w := newWorld(t)
		w.size = size
		w.restart()
		one := gateway.Audience{Client: "a"}
		w.record(1, 1, bounded(2), w.register("a"), w.accept("1", one), w.accept("2", one))
		for _, step := range []struct {
			bound  int
			failed int
		}{{2, 1}, {3, 0}, {1, 1}, {2, 1}} {
			id := gateway.MessageID(rune('a' + w.Machine.State.Pos))
			counts := w.record(1, 1, bounded(step.bound), w.accept(id, gateway.Audience{All: true}))[1].Receipt.Message.Counts
			if counts.Failed != step.failed {
				t.Errorf("with room for %d messages and 2 queued: %+v, want %d failed", step.bound, counts, step.failed)
			}
		}
		// Two above the bound are still full when one of them ends.
		w.record(1, 1, w.settle("1", "a", gateway.Acked, ""), bounded(3), w.accept("3", one), w.accept("4", one), bounded(2), w.settle("2", "a", gateway.Acked, ""))
		if counts := w.record(1, 1, w.accept("5", gateway.Audience{All: true}))[0].Receipt.Message.Counts; counts.Failed != 1 {
			t.Errorf("with 2 of 3 left in a queue for 2: %+v, want one failed", counts)
		}
		w.verify()
	}
}
