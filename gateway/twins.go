package gateway

import (
	"context"
	"fmt"
)

// maxTwins bounds the registrations that wait for the answer of the device that has
// their id.
const maxTwins = 256

// holds returns why a registration may not have the id of holder under
// Config.RejectTwins; nil if holder has ended. It asks holder's device, because a device
// that has lost its network or its power comes back before the gateway misses it, and
// CodeIDInUse asks a device to stay away. Errors: CodeIDInUse if holder's device gives a
// sign of life, CodeUnavailable if it has not given one yet.
func (g *Gateway) holds(ctx context.Context, holder *Session) error {
	if g.twins.Add(1) > maxTwins {
		g.twins.Add(-1)
		return fmt.Errorf("%d registrations wait for the devices that have their ids: %w", maxTwins, ErrUnavailable)
	}
	defer g.twins.Add(-1)
	p, err := g.probe(ctx, holder, "")
	switch {
	case err != nil:
		return fmt.Errorf("ask the device that has the id: %w: %w", ErrUnavailable, err)
	case p.Presence == Offline:
		return nil
	case p.Presence == Suspect:
		return fmt.Errorf("the device that has the id has not answered yet: %w", ErrUnavailable)
	}
	return IDInUse()
}
