package engine

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// cutPower returns the disk as a power cut leaves it now, and what had been
// told by then.
func cutPower(fs *vfs.MemFS, l *ledger, keepUnsynced int, rng *rand.Rand) (*vfs.MemFS, *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: keepUnsynced, RNG: rng}
	return fs.CrashClone(cfg), l.copy()
}

func powerOptions(fs vfs.FS) Options {
	return Options{FS: fs, Dir: "data", SweepEvery: -1, MemTableBytes: 256 << 10, CacheBytes: 4 << 20, bitmapsOnly: true}
}

// runCuts puts load on an engine, cuts the power n times at random moments and
// returns how much of what had been told was lost. Every tenth cut the load
// goes on from what the cut has left.
func runCuts(t *testing.T, n int, noSync bool, check func(e *Engine)) (lost []string, told int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	next, l := vfs.NewCrashableMem(), newLedger()
	for done := 0; done < n; {
		fs := next
		o := powerOptions(fs)
		o.NoSync = noSync
		e, run := openTest(t, o), l
		e.Observe(run)
		stop := make(chan struct{})
		var gate sync.RWMutex // keeps the load still while what a cut has left is checked
		wait := load(e, run, 4, 0, stop, &gate)
		for range min(10, n-done) {
			done++
			// A moment later, measured in records rather than time.
			for due := e.stats.records.Load() + 1 + rng.Uint64N(25); e.stats.records.Load() < due; {
				pause()
			}
			cut, then := cutPower(fs, run, []int{0, 0, 50, 100}[rng.IntN(4)], rng)
			gate.Lock()
			again := openTest(t, powerOptions(cut))
			lost = append(lost, then.losses(t, again)...)
			told += len(then.accepted)
			check(again)
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			gate.Unlock()
			if done%10 == 0 {
				next, l = cut, then
			}
			if done%20 == 0 { // not for ever on one disk: each check reads all of it
				next, l = vfs.NewCrashableMem(), newLedger()
			}
		}
		close(stop)
		wait()
		if !noSync {
			for _, f := range run.faults {
				t.Error(f)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return lost, told
}

// pause lets the load go on.
func pause() { <-time.After(50 * time.Microsecond) }

// A power cut at any moment loses nothing that was answered, changes nothing
// that was told as final, and leaves a store whose rows agree.
func TestPowerCutLosesNothing(t *testing.T) {
	cuts := tortured(200)
	if underRace { // what the detector can see is in the first ones; the proof is the run without it
		cuts = tortured(20)
	}
	lost, told := runCuts(t, cuts, false, func(e *Engine) {
		verifyView(t, e)
		verifyOrder(t, e)
	})
	for _, l := range lost[:min(10, len(lost))] {
		t.Error(l)
	}
	if told == 0 {
		t.Fatal("nothing was accepted, nothing could be lost")
	}
	t.Logf("%d cuts, %d answers checked, %d lost", cuts, told, len(lost))
}

// The same without the sync does lose: the test above can see.
func TestPowerCutWithoutSyncLoses(t *testing.T) {
	lost, told := runCuts(t, 20, true, func(*Engine) {})
	if len(lost) == 0 {
		t.Errorf("nothing of %d answers was lost although nothing was synced", told)
	}
}

// markerFS notes the steps of markers that a power cut could turn around.
type markerFS struct {
	vfs.FS
	mem   *vfs.MemFS
	steps int
	wrong []string
}

// synced are the names in a directory that a power cut leaves for sure.
func (f *markerFS) synced(dir string) string {
	names, _ := f.mem.CrashClone(vfs.CrashCloneCfg{}).List(dir)
	return " " + strings.Join(names, " ") + " "
}

func (f *markerFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if parts := strings.SplitN(filepath.Base(name), ".", 4); parts[0] == "marker" && parts[1] == "manifest" {
		f.steps++
		if !strings.Contains(f.synced(filepath.Dir(name)), " "+parts[3]+" ") {
			f.wrong = append(f.wrong, fmt.Sprintf("%s is made, the name of %s is not synced", name, parts[3]))
		}
	}
	return f.FS.Create(name, c)
}

func (f *markerFS) Remove(name string) error {
	if base := filepath.Base(name); strings.HasPrefix(base, "marker.") {
		f.steps++
		kind := strings.Join(strings.SplitN(base, ".", 3)[:2], ".")
		if strings.Count(f.synced(filepath.Dir(name)), " "+kind+".") < 2 {
			f.wrong = append(f.wrong, fmt.Sprintf("%s is removed, the name of its successor is not synced", name))
		}
	}
	return f.FS.Remove(name)
}

func (f *markerFS) Unwrap() vfs.FS { return f.FS }

// Whatever order the disk keeps names in, a power cut finds a marker of a manifest
// that is there.
func TestMarkersMoveInOrder(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &markerFS{FS: mem, mem: mem}
	for range 3 {
		if err := openTest(t, powerOptions(fs)).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range fs.wrong {
		t.Error(w)
	}
	if fs.steps < 5 {
		t.Errorf("%d steps seen, want those of three manifests", fs.steps)
	}
}
