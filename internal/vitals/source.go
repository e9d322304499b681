package vitals

import (
	"time"

	"github.com/longwire/longwire/gateway"
)

// Of returns a recorder of a gateway. A nil now is time.Now.
func Of(g *gateway.Gateway, now func() time.Time) *Recorder {
	return New(Config{
		Now:  now,
		Read: func() Totals { return totalsOf(g) },
		Tenant: func(prefix string) func() Totals {
			t := g.Tally(prefix)
			return func() Totals { return totalsOfTenant(t) }
		},
		End: g.Untally,
	})
}

func totalsOf(g *gateway.Gateway) Totals {
	s := g.Stats()
	return Totals{Online: s.Online, Queued: s.Store.Queued, Accepted: s.Accepted, Delivered: s.Delivered,
		Acked: s.Settled[gateway.Acked] + s.OnlineAcked, Rejected: s.Settled[gateway.Rejected], Expired: s.Settled[gateway.Expired],
		Failed: s.Settled[gateway.Failed], Uplinks: s.Uplinks, Connects: s.Connects, Disconnects: s.Disconnects,
		Acks: g.AckLatencies()}
}

func totalsOfTenant(t *gateway.Tally) Totals {
	c := t.Counts()
	return Totals{Online: c.Online, Accepted: c.Accepted, Acked: c.Acked, Rejected: c.Rejected, Failed: c.Failed,
		Uplinks: c.Uplinks, Connects: c.Connects, Disconnects: c.Disconnects, Acks: c.Acks}
}
