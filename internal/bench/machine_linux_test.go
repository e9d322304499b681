package bench

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestOwnProcess(t *testing.T) {
	if rss := processRSS(os.Getpid()); rss < 1<<20 {
		t.Errorf("RSS is %d", rss)
	}
	before := processCPU(os.Getpid())
	begin := time.Now()
	for time.Since(begin) < time.Minute && processCPU(os.Getpid())-before < time.Millisecond {
	}
	if took := processCPU(os.Getpid()) - before; before == 0 || took < time.Millisecond {
		t.Errorf("a minute of work took %v of CPU time", took)
	}
	total := kibibytes("/proc/meminfo", "MemTotal:")
	if kernelMemory() < 1<<20 || total < kernelMemory() || kibibytes("/proc/meminfo", "Nothing:") != 0 {
		t.Errorf("the kernel has %d bytes of %d", kernelMemory(), total)
	}
	const nobody = 1 << 22 // pid_max is at most that, and exclusive
	if processRSS(nobody) != 0 || processCPU(nobody) != 0 {
		t.Error("a process that does not exist has memory or CPU time")
	}
}

// TestChildrenDieWithTheirParent kills a process that has started another one.
func TestChildrenDieWithTheirParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = acting("parent").env
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(line)
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
