package gatewaytest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
)

// New starts a gateway on store; it stops when the test ends. Zero members of cfg
// get test values; devices choose their groups.
func New(t testing.TB, store gateway.Store, cfg gateway.Config) *gateway.Gateway {
	t.Helper()
	cfg.Store = store
	if cfg.DeviceGroups == nil {
		cfg.DeviceGroups = []string{gateway.AnyGroup}
	}
	cfg.NewID = func() [16]byte { return uuid.Must(uuid.NewV7()) }
	g := gateway.New(cfg)
	g.Start()
	t.Cleanup(g.Stop)
	return g
}

// NewUUID returns a UUIDv7.
func NewUUID() string { return uuid.Must(uuid.NewV7()).String() }
