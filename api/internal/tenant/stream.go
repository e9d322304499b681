package tenant

import (
	"context"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// Subscription is a cursor into the events that the caller may see.
type Subscription struct {
	view   *View
	sub    *gateway.Subscription
	filter *feed.Compiled
	end    uint64 // of a finite stream; 0 = none
}

// Everything selects all events that a caller may see.
var Everything feed.Filter

// Subscribe returns a cursor behind the event numbered after, for the events that f
// selects; see gateway.Subscribe. It returns a feed.UnknownTypeError.
func (v *View) Subscribe(after uint64, f feed.Filter) (s *Subscription, gap bool, err error) {
	filter, err := v.Filter(f)
	if err != nil {
		return nil, false, err
	}
	sub, gap, err := v.shared.gateway.Subscribe(after)
	return &Subscription{view: v, sub: sub, filter: filter}, gap, err
}

// SubscribeNow returns a cursor at the end of the log, for all that the caller may see.
func (v *View) SubscribeNow() *Subscription {
	filter, err := v.Filter(Everything)
	if err != nil {
		panic(err) // it names no type
	}
	return &Subscription{view: v, sub: v.shared.gateway.SubscribeNow(), filter: filter}
}

// Filter returns f, narrowed to what the caller may see.
func (v *View) Filter(f feed.Filter) (*feed.Compiled, error) {
	return feed.Compile(f, v.key.Limit, v.shared.lookup)
}

// LastEvent returns the number of the newest event.
func (v *View) LastEvent() uint64 { return v.shared.gateway.LastEvent() }

// EventsBefore returns the position before the first event at or after a time.
func (v *View) EventsBefore(t time.Time) (uint64, error) { return v.shared.gateway.EventsBefore(t) }

// ClientEvents returns events of one client, newest first. Which of them the caller may see
// is for a Filter to say.
func (v *View) ClientEvents(ctx context.Context, q gateway.ClientEventQuery) (gateway.Page[gateway.Event, uint64], error) {
	release, err := v.scan(ctx)
	if err != nil {
		return gateway.Page[gateway.Event, uint64]{}, err
	}
	defer release()
	return v.shared.gateway.ClientEvents(q)
}

// scan waits for a turn to read what belongs to all tenants: the log far behind its end, or
// the list of messages. The keys with a limit compute on half of the processors for it, so
// that one tenant's reads do not delay the pushes of others.
func (v *View) scan(ctx context.Context) (release func(), err error) {
	if v.key.Limit.None() {
		return func() {}, nil
	}
	select {
	case v.shared.scans <- struct{}{}:
		return func() { <-v.shared.scans }, nil
	case <-ctx.Done():
		if err := v.Alive(); err != nil {
			return nil, err
		}
		return nil, ctx.Err()
	}
}

// Turn is scan for a read that begins so many numbers behind the end of the log. Near the end
// it does not wait.
func (v *View) Turn(ctx context.Context, behind uint64) (release func(), err error) {
	if behind <= nearEnd {
		return func() {}, nil
	}
	return v.scan(ctx)
}

// Event returns the event with a number, ok false if none is kept that the caller may
// see.
func (v *View) Event(number uint64) (e gateway.Event, ok bool, err error) {
	if e, ok, err = v.shared.gateway.Event(number); err != nil || !ok {
		return e, false, err
	}
	filter, err := v.Filter(Everything)
	if err != nil {
		return e, false, err
	}
	ok, err = filter.Wants(&e)
	return e, ok, err
}

// Position returns the number up to which Next has read. The caller may not have seen
// all events up to there.
func (s *Subscription) Position() uint64 { return s.sub.Position() }

// EndAt has Next wait for no event behind the one numbered end.
func (s *Subscription) EndAt(end uint64) { s.end = end }

// Next waits for events that the caller may see and has asked for, as
// gateway.Subscription.Next does. It returns an error when the key has ended. It returns
// no events at all if it has passed over many, so that the caller can tell its reader
// the position, or if it has come to the number of EndAt.
func (s *Subscription) Next(ctx context.Context, buf []gateway.Event) ([]gateway.Event, error) {
	start := len(buf)
	for passed := 0; passed < mostPassed && (s.end == 0 || s.sub.Position() < s.end); {
		if err := s.view.Alive(); err != nil {
			return buf, err
		}
		if err := ctx.Err(); err != nil {
			return buf, err // checked here, because sub.Next does not wait while events keep coming
		}
		more, err := s.read(ctx, buf)
		if err != nil {
			return buf, err
		}
		if err := s.view.Alive(); err != nil {
			return buf, err // the key ended during the wait
		}
		kept, err := s.filter.Select(more[start:])
		if err != nil || len(kept) > 0 {
			return more[:start+len(kept)], err
		}
		passed += len(more) - start
		buf = more[:start]
	}
	return buf, nil
}

// read reads the next events that all may see. It waits for one, but not if the stream ends:
// its end may have no event.
func (s *Subscription) read(ctx context.Context, buf []gateway.Event) ([]gateway.Event, error) {
	if s.sub.Behind() > nearEnd {
		release, err := s.view.scan(ctx)
		if err != nil {
			return buf, err
		}
		more, err := s.sub.Read(ctx, buf)
		release()
		if err != nil || len(more) > len(buf) {
			return more, err
		}
	}
	if s.end != 0 {
		return s.sub.Read(ctx, buf)
	}
	return s.sub.Next(ctx, buf)
}

// nearEnd is how far behind the end of the log its events are in memory, as a rule.
const nearEnd = 1000

// mostPassed is how many events Next passes over in one call.
const mostPassed = 50_000
