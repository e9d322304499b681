package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/longwire/longwire/internal/version"
)

// machine describes the machine and the settings of the run.
func (o *Options) machine(ctx context.Context) Machine {
	load, _ := strconv.ParseFloat(procField("/proc/loadavg", ""), 64)
	return Machine{
		At: time.Now().UTC().Truncate(time.Second), Files: o.perProcess, Duration: o.Duration.Seconds(),
		CPU: procLine("/proc/cpuinfo", "model name\t:"), CPUs: runtime.GOMAXPROCS(0), Memory: kibibytes("/proc/meminfo", "MemTotal:"),
		OS: strings.TrimSpace(runtime.GOOS + " " + procLine("/proc/sys/kernel/osrelease", "")), Arch: runtime.GOARCH,
		Go: runtime.Version(), Version: version.Get().Version, Load: load, Clients: o.Clients, Rounds: o.Rounds, Seed: o.Seed,
		FsyncMS: fsyncTime(ctx, o.Dir, min(o.Duration, time.Second)),
	}
}

// fsyncTime is the median time of an append of 4 KiB with its sync, repeated for d; not
// known if the directory cannot be written.
func fsyncTime(ctx context.Context, dir string, d time.Duration) Figure {
	f, err := os.CreateTemp(dir, "longwire-bench-fsync-")
	if err != nil {
		return unknown
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	s, _ := closedLoop(ctx, d, []caller{func() (int, error) {
		_, err := f.Write(block)
		return 1, cmp.Or(err, f.Sync())
	}})
	return s.latency.ms(0.5)
}

// procLine is the rest of the first line of a file that begins with name; "" on a
// system without such files.
func procLine(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// procField is the first word of procLine.
func procField(file, name string) string {
	first, _, _ := strings.Cut(procLine(file, name), " ")
	return first
}

// kibibytes is an amount of memory in bytes; 0 = not known.
func kibibytes(file, name string) int64 {
	n, _ := strconv.ParseInt(procField(file, name), 10, 64)
	return n << 10
}

// kernelMemory is the memory of the kernel's own structures, which include sockets,
// in bytes of the whole machine; 0 = not known.
func kernelMemory() int64 { return kibibytes("/proc/meminfo", "Slab:") }

// processRSS is the resident memory of a process in bytes; 0 = not known.
func processRSS(pid int) int64 { return kibibytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:") }
