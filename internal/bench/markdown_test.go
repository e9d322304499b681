package bench

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestReportGolden(t *testing.T) {
	r := aReport()
	r.Rows[0].Runs, r.Rows[0].Held = []float64{0.37, 0.41, 0.35}, 1
	r.Scenarios = []Scenario{aScenario(), {Name: "storm", Title: "Storm", What: "All come back.", Failure: "no ports"}}
	dir := t.TempDir()
	if err := r.save(filepath.Join(dir, "made", "by save")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Join(dir, "made", "by save"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		got, err := os.ReadFile(filepath.Join(dir, "made", "by save", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", f.Name())
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update writes it anew):\n%s", f.Name(), diff)
		}
	}
	if got, want := strings.Join(names, " "), "budgets.svg connect.svg report.json report.md"; got != want {
		t.Errorf("files are %s, want %s", got, want)
	}
}

func TestReportThatCannotBeWritten(t *testing.T) {
	r := aReport()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.save(file); err == nil {
		t.Error("a report in a file is no error")
	}
}

func TestCapacity(t *testing.T) {
	c := Capacity{BaseRSS: 32 << 20, Plain: 4000, TLS: 14_000, Kernel: 4000, Measured: 15_000}
	// Three quarters of a GiB less 32 MiB is 771,751,936 bytes.
	if got, want := c.holds(1<<30, c.Plain), 96_468; got != want {
		t.Errorf("1 GiB holds %d clients, want %d", got, want)
	}
	if got, want := c.holds(10<<20, c.Plain), 0; got != want {
		t.Errorf("10 MiB hold %d clients, want %d", got, want)
	}
	c.Kernel = none
	if got, want := c.holds(1<<30, c.Plain), 85_750; got != want {
		t.Errorf("where the kernel's part is not known 1 GiB holds %d clients, want %d", got, want)
	}
	if note := c.note(); !strings.Contains(note, "Extrapolated") || !strings.Contains(note, "assumed") {
		t.Errorf("note is %q, want that it is extrapolated and assumed", note)
	}
	for n, want := range map[int]float64{0: 0, 99: 99, 100: 100, 96_468: 96_000, 1_999_999: 1_900_000} {
		if got := twoDigits(n); got != want {
			t.Errorf("twoDigits(%d) = %v, want %v", n, got, want)
		}
	}
}

func TestHeartbeatCost(t *testing.T) {
	quiet := &watch{clients: 1000, elapsed: 2e9, cpu: 4e6} // 0.2 %
	w := &watch{clients: 1000, elapsed: 4e9, cpu: 88e6, beats: 4000}
	if got, want := w.percent(), 2.2; math.Abs(got-want) > 1e-9 {
		t.Errorf("share of a core is %v %%, want %v", got, want)
	}
	if got, want := w.each(quiet), 20.0; math.Abs(got-want) > 1e-9 { // 2 % for 1,000 a second
		t.Errorf("a heartbeat costs %v µs, want %v", got, want)
	}
	i := idling{clients: 10_000, quiet: quiet, standIns: []standIn{{1e9, w}}}
	if got, want := i.of1000(w), 0.22; math.Abs(got-want) > 1e-9 {
		t.Errorf("1,000 of 10,000 clients take %v %%, want %v", got, want)
	}
	million := i.million()
	if got, want := float64(million.Lines[0].Values[1]), 2.002; math.Abs(got-want) > 1e-9 { // 100,000 a second, and what is taken without
		t.Errorf("a million clients at 10 s take %v cores, want %v", got, want)
	}
}

func TestGrowth(t *testing.T) {
	for most, want := range map[int][]int{15_000: {1000, 2500, 5000, 10_000, 15_000}, 3: {1, 2, 3}, 1: {1}} {
		if diff := cmp.Diff(want, growthSteps(most)); diff != "" {
			t.Errorf("steps to %d (-want +got):\n%s", most, diff)
		}
	}
	g := growth{base: step{rss: 1000, kernel: 5000}, steps: []step{{clients: 10, cpuEach: 100, rss: 3000}, {clients: 30, cpuEach: 40, rss: 7000, kernel: 65_000}}}
	if got, want := g.each(g.last()), 200.0; got != want {
		t.Errorf("memory each is %v, want %v", got, want)
	}
	if got, want := g.cpu(), 60.0; got != want {
		t.Errorf("CPU of a registration is %v, want %v", got, want)
	}
	if got, want := g.kernelEach(), 1000.0; got != want { // two sockets for each client
		t.Errorf("the kernel's part is %v, want %v", got, want)
	}
	g.steps[1].kernel = 4000
	if got := g.kernelEach(); !math.IsNaN(got) {
		t.Errorf("where the kernel's memory shrank its part is %v, want none", got)
	}
}
