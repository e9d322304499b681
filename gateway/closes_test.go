package gateway_test

import (
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// lazyCloses is a store that has not written the end of any connection yet.
type lazyCloses struct{ gateway.Store }

func (lazyCloses) Disconnected(gateway.Disconnection) {}

// The reason of a close is there as soon as the client reads as offline, whenever the
// store writes it.
func TestReasonIsThereWhenTheClientIsOffline(t *testing.T) {
	store := memstore.New(memstore.Options{})
	defer store.Close()
	g := gatewaytest.New(t, lazyCloses{store}, gateway.Config{})
	l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	l.Disconnect(gateway.ReasonHeartbeatTimeout)
	if c, err := g.Client("a"); err != nil || c.Online || c.LastClose != gateway.ReasonHeartbeatTimeout || c.LastSeenAt.IsZero() {
		t.Errorf("%+v, %v, want it offline with the reason", c, err)
	}
	gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
	if c, err := g.Client("a"); err != nil || !c.Online || c.LastClose != "" {
		t.Errorf("%+v, %v, want it online without a reason", c, err)
	}
}
