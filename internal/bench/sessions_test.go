package bench

import (
	"testing"
	"time"
)

// Clients without sockets reconnect while they are online, and ack their
// deliveries.
func TestSessionsGoOn(t *testing.T) {
	const n = 50
	host, err := startHere(t.Context(), "", spec{role: sessionServer, connected: n, returning: true}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.stop() }()
	var now struct{ Online, Takeovers int }
	err = waitFor(t.Context(), time.Minute, "clients to come back", func() bool {
		return host.get(t.Context(), "/v1/stats", &now) == nil && now.Takeovers >= 2*n
	})
	if err != nil || now.Online != n {
		t.Errorf("stats are %+v, want %d online: %v", now, n, err)
	}
	if err := host.broadcast(t.Context(), n); err != nil {
		t.Error(err)
	}
}

func TestResidents(t *testing.T) {
	host, err := startHere(t.Context(), "", spec{role: sessionServer, connected: 1}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.stop() }()
	var before, after residents
	if err := host.get(t.Context(), residentsPath, &before); err != nil || before.Heap == 0 || before.HeapGrowth == before.Heap {
		t.Fatalf("residents are %+v: %v", before, err)
	}
	if err := host.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = host.get(t.Context(), residentsPath, &after)
	if p := after.pauses(&before); err != nil || after.Cycles == before.Cycles || p.total() == 0 || p.quantile(1) > time.Minute {
		t.Errorf("a collection adds %d cycles and %d pauses, want some of each: %v", after.Cycles-before.Cycles, p.total(), err)
	}
}
