package bench

import (
	"os"
	"testing"
	"time"
)

func TestOwnProcess(t *testing.T) {
	if rss, err := processRSS(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("RSS is %d, %v", rss, err)
	}
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Error(err)
	}
	for begin := time.Now(); time.Since(begin) < 3*time.Millisecond; {
	}
	if after, err := processCPU(os.Getpid()); err != nil || after-before < time.Millisecond {
		t.Errorf("3 ms of work took %v of CPU time, %v", after-before, err)
	}
	if kernelMemory() < 1<<20 || memoryTotal() < 1<<20 || procField("/proc/meminfo", "Nothing:") != 0 {
		t.Errorf("the kernel has %d bytes of %d", kernelMemory(), memoryTotal())
	}
	const nobody = 1 << 22 // pid_max is at most that, and exclusive
	if _, err := processRSS(nobody); err == nil {
		t.Error("a process that does not exist has memory")
	}
	if _, err := processCPU(nobody); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}

// TestChildrenDieWithTheirParent kills a process that has started another one.
func TestChildrenDieWithTheirParent(t *testing.T) {
	parent := acting("parent")
	addr := firstLine(t, parent)
	if !listens(addr) {
		t.Fatalf("nobody listens at %s", addr)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	if err := waitFor(t.Context(), time.Minute, "the child to end", func() bool { return !listens(addr) }); err != nil {
		t.Error(err)
	}
}
