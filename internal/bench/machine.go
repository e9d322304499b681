package bench

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/longwire/longwire/internal/version"
)

// machine describes the machine and the settings of the run.
func (o *Options) machine(ctx context.Context) Machine {
	return Machine{
		At: time.Now().UTC().Truncate(time.Second), CPU: cpuModel(), Memory: memoryTotal(), Files: o.perProcess, Duration: o.Duration.Seconds(),
		CPUs: runtime.GOMAXPROCS(0), OS: osVersion(), Arch: runtime.GOARCH, Go: runtime.Version(), Version: version.Get().Version,
		Load: loadAverage(), Clients: o.Clients, Rounds: o.Rounds, Seed: o.Seed,
		FsyncMS: float64(fsyncTime(ctx, o.Dir)) / 1e6,
	}
}

// fsyncTime is the median time of an append of 4 KiB with its sync, over at most
// 200 of them and one second; 0 if the directory cannot be written.
func fsyncTime(ctx context.Context, dir string) time.Duration {
	f, err := os.CreateTemp(dir, "longwire-bench-fsync-")
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var times []float64
	block := make([]byte, 4096)
	for begin := time.Now(); len(times) < 200 && time.Since(begin) < time.Second && ctx.Err() == nil; {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0
		}
		if err := f.Sync(); err != nil {
			return 0
		}
		times = append(times, float64(time.Since(start)))
	}
	return time.Duration(median(times))
}
