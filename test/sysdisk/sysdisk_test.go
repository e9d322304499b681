//go:build linux

package sysdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cutsOf is how many cuts a scenario gets that has this part of all.
func cutsOf(t *testing.T, percent int) int {
	all := 60
	if os.Getenv("LONGWIRE_TORTURE") != "" {
		all = 1200
	}
	if v := os.Getenv("LONGWIRE_SYSDISK_CUTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("LONGWIRE_SYSDISK_CUTS: %v", err)
		}
		all = n
	}
	return max(1, all*percent/100)
}

// seed makes the choices of a run.
func seed(t *testing.T) uint64 {
	v := os.Getenv("LONGWIRE_SYSDISK_SEED")
	if v == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("LONGWIRE_SYSDISK_SEED: %v", err)
	}
	return n
}

// scenario is the directory in which processes work under strace, and what they
// did so far.
type scenario struct {
	t      *testing.T
	root   string // their files are below it
	traces string
	rec    recording
	runs   int
}

// newScenario begins one. What before makes below the root is on the disk from the
// start.
func newScenario(t *testing.T, before func(root string)) *scenario {
	t.Helper()
	needStrace(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{t: t, root: filepath.Join(dir, "disk"), traces: dir}
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(s.root)
	}
	if s.rec.disk, err = newDisk(s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

// traced is a process under strace.
type traced struct {
	*process
	s    *scenario
	name string // of the trace
}

func (s *scenario) start(command []string, env ...string) *traced {
	s.t.Helper()
	s.runs++
	name := filepath.Join(s.traces, fmt.Sprint("trace-", s.runs))
	// -D: the program is our child and strace its observer, so that signals and the
	// exit code are the program's.
	p, err := start(append([]string{"strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-y", "-xx", "-s", "33554432", "-o", name, "-e", "trace=" + tracedCalls,
		longwire(s.t)}, command...), env...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.stop)
	return &traced{p, s, name}
}

// end waits for the process and takes its trace.
func (p *traced) end(want int) {
	t := p.s.t
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("the process still runs")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("exit code %d, want %d: %s", code, want, p.said())
	}
	last := fmt.Sprintf("%d ", p.cmd.Process.Pid)
	waitFor(t, "the trace is complete", func() bool {
		b, err := tail(p.name, 4096)
		for line := range strings.Lines(b) {
			if strings.HasPrefix(line, last) && strings.Contains(line, " +++ exited") {
				return true
			}
		}
		return err != nil
	})
	if err := p.s.rec.add(p.name); err != nil {
		t.Fatal(err)
	}
}

// command runs a command of longwire to its end, and returns what it printed.
func (s *scenario) command(args ...string) string {
	s.t.Helper()
	p := s.start(args)
	p.end(0)
	return p.said()
}

func tail(name string, n int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	b := make([]byte, min(n, info.Size()))
	_, err = f.ReadAt(b, info.Size()-int64(len(b)))
	return string(b), err
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// faithful checks the recording itself: without a power cut the rebuilt disk is,
// byte for byte, the real one.
func (s *scenario) faithful() {
	s.t.Helper()
	dir := s.t.TempDir()
	if err := s.rec.disk.rebuild(cut{at: never, way: finished}, dir); err != nil {
		s.t.Fatal(err)
	}
	real, rebuilt := tree(s.t, s.root), tree(s.t, dir)
	for name, content := range real {
		if got, ok := rebuilt[name]; !ok || got != content {
			s.t.Errorf("%s: the model has %t, %d bytes; the disk has %d", name, ok, len(got), len(content))
		}
	}
	for name := range rebuilt {
		if _, ok := real[name]; !ok {
			s.t.Errorf("%s is in the model and not on the disk", name)
		}
	}
}

// tree is all files below dir with their modes and contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		all[name] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[name] += " " + string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// choose makes cuts from a moment on and up to the last fact: a third of them right
// after something was told, a third at any call on the disk, and a third at one that
// is no write or sync of a file, of which there are few.
func (s *scenario) choose(n int, seed uint64, from int, told []*fact) (cuts []cut) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var after, calls, rare []int
	last := s.rec.end
	for _, f := range told {
		after = append(after, f.at+1)
		last = f.at + 1
	}
	for _, m := range s.rec.moments {
		if m.ended || m.begin < from || m.begin >= last || !m.matters() || !s.rec.disk.concerns(m.call) {
			continue
		}
		calls = append(calls, m.begin+1)
		if m.name != "write" && m.name != "fdatasync" {
			rare = append(rare, m.begin+1)
		}
	}
	for i := range n {
		c := cut{way: way(i % int(ways)), seed: rng.Uint64()}
		among := [][]int{after, calls, rare}[i/int(ways)%3]
		c.at = among[rng.IntN(len(among))]
		cuts = append(cuts, c)
	}
	return cuts
}

// near makes cuts at the calls that make a new file of one of these kinds count, each
// with names in any order.
func (s *scenario) near(n int, seed uint64, kinds ...string) (cuts []cut) {
	rng := rand.New(rand.NewPCG(seed, 2))
	var near []int
	left := 0 // calls until the change is over
	for _, m := range s.rec.moments {
		if m.ended || !m.matters() || !s.rec.disk.concerns(m.call) {
			continue
		}
		if strings.HasPrefix(m.name, "open") {
			file := filepath.Base(m.plain().path(0, 1))
			if slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(file, kind) || filepath.Ext(file) == kind }) {
				left = 10
			}
		}
		if left > 0 {
			near, left = append(near, m.begin+1), left-1
		}
	}
	for i := range n {
		cuts = append(cuts, cut{at: near[rng.IntN(len(near))], way: pages + way(i%2), seed: rng.Uint64()})
	}
	return cuts
}

