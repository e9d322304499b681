package app

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/findings"
)

// TestAStartSaysWhichClientsAreMissing: those of the process before and no older ones, also
// to the callers with a limit, and for some minutes.
func TestAStartSaysWhichClientsAreMissing(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	g.device("old-1")
	g.stop()
	g.start()
	for n := range 10 {
		g.device("meter-" + strconv.Itoa(n))
	}
	g.device("left").nc.Close()
	g.gone("left")
	g.until(func() bool {
		page, err := g.store.Entries(keyStarted, "", 1)
		return err == nil && len(page.Items) == 1 && string(page.Items[0].Value) >= g.comeback.started.UTC().Format("2006-01-02T15:04:05")
	})
	g.stop()
	g.start()
	f := g.found(findings.JustStarted)
	if f == nil || f.Count != 10 || f.Severity != findings.Info || f.Facts["client"] == "old-1" {
		t.Fatalf("after a start: %+v, want the ten clients of the process before", f)
	}
	tenant := findings.Caller{Allows: func(string) bool { return true }, Owner: "prefix:meter-3", Sees: func(id string) bool { return id == "meter-3" }}
	if list, _ := g.findings.List(tenant); len(list) != 1 || list[0].Count != 1 || list[0].Facts["client"] != "meter-3" {
		t.Errorf("a limited caller sees %+v, want its client", list)
	}
	g.device("meter-3")
	if f = g.wait(findings.JustStarted, true); f.Count != 9 {
		t.Errorf("%d clients are missing after one has come back, want 9", f.Count)
	}
	g.device("meter-4").nc.Close() // it has come back, and left
	g.gone("meter-4")
	g.comeback.search(func() bool { return true })
	if f = g.wait(findings.JustStarted, true); f.Count != 8 {
		t.Errorf("%d clients are missing after two have come back, want 8", f.Count)
	}
	g.device("meter-5")
	g.device("meter-4")
	g.pass(2 * time.Minute)
	if f = g.wait(findings.JustStarted, true); f.Severity != findings.Info || f.Count != 7 {
		t.Errorf("after two minutes: %+v, want a note about seven", f)
	}
	g.change(func(l *thresholds) { l.manyDevices = 7 })
	if f = g.wait(findings.JustStarted, true); f.Severity != findings.Warning {
		t.Errorf("severity %s of many, want a warning", f.Severity)
	}
	g.pass(9 * time.Minute)
	if f = g.found(findings.JustStarted); f != nil {
		t.Errorf("after eleven minutes: %+v", f)
	}
}

// TestAnUncountedStartIsSaid: a gateway that does not yet know which clients are missing
// says so, to everyone.
func TestAnUncountedStartIsSaid(t *testing.T) {
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	tenant := findings.Caller{Allows: func(string) bool { return true }, Owner: "prefix:a-", Sees: func(string) bool { return false }}
	for counted := true; counted; { // a search under way may end in between
		g.comeback.mu.Lock()
		g.comeback.counted = false
		g.comeback.mu.Unlock()
		g.findings.Refresh()
		list, _ := g.findings.List(tenant)
		g.comeback.mu.Lock()
		counted = g.comeback.counted
		g.comeback.mu.Unlock()
		if !counted && (len(list) != 1 || list[0].Code != findings.JustStarted || !strings.Contains(list[0].Text, "still counts the clients")) {
			t.Errorf("findings %+v, want that the clients are not counted yet", list)
		}
	}
}

// TestMissingClientsAreAtMostTheOfflineOnes: a search of a large store may be some time ago.
func TestMissingClientsAreAtMostTheOfflineOnes(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	g.device("meter-1")
	g.device("meter-2")
	g.stop()
	g.start()
	g.until(func() bool { n, _, counted := g.comeback.left(g.gw.Online); return n == 2 && counted })
	const many = 1000
	for n := 0; n != many; { // a search under way may end in between
		g.comeback.mu.Lock()
		g.comeback.n, g.comeback.named = many, nil // the search has found many and named none
		g.comeback.mu.Unlock()
		f := g.startFindings()
		g.comeback.mu.Lock()
		n = g.comeback.n
		g.comeback.mu.Unlock()
		if n == many && (len(f) != 1 || f[0].Count != 2) {
			t.Errorf("findings %+v, want two missing clients", f)
		}
	}
	g.device("meter-1")
	g.device("meter-2")
	if f := g.startFindings(); len(f) != 0 {
		t.Errorf("with all back: %+v", f)
	}
}

// TestARestartIsNotAllWell: the list of findings is not empty while a device is missing that
// was connected before.
func TestARestartIsNotAllWell(t *testing.T) {
	t.Parallel()
	g := &troubled{T: t, cfg: testConfig(t.TempDir())}
	g.start()
	g.device("meter-1")
	g.stop()
	g.start()
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
