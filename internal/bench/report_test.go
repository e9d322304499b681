package bench

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestJudge(t *testing.T) {
	atLeast := budget{Value: "v", Must: 0.4, Stretch: 0.5, AtLeast: true}
	atMost := budget{Value: "v", Must: 20, Stretch: 16}
	worst := budget{Value: "v", Must: 20, Worst: true}
	none := budget{Value: "v", Unit: number}
	for _, c := range []struct {
		b      budget
		values []Figure
		want   string
	}{
		{atLeast, []Figure{0.399}, verdictMissed}, {atLeast, []Figure{0.4}, verdictOK}, {atLeast, []Figure{0.5}, verdictStretch},
		{atMost, []Figure{20.1}, verdictMissed}, {atMost, []Figure{20}, verdictOK}, {atMost, []Figure{16}, verdictStretch},
		// The median counts, or the worst.
		{atMost, []Figure{21, 20, 22}, verdictMissed}, {atMost, []Figure{25, 20, 19}, verdictOK}, {worst, []Figure{25, 20, 19}, verdictMissed},
		{none, []Figure{0.004}, verdictOK}, {none, []Figure{0.02}, verdictMissed}, {none, []Figure{-1}, verdictOK},
		{atMost, nil, verdictNotMeasured}, {atMost, []Figure{unknown}, verdictNotMeasured},
	} {
		s := scenario{budgets: []budget{c.b}}
		rows := s.judge(&Scenario{Values: map[string][]Figure{"v": c.values}})
		if len(rows) != 1 || rows[0].Verdict != c.want {
			t.Errorf("%v against %+v is %+v, want %q", c.values, c.b, rows, c.want)
		}
	}
	s := scenario{budgets: []budget{atMost}}
	if rows := s.judge(&Scenario{Values: map[string][]Figure{"v": {1}}, Failure: "no ports"}); rows[0].Verdict != verdictNotMeasured {
		t.Errorf("a scenario that failed has the verdict %q", rows[0].Verdict)
	}
}

func TestChosen(t *testing.T) {
	names := func(chosen []scenario) (list []string) {
		for _, s := range chosen {
			list = append(list, s.Name)
		}
		return list
	}
	all, err := (&Options{All: true}).chosen()
	if err != nil || !slices.Equal(names(all), Names()) || all[0].Name != "push" {
		t.Errorf("all chosen gives %v, %v; want every scenario, the default path first", names(all), err)
	}
	some, err := new(Options).chosen()
	if got := names(some); err != nil || slices.Contains(got, "growth") || !slices.Contains(got, "restart") {
		t.Errorf("none chosen gives %v, %v; want those with budgets", got, err)
	}
	some, err = (&Options{Scenarios: []string{"restart", "growth"}}).chosen()
	if got := names(some); err != nil || !slices.Equal(got, []string{"growth", "restart"}) {
		t.Errorf("chosen are %v, %v; want growth and restart, in the order of the table", got, err)
	}
	if _, err := (&Options{Scenarios: []string{"lists"}}).chosen(); err == nil || !strings.Contains(err.Error(), "push-online") {
		t.Errorf("an unknown name gives %v, want an error that lists the known ones", err)
	}
	if sorted := slices.Compact(slices.Sorted(slices.Values(Names()))); len(sorted) != len(Names()) {
		t.Error("two scenarios have one name")
	}
}

// aReport is one with everything in it, of fixed figures.
func aReport() Report {
	s := Scenario{heading: heading{"connect", "Devices connect and stay", "devices are connected", "none"}, Notes: []string{"Extrapolated."},
		Tables: []*Table{{Of: "clients", Columns: []Column{{"registrations", perSecond}, {"RSS", mebibytes}}}},
		Charts: []Chart{{Name: "connect", Title: "Memory", X: Axis{Label: "clients"}, Y: Axis{Label: "MiB"},
			Series: []Series{{Name: "longwire", Points: [][2]Figure{{0, 30}, {1000, 34.1}}}}}}}
	s.Tables[0].add("1,000", 12345.6, 34.1)
	s.Tables[0].add("2,000", unknown, 38)
	return Report{
		Machine: Machine{At: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), CPUs: 2, CPU: "Some CPU @ 3 GHz", Memory: 24 << 30, OS: "linux 6.18", Arch: "amd64",
			Go: "go1.26.8", Version: "v1.0.0", FsyncMS: 0.271, Load: 0.3, Clients: 5000, Files: 17000, Rounds: 5, Duration: 1, Seed: 7},
		Took: 400,
		Budgets: []Row{
			{Scenario: "push", budget: budget{Value: "rate", What: "HTTP push", Unit: ratio, Must: 0.4, Stretch: 0.5, AtLeast: true},
				Median: 0.37, Least: 0.35, Most: 0.41, Verdict: verdictMissed},
			{Scenario: "restart", budget: budget{Value: "ready", What: "restart to ready", Unit: seconds, Must: 3},
				Median: unknown, Least: unknown, Most: unknown, Verdict: verdictNotMeasured},
		},
		Scenarios: []Scenario{s, {heading: heading{"storm", "Storm", "lost", "dials"}, Failure: "no ports"}},
	}
}

func TestReportGolden(t *testing.T) {
	r := aReport()
	dir := filepath.Join(t.TempDir(), "made", "by save")
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
		got, err := os.ReadFile(filepath.Join(dir, f.Name()))
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

// A logarithmic axis has no place for 0, and a chart without points is a chart.
func TestChartsOfOddValues(t *testing.T) {
	for _, series := range [][]Series{nil, {{Name: "zero", Points: [][2]Figure{{0, 0}, {1, unknown}}}}, {{Name: "one", Points: [][2]Figure{{1, 1}}}}} {
		c := Chart{Name: "odd", X: Axis{Log: true}, Y: Axis{Log: true}, Series: series}
		if svg, err := c.svg(); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
			t.Errorf("%v: %d bytes, %v", series, len(svg), err)
		}
	}
}

func TestOutcome(t *testing.T) {
	r := aReport()
	r.Scenarios = r.Scenarios[:1]
	if err := r.outcome(false); err != nil {
		t.Errorf("a missed budget gives %v, want nil", err)
	}
	if err := r.outcome(true); !errors.Is(err, ErrMissed) || !strings.Contains(err.Error(), "push rate") {
		t.Errorf("a missed budget gives %v when strict, want ErrMissed with its name", err)
	}
	r.Scenarios = append(r.Scenarios, Scenario{heading: heading{Name: "storm"}, Failure: "no ports"})
	if err := r.outcome(false); err == nil || !strings.Contains(err.Error(), "storm") {
		t.Errorf("a failed measurement gives %v, want an error with its name", err)
	}
}

func TestItemIsWrapped(t *testing.T) {
	lines := strings.Split(item(strings.Repeat("µ234 ", 60)), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "- µ") || !strings.HasPrefix(lines[1], "  µ") {
		t.Errorf("%q", lines)
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > 120 {
			t.Errorf("%d columns: %q", n, l)
		}
	}
}