// outcome is what a check of cuts came to.
type outcome struct {
	cuts, facts atomic.Int64
	mu          sync.Mutex
	broken      []string
}

// try rebuilds the disk after each cut and lets check look at it, two at a time.
// check returns how many facts it compared and what is not as it was told.
func (s *scenario) try(t *testing.T, cuts []cut, check func(root string, c cut) (int, []string)) *outcome {
	o := &outcome{}
	var workers sync.WaitGroup
	next := make(chan cut)
	for range 2 {
		workers.Go(func() {
			for c := range next {
				dir, err := os.MkdirTemp(s.traces, "cut-")
				if err == nil {
					err = s.rec.disk.rebuild(c, dir)
				}
				if err != nil {
					t.Error(err)
					continue
				}
				n, broken := check(dir, c)
				o.cuts.Add(1)
				o.facts.Add(int64(n))
				if len(broken) > 0 {
					o.add(t, s, c, broken)
				}
				os.RemoveAll(dir)
			}
		})
	}
	for _, c := range cuts {
		next <- c
	}
	close(next)
	workers.Wait()
	return o
}

// add notes a violation. The first one of a scenario is kept where
// LONGWIRE_SYSDISK_KEEP says.
func (o *outcome) add(t *testing.T, s *scenario, c cut, broken []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := ""
	if keep := os.Getenv("LONGWIRE_SYSDISK_KEEP"); keep != "" && len(o.broken) == 0 {
		kept = filepath.Join(keep, strings.ReplaceAll(t.Name(), "/", "-"))
		err := errors.Join(os.RemoveAll(kept), s.rec.disk.rebuild(c, filepath.Join(kept, "disk")))
		for i := range s.runs {
			name := fmt.Sprint("trace-", i+1)
			b, e := os.ReadFile(filepath.Join(s.traces, name))
			err = errors.Join(err, e, os.WriteFile(filepath.Join(kept, name), b, 0o600))
		}
		kept = fmt.Sprintf("\nkept in %s (%v)", kept, err)
	}
	o.broken = append(o.broken, fmt.Sprintf("%v: %d broken\n  %s\nthe last calls:\n%s%s", c, len(broken),
		strings.Join(broken[:min(5, len(broken))], "\n  "), s.rec.around(c.at), kept))
}

