package tenant

import (
	"context"
	"slices"

	"github.com/longwire/longwire/gateway"
)

// Subscription is a cursor into the events that the caller may see.
type Subscription struct {
	view     *View
	sub      *gateway.Subscription
	position uint64
}

// Subscribe returns a cursor behind the event numbered after; see
// gateway.Subscribe.
func (v *View) Subscribe(after uint64) (*Subscription, bool) {
	sub, gap := v.shared.gateway.Subscribe(after)
	return &Subscription{view: v, sub: sub, position: after}, gap
}

// Position returns the number of the last event that Next has read. The caller may not
// have seen that event.
func (s *Subscription) Position() uint64 { return s.position }

// Next waits for events that the caller may see, as gateway.Subscription.Next
// does. It returns an error when the key has ended.
func (s *Subscription) Next(ctx context.Context, buf []gateway.Event) ([]gateway.Event, error) {
	for start := len(buf); ; buf = buf[:start] {
		if err := s.view.Alive(); err != nil {
			return buf, err
		}
		if err := ctx.Err(); err != nil {
			return buf, err // checked here, because sub.Next does not wait while events keep coming
		}
		more, err := s.sub.Next(ctx, buf)
		if err != nil {
			return buf, err
		}
		if err := s.view.Alive(); err != nil {
			return buf, err // the key ended during the wait
		}
		buf = more
		s.position = buf[len(buf)-1].Seq
		if !s.view.limited() {
			return buf, nil
		}
		kept := buf[:start]
		for i := start; i < len(buf); i++ {
			if s.view.maySeeEvent(&buf[i]) {
				kept = append(kept, buf[i])
			}
		}
		if len(kept) > start {
			return kept, nil
		}
	}
}

// maySeeEvent reports whether an event is about a client within the limit, or about a
// message to many that was pushed under the caller's limit.
func (v *View) maySeeEvent(e *gateway.Event) bool {
	if e.Client != "" {
		group := v.key.Limit.Group
		if group == "" {
			return v.MaySee(e.Client)
		}
		groups, err := v.shared.members.of(v.shared.gateway, e.Client, e.Seq)
		return err == nil && slices.Contains(groups, group)
	}
	if e.Message == "" {
		return false
	}
	m, err := v.shared.gateway.Message(e.Message)
	return err == nil && v.key.Limit.Covers(m.Owner)
}
