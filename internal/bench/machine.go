package bench

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/longwire/longwire/internal/version"
)

// machine describes where the run takes place.
func (b *bench) machine(ctx context.Context) Machine {
	return Machine{
		At: time.Now().UTC().Truncate(time.Second), CPU: cpuModel(), Memory: memoryTotal(), Files: b.perProcess, Duration: b.Duration.Seconds(),
		CPUs: runtime.GOMAXPROCS(0), OS: osVersion(), Arch: runtime.GOARCH, Go: runtime.Version(), Version: version.Get().Version,
		Load: loadAverage(), Clients: b.Clients,
		FsyncMS: float64(fsyncTime(ctx, b.dir)) / 1e6,
	}
}

// fsyncTime is the median time of an append of 4 KiB with its sync, over at
// most 200 of them and one second; 0 when the directory cannot be written.
func fsyncTime(ctx context.Context, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "fsync"))
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
