package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestASmallHeapIsCollectedForMuchGarbage(t *testing.T) {
	for live, want := range map[uint64]int{
		0:        1600, // not measured yet
		1 << 20:  1600,
		16 << 20: 400,
		64 << 20: 100,
		1 << 40:  100,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("a live heap of %d bytes grows by %d %%, want %d", live, got, want)
		}
	}
}

func TestTheCollectorFollowsTheLiveHeap(t *testing.T) {
	t.Cleanup(func() { debug.SetGCPercent(defaultPercent) })
	t.Setenv("GOGC", "")
	c := newCollector()
	c.adjust()
	small := debug.SetGCPercent(defaultPercent)
	if small <= defaultPercent || small != c.percent {
		t.Errorf("a small heap grows by %d %%, and the collector knows of %d", small, c.percent)
	}
	kept := make([]byte, 80<<20)
	runtime.GC()
	c.adjust()
	runtime.KeepAlive(kept)
	if large := debug.SetGCPercent(defaultPercent); large != defaultPercent {
		t.Errorf("a heap of more than 80 MiB grows by %d %%", large)
	}
}

func TestWhoSetsGOGCKeepsIt(t *testing.T) {
	t.Setenv("GOGC", "50")
	was := debug.SetGCPercent(50)
	t.Cleanup(func() { debug.SetGCPercent(was) })
	newCollector().adjust()
	if got := debug.SetGCPercent(50); got != 50 {
		t.Errorf("GOGC was 50 and is %d", got)
	}
}

func TestTheRuntimeGetsOneProcessorMoreThanCPUs(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	for _, c := range []struct {
		setting     string
		procs, want int
	}{
		{"", runtime.NumCPU(), runtime.NumCPU() + 1},
		{"", runtime.NumCPU() + 3, runtime.NumCPU() + 3}, // a share of a container, or a caller's
		{"1", runtime.NumCPU(), runtime.NumCPU()},
	} {
		t.Setenv("GOMAXPROCS", c.setting)
		if c.setting == "" {
			os.Unsetenv("GOMAXPROCS") // restored by Setenv
		}
		runtime.GOMAXPROCS(c.procs)
		addProcs()
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("GOMAXPROCS=%q with %d processors: %d afterwards, want %d", c.setting, c.procs, got, c.want)
		}
	}
}
