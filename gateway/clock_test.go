package gateway_test

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func TestRTTOfAnOnlineCallDoesNotNoticeAStep(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		var clock clocktest.Clock
		store := memstore.New(memstore.Options{Now: clock.Now})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{Now: clock.Now})
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			clock.Step(by)
			l.Ack(p, gateway.AckOK, nil)
		}})
		r, err := g.PushOnline(t.Context(), gateway.OnlineRequest{Client: "a", Payload: []byte("x")})
		if err != nil || r.RTT <= 0 || r.RTT > time.Minute {
			t.Errorf("clock set by %v: rtt %v, %v", by, r.RTT, err)
		}
	}
}