// report fails the test for each violation and prints the totals.
func (o *outcome) report(t *testing.T, seed uint64, more string) {
	t.Helper()
	for _, b := range o.broken[:min(5, len(o.broken))] {
		t.Error(b)
	}
	totals.cuts += o.cuts.Load()
	totals.facts += o.facts.Load()
	totals.broken += len(o.broken)
	t.Logf("%d cuts, %d facts checked, %d cuts with violations; seed %d; %s", o.cuts.Load(), o.facts.Load(), len(o.broken), seed, more)
}

// totals are those of all scenarios, which run one after the other.
var totals struct {
	cuts, facts int64
	broken      int
}

// mustFind fails the test if a cut is without a violation.
func (o *outcome) mustFind(t *testing.T) {
	t.Helper()
	if n := o.cuts.Load(); int(n) != len(o.broken) || n == 0 {
		t.Errorf("the fault was found after %d of %d cuts", len(o.broken), n)
		return
	}
	first, _, _ := strings.Cut(o.broken[0], "\nthe last calls")
	t.Logf("found after %d of %d cuts, such as:\n%s", len(o.broken), o.cuts.Load(), first)
}

// serve starts a gateway on a rebuilt disk and calls look with it.
func serve(t *testing.T, dataDir string, with func(*gateway) (int, []string), args ...string) (int, []string) {
	g, err := prepare()
	if err == nil {
		g.process, err = start(append([]string{longwire(t)}, g.command(dataDir, args...)...))
	}
	if err != nil {
		return 0, []string{err.Error()}
	}
	defer g.stop()
	if err := g.ready(); err != nil {
		return 0, []string{err.Error()}
	}
	return with(&g)
}

// A gateway under load, from the first start in a directory that is not there,
// over two restarts: after a power cut at any moment everything that it told is
// true, and no number is given twice.
func TestPowerCutUnderLoad(t *testing.T) {
	s, l := underLoad(t)
	check := func(root string, c cut, told []*fact) (int, []string) {
		return checkLoad(t, filepath.Join(root, "srv/gw/data"), told, c.seed)
	}
	first := l.facts.all[0].at
	t.Run("any moment", func(t *testing.T) {
		seed := seed(t)
		o := s.try(t, s.choose(cutsOf(t, 35), seed, first, l.facts.all), func(root string, c cut) (int, []string) {
			return check(root, c, l.facts.before(c.at))
		})
		o.report(t, seed, fmt.Sprintf("load: %v; told: %s; %d calls traced", l, l.facts.kinds(), len(s.rec.moments)/2)+s.rec.disk.turnover())
	})
	t.Run("while the store is made", func(t *testing.T) {
		seed := seed(t)
		o := s.try(t, s.choose(cutsOf(t, 8), seed, 0, l.facts.before(first+1)), func(root string, c cut) (int, []string) {
			return check(root, c, l.facts.before(c.at))
		})
		o.report(t, seed, "")
	})

	t.Run("while the manifest changes", func(t *testing.T) {
		seed := seed(t)
		o := s.try(t, s.near(cutsOf(t, 7), seed, "MANIFEST-"), func(root string, c cut) (int, []string) {
			return check(root, c, l.facts.before(c.at))
		})
		o.report(t, seed, "")
	})

	// The controls: faults that the checker must find.
	accepted := l.facts.of("accepted")
	t.Run("a disk that forgets is found", func(t *testing.T) {
		seed := seed(t)
		var cuts []cut
		for i := range 6 {
			at := accepted[(i+1)*len(accepted)/8].at + 1
			cuts = append(cuts, cut{at: at, way: synced, seed: seed, forget: s.rec.disk.syncsAgo(at, 10)})
		}
		s.try(t, cuts, func(root string, c cut) (int, []string) {
			return check(root, c, l.facts.before(c.at))
		}).mustFind(t)
	})
	t.Run("an answer before its sync is found", func(t *testing.T) {
		seed := seed(t)
		early := map[int]*fact{}
		var cuts []cut
		for i := range 6 {
			f, sync := s.rec.disk.firstWhole(t, accepted[(i+1)*len(accepted)/8:])
			f.at = sync.begin // as if the gateway did not wait for the sync
			early[f.at+1] = &f
			cuts = append(cuts, cut{at: f.at + 1, way: synced, seed: seed})
		}
		s.try(t, cuts, func(root string, c cut) (int, []string) {
			return check(root, c, []*fact{early[c.at]})
		}).mustFind(t)
	})
}

