package app

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

func TestCleanupsRunInReverse(t *testing.T) {
	var c cleanups
	var got []string
	step := func(part string) func() { return func() { got = append(got, part) } }
	broken := errors.New("broken")
	c.addQuiet("store", step("store"))
	c.add("audit log", func() error { step("audit log")(); return broken })
	c.addQuiet("gateway", step("gateway"))

	err := c.run()
	if want := []string{"gateway", "audit log", "store"}; !slices.Equal(got, want) {
		t.Errorf("got the steps %q, want %q", got, want)
	}
	if want := "close the audit log: broken"; !errors.Is(err, broken) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := c.run(); err != nil || len(got) != 3 {
		t.Errorf("the second run takes steps: %q, %v", got, err)
	}
}

// A part that does not close, as the store on a disk that hangs, does not keep the process.
func TestAPartThatHangsHoldsUpNoEnd(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Drain.Timeout = config.Duration(time.Millisecond)
	a := start(t, cfg)
	a.patience = time.Millisecond
	held, ended := make(chan struct{}), make(chan struct{})
	a.opened.addQuiet("disk", func() { <-held })
	a.opened = append(cleanups{{"last", func() error { close(ended); return nil }}}, a.opened...)
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(t.Context()) }()
	select {
	case err := <-stopped:
		if err == nil || !strings.Contains(err.Error(), "close the disk") {
			t.Errorf("stopped with %v, want an error that names the part", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the end waits for the part")
	}
	close(held)
	<-ended // the directory is in use until then
}

// A goroutine of the process that still works with the directory of the store keeps it: no
// other process may have it yet.
func TestTheStoreClosesBehindTheGoroutinesThatUseIt(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Drain.Timeout = config.Duration(time.Millisecond)
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	begun, held, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	a.sync.once = func(*os.File) (time.Duration, error) {
		close(begun)
		<-held
		return 0, errors.New("a disk that hangs")
	}
	a.opened = append(cleanups{{"last", func() error { close(ended); return nil }}}, a.opened...)
	a.Start()
	<-begun
	a.patience = time.Second
	if err := a.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "close the goroutines") {
		t.Errorf("stopped with %v, want an error that names the part", err)
	}
	if next, err := New(testConfig(cfg.Data.Dir), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("another process has the directory")
		_ = next.Stop(t.Context())
	}
	close(held)
	<-ended
}

// A process that stops makes no further probe of a slow disk.
func TestTheEndWaitsForOneProbeOfTheDisk(t *testing.T) {
	a, err := New(testConfig(t.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	probes := 0
	a.sync.once = func(*os.File) (time.Duration, error) {
		probes++
		a.drainNow()
		return time.Second, nil
	}
	a.Start()
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if probes > 1 || a.sync.p50.Load() != 0 {
		t.Errorf("%d probes, want the end behind the first", probes)
	}
}
