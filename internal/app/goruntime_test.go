package app

import (
	"os"
	"runtime"
	"testing"
)

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
