package bench

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	stat := "4711 (long wire) :) S 1 4711 4711 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0 100 1000 200 0 0"
	got, err := parseStat(stat)
	if want := 3 * time.Second; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x y 11"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is taken for a stat", bad)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	if rss, err := processRSS(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("RSS is %d, %v", rss, err)
	}
	if _, err := processCPU(os.Getpid()); err != nil {
		t.Error(err)
	}
	const nobody = 1 << 30
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
