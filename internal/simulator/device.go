package simulator

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// restartAfter is the pause after a close that forbids a return: the operator may
// have lifted a block by then.
const restartAfter = 10 * time.Second

// simulated is one device.
type simulated struct {
	id      gateway.ClientID
	profile Profile
	stop    context.CancelFunc
	ended   sync.WaitGroup

	mu        sync.Mutex
	tried     bool   // a first connection was accepted or has failed
	connected bool   //
	problem   string // why it is not connected
}

// startDevice runs a device until its stop is called.
func startDevice(cfg *Config, id gateway.ClientID, p Profile) *simulated {
	ctx, stop := context.WithCancel(context.Background())
	d := &simulated{id: id, profile: p, stop: stop}
	d.ended.Go(func() { d.run(ctx, cfg) })
	return d
}

func (d *simulated) run(ctx context.Context, cfg *Config) {
	c, err := device.New(device.Config{
		ID:      string(d.id),
		Dialect: protocol.V2,
		Token:   cfg.Token,
		Handler: d.profile.handle,
		Mute:    d.profile == Silent,
		Workers: 16, // so that a slow device is slow, and not one delivery behind another
		Backoff: device.Backoff{Max: 5 * time.Second},
		Logger:  slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			nc, err := cfg.Dial(ctx)
			if err == nil {
				d.profile.wear(nc)
			}
			return nc, err
		},
		OnConnect:    func(protocol.Registered) { d.note(true, "") },
		OnDisconnect: func(why protocol.Close, _ time.Duration) { d.note(false, describe(why)) },
	})
	if err != nil {
		d.note(false, err.Error())
		return
	}
	d.ended.Go(func() { d.profile.talk(ctx, c) })
	for ctx.Err() == nil {
		if closed, ok := errors.AsType[*device.ClosedError](c.Run(ctx)); ok {
			d.note(false, describe(closed.Close))
			_ = sleep(ctx, restartAfter)
		}
	}
}

// describe returns the reason of a close with its words for people.
func describe(why protocol.Close) string {
	if why.Text == "" || why.Text == why.Reason {
		return why.Reason
	}
	return why.Reason + ": " + why.Text
}

func (d *simulated) note(connected bool, problem string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried, d.connected, d.problem = true, connected, problem
}

func (d *simulated) status() (s Device, tried bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Device{ID: d.id, Profile: d.profile, Connected: d.connected, Problem: d.problem}, d.tried
}
