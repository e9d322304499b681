package simulator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/longwire/longwire/device"
)

// Profile is the behaviour of simulated devices.
type Profile string

const (
	Mixed     Profile = "mixed"     // one of each of the others in turn
	Steady    Profile = "steady"    // acks at once
	Chatty    Profile = "chatty"    // acks at once, and sends an uplink every 5 s
	Slow      Profile = "slow"      // acks after 3 to 8 s
	Rejecting Profile = "rejecting" // rejects each delivery, with a reason
	Flaky     Profile = "flaky"     // acks at once, and loses its connection after 3 to 10 s
	Silent    Profile = "silent"    // answers heartbeats, and no delivery
)

// Profiles are all profiles. Mixed devices have the others, in this order.
var Profiles = []Profile{Mixed, Steady, Chatty, Slow, Rejecting, Flaky, Silent}

// Valid reports whether p is a profile.
func (p Profile) Valid() bool { return slices.Contains(Profiles, p) }

// of returns the profile of the i-th device.
func (p Profile) of(i int) Profile {
	if p != Mixed {
		return p
	}
	return Profiles[1+i%(len(Profiles)-1)]
}

var errJammed = errors.New("jammed")

// handle is the device.Handler of the profile.
func (p Profile) handle(ctx context.Context, m device.Message) ([]byte, error) {
	switch p {
	case Slow:
		device.Progress(ctx, "started")
		return done(m), sleep(ctx, between(3*time.Second, 8*time.Second))
	case Rejecting:
		return nil, errJammed
	}
	return done(m), nil
}

// done is the result of a delivery.
func done(m device.Message) []byte { return fmt.Appendf(nil, "done: %d bytes", len(m.Payload)) }

// talk sends the profile's uplinks until ctx ends.
func (p Profile) talk(ctx context.Context, c *device.Client) {
	if p != Chatty {
		return
	}
	for n := 1; sleep(ctx, 5*time.Second) == nil; n++ {
		// Errors are of a gateway that is not there, or has no room. The next value
		// follows anyway.
		once, cancel := context.WithTimeout(ctx, 10*time.Second)
		_ = c.Send(once, fmt.Appendf(nil, `{"n":%d,"temperature":%.1f}`, n, 20+5*rand.Float64()))
		cancel()
	}
}

// wear is called for each new connection.
func (p Profile) wear(nc net.Conn) {
	if p == Flaky {
		time.AfterFunc(between(3*time.Second, 10*time.Second), func() { nc.Close() })
	}
}

func between(a, b time.Duration) time.Duration { return a + rand.N(b-a) }

// sleep waits for d, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