// turnover counts the files that were made and removed.
func (d *disk) turnover() string {
	made, gone := map[string]int{}, map[string]int{}
	for _, op := range d.names {
		for _, e := range op.set {
			if e.to == nil {
				gone[filepath.Ext(e.name)]++
			} else {
				made[filepath.Ext(e.name)]++
			}
		}
	}
	return fmt.Sprintf("; names made and gone: logs %d, %d, tables %d, %d", made[".log"], gone[".log"], made[".sst"], gone[".sst"])
}

// syncsAgo is the end of the n-th sync of a log before a moment.
func (d *disk) syncsAgo(at, n int) int {
	var ends []int
	for _, f := range d.files {
		for _, s := range f.syncs {
			if s.name == "fdatasync" && s.end < at {
				ends = append(ends, s.end)
			}
		}
	}
	slices.Sort(ends)
	return ends[max(0, len(ends)-n)]
}

// firstWhole returns the first of the facts whose text is in one piece on the disk,
// and the sync that brought it there. A log is written in blocks, and a text may lie
// over two.
func (d *disk) firstWhole(t *testing.T, facts []*fact) (fact, *call) {
	t.Helper()
	for _, f := range facts {
		if s := d.syncOf(f.text); s != nil {
			return *f, s
		}
	}
	t.Fatal("no text was written in one piece and synced")
	return fact{}, nil
}

// syncOf finds the sync that brought a text to the disk for the first time, nil for
// none.
func (d *disk) syncOf(text string) *call {
	for _, f := range d.files {
		for _, w := range f.writes {
			if !bytes.Contains(w.data, []byte(text)) {
				continue
			}
			for _, s := range f.syncs {
				if s.begin > w.end {
					return s
				}
			}
		}
	}
	return nil
}

// underLoad records the load.
func underLoad(t *testing.T) (*scenario, *load) {
	t.Helper()
	s := newScenario(t, nil)
	g, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	l := newLoad(t, &g)
	for life := range 3 {
		var args []string
		if life > 0 {
			args = append(args, "--data-max-disk", "64MiB") // small logs and tables: many are made, merged and removed
		}
		p := s.start(g.command(filepath.Join(s.root, "srv/gw/data"), args...))
		g.process = p.process
		if err := g.ready(); err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			l.begin(g.tcpAddr)
		}
		<-time.After(1500 * time.Millisecond) // of load
		if life == 2 {
			l.finish()
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.end(0)
	}
	s.faithful()
	if err := l.facts.date(&s.rec.sent); err != nil {
		t.Fatal(err)
	}
	return s, l
}

// checkLoad starts a gateway on a rebuilt store and compares.
func checkLoad(t *testing.T, dataDir string, told []*fact, seed uint64) (int, []string) {
	return serve(t, dataDir, func(g *gateway) (int, []string) {
		c := newCaller(g.httpAddr, nil)
		defer c.close()
		v, err := look(g, c, loadClients(), "")
		if err != nil {
			return 0, []string{err.Error()}
		}
		return v.check(told, seed)
	})
}
