package bench

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dieWithParent makes the kernel kill a child if its parent dies without stopping
// it.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// processCPU is the user and system time of all threads of a process, by the clock
// of clock_getcpuclockid(3); 0 = not known.
func processCPU(pid int) time.Duration {
	const scheduled = 2 // CPUCLOCK_SCHED: time on a CPU, in nanoseconds
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduled, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// preciseSleep sleeps for d or a little longer. time.Sleep may take a millisecond
// longer than d, which can be more than the measured latency.
func preciseSleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		t := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&t, nil) // a signal ends it early
	}
}

// preallocate reserves the blocks of an append log, as a store with fast syncs
// would.
func preallocate(f *os.File, size int64) error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) }

// syncData syncs the contents without the times.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
