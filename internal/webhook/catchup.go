package webhook

import (
	"context"
	"errors"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// subscribe returns a cursor behind a position of the log.
func (e *endpoint) subscribe(after uint64) (*gateway.Subscription, error) {
	sub, gap, err := e.m.cfg.Gateway.Subscribe(after)
	if err == nil && gap && sub.Position() > after {
		e.missedTo(after, sub.Position())
	}
	return sub, err
}

// read returns those of the next events that a filter selects, none at the end of the log. It
// counts those that were forgotten. All endpoints share the turns to read.
func (e *endpoint) read(ctx context.Context, sub *gateway.Subscription, buf []gateway.Event, filter func([]gateway.Event) ([]gateway.Event, error)) ([]gateway.Event, error) {
	select {
	case e.m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-e.m.slots }()
	before := sub.Position()
	events, err := sub.Read(ctx, buf)
	if errors.Is(err, gateway.ErrOverflow) {
		e.missedTo(before, sub.Position())
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return filter(events)
}

func (e *endpoint) missedTo(from, to uint64) {
	e.m.mu.Lock()
	n, id := e.missedLocked(from, to), e.hook.ID
	e.m.mu.Unlock()
	if n > 0 {
		e.m.cfg.Logger.Warn("events were forgotten before a webhook had them", "webhook", id, "numbers", n)
	}
}

// missedLocked counts the numbers from one position to another as missed, each once: the
// dispatcher, a reader that catches up and a scan for parked clients may meet the same
// gap. It returns how many it has counted.
func (e *endpoint) missedLocked(from, to uint64) uint64 {
	from = max(from, e.health.lost)
	if to <= from {
		return 0
	}
	e.health.missed += to - from
	e.health.lost = to
	return to - from
}

// catchUp reads the log for an endpoint that is behind, until it has come to the
// dispatcher's position.
func (e *endpoint) catchUp(ctx context.Context, filter *feed.Compiled, run uint64) error {
	var sub *gateway.Subscription
	for {
		e.m.mu.Lock()
		if run != e.run {
			e.m.mu.Unlock()
			return context.Canceled
		}
		if e.at >= e.m.position {
			e.behind, e.reading = false, false
			e.m.mu.Unlock()
			return nil
		}
		at, wait := e.at, e.fullLocked()
		e.m.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if sub == nil {
			var err error
			if sub, err = e.subscribe(at); err != nil {
				return err
			}
		}
		events, err := e.read(ctx, sub, make([]gateway.Event, 0, scanEvents), filter.Select)
		if err != nil {
			return err
		}
		e.m.mu.Lock()
		if run == e.run {
			to := min(sub.Position(), e.m.position) // the dispatcher takes the rest
			for i := range events {
				if events[i].Seq <= to {
					e.takeLocked(&events[i])
				}
			}
			e.at = to
			e.pumpLocked()
		}
		e.m.mu.Unlock()
	}
}
