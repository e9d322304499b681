package app

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/findings"
)

// TestARestartIsNotAllWell: the list of findings is not empty while a device is missing that
// was connected before.
func TestARestartIsNotAllWell(t *testing.T) {
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	g.device("meter-1")
	g.stop()
	g.start()
	defer func() { g.stop() }()
	list, err := backend(t, g.App).Findings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Code != "just_started" || list[0].Facts["client"] != "meter-1" {
		t.Fatalf("after a restart: %+v, want the missing device", list)
	}
	g.device("meter-1")
	g.findings.Refresh()
	if list, err = backend(t, g.App).Findings(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("with all devices back: %+v, %v", list, err)
	}
}

// TestEachRefusalIsAFinding: those of the gateway itself, too.
func TestEachRefusalIsAFinding(t *testing.T) {
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	defer func() { g.stop() }()
	g.device("meter-1")
	if err := g.gw.Disconnect(t.Context(), "meter-1", gateway.DisconnectOptions{Block: time.Hour}); err != nil {
		t.Fatal(err)
	}
	g.gone("meter-1")
	g.device("meter-1")
	if f := g.found(findings.DevicesRefused); f == nil || f.Count != 1 || f.Facts["client"] != "meter-1" || f.Facts["reason"] != gateway.RefusedBlocked {
		t.Errorf("finding %+v, want the blocked device", f)
	}
}
