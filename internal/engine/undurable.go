package engine

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// undurable counts each client's proposals by Settle from their place in the queue
// until they are durable (gateway.Store.Undurable). Clients share a slot by their
// hash, so that an ack costs two atomic additions and no memory: a client may seem
// to have more than it has. A proposal that a failed record has lost no longer
// counts.
type undurable [4096]slot

var slotSeed = maphash.MakeSeed()

// slot has the number of proposals above slotBytes and the bytes of their results
// below.
type slot struct{ atomic.Int64 }

const slotBytes = 40 // bits

func (u *undurable) slot(id gateway.ClientID) *slot {
	return &u[maphash.String(slotSeed, string(id))%uint64(len(u))]
}

func weight(result []byte) int64 { return 1<<slotBytes + int64(len(result)) }

func split(v int64) (n, bytes int) { return int(v >> slotBytes), int(v & (1<<slotBytes - 1)) }

// Undurable returns how many proposals for a client may not be durable, and the
// bytes of their results.
func (e *Engine) Undurable(client gateway.ClientID) (n, bytes int) {
	return split(e.undurable.slot(client).Load())
}

// proposal returns the op of a proposal, which is counted until it is answered.
func (e *Engine) proposal(o gateway.Outcome, urgent bool) op {
	p := lazy(record.NewSettle(o), false)
	p.slot = e.undurable.slot(o.Client)
	n, bytes := split(p.slot.Add(weight(o.Result)))
	p.urgent = urgent || n >= gateway.MaxUndurable/2 || bytes >= gateway.MaxUndurableBytes/2 || len(o.Result) > gateway.MaxLazyResult
	return p
}

// uncount takes a proposal out of its client's count.
func (o *op) uncount() {
	if o.slot != nil {
		o.slot.Add(-weight(o.event.(*record.Settle).Result))
		o.slot = nil
	}
}
