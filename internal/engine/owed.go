package engine

import (
	"context"
	"sync"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// owed has the ends of sessions that have no place in the log yet, at most one for
// each client that was online: without them a client would connect twice in the event
// log, or stay online for ever.
type owed struct {
	mu   sync.Mutex
	ends map[gateway.ClientID]*record.Disconnected
}

// add takes an end of a session, unless it has a later one of the client.
func (o *owed) add(d *record.Disconnected) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ends == nil {
		o.ends = make(map[gateway.ClientID]*record.Disconnected)
	}
	if had := o.ends[d.Client]; had == nil || had.Epoch < d.Epoch {
		o.ends[d.Client] = d
	}
}

func (o *owed) takeAll() map[gateway.ClientID]*record.Disconnected {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.ends
	o.ends = nil
	return all
}

// payOwed puts the ends of sessions that are owed into the queue. It waits for room
// until ctx ends.
func (e *Engine) payOwed(ctx context.Context) {
	for _, d := range e.owed.takeAll() {
		o := lazy(d, false)
		o.owed = &e.owed
		if e.queue.push(ctx, o) != nil {
			e.owed.add(d)
		}
	}
}
