package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/internal/bench/chart"
)

func TestJudge(t *testing.T) {
	atLeast := budget{must: 0.4, stretch: 0.5, atLeast: true}
	atMost := budget{must: 20, stretch: 16}
	noStretch := budget{must: 14}
	for _, c := range []struct {
		b      budget
		values []float64
		want   string
		held   int
	}{
		{atLeast, []float64{0.399}, verdictMissed, 0}, {atLeast, []float64{0.4}, verdictOK, 1}, {atLeast, []float64{0.5}, verdictStretch, 1},
		{atMost, []float64{20.1}, verdictMissed, 0}, {atMost, []float64{20}, verdictOK, 1}, {atMost, []float64{16}, verdictStretch, 1},
		{noStretch, []float64{1}, verdictOK, 1}, {noStretch, []float64{15}, verdictMissed, 0},
		// Three of five or better.
		{atMost, []float64{21, 20, 21, 20, 20}, verdictOK, 3}, {atMost, []float64{21, 20, 21, 20, 21}, verdictMissed, 2},
		{atMost, []float64{16, 20, 15, 14, 17}, verdictStretch, 5}, {atMost, []float64{16, 15, 17, 18, 19}, verdictOK, 5},
		{atMost, []float64{20, 21}, verdictMissed, 1}, {atMost, []float64{20, 21, 20}, verdictOK, 2},
	} {
		if got, held := c.b.judge(c.values); got != c.want || held != c.held {
			t.Errorf("%v against %+v is %q with %d held, want %q with %d", c.values, c.b, got, held, c.want, c.held)
		}
	}
}

func TestChoose(t *testing.T) {
	c, err := choose(nil, false)
	if err != nil || len(c.budgets) != len(budgets) || len(c.scenarios) != 0 {
		t.Errorf("none chosen gives %d budgets and %d scenarios, %v", len(c.budgets), len(c.scenarios), err)
	}
	c, err = choose(nil, true)
	if err != nil || len(c.budgets) != len(budgets) || len(c.scenarios) != len(scenarios) {
		t.Errorf("all chosen gives %d budgets and %d scenarios, %v", len(c.budgets), len(c.scenarios), err)
	}
	c, err = choose([]string{"restart", "storm", "bulk"}, false)
	if err != nil || len(c.budgets) != 2 || c.budgets[0].name != "bulk" || c.budgets[1].name != "restart" ||
		len(c.scenarios) != 2 || c.scenarios[0].name != "bulk" || c.scenarios[1].name != "storm" {
		t.Errorf("chosen are %v, %v; want bulk and restart, bulk and storm, in the order of the tables", c, err)
	}
	if _, err := choose([]string{"lists"}, false); err == nil || !strings.Contains(err.Error(), "push-online") || !strings.Contains(err.Error(), "storm") {
		t.Errorf("an unknown name gives %v, want an error that lists the known ones", err)
	}
}

func TestNamesAreDifferent(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Names() {
		if seen[name] {
			t.Errorf("two measurements are called %s", name)
		}
		seen[name] = true
	}
}

// aReport is one with everything in it, of fixed figures.
func aReport() Report {
	value := 0.37
	return Report{
		Machine: Machine{At: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), CPUs: 2, CPU: "Some CPU @ 3 GHz", Memory: 24 << 30, OS: "linux 6.18", Arch: "amd64",
			Go: "go1.26.8", Version: "v1.0.0", FsyncMS: 0.271, Load: 0.3, Clients: 5000, Files: 17000, Duration: 3},
		Took: 400,
		Rows: []Row{
			{Name: "push-online", What: "HTTP push", Unit: ratio, Measured: &value, Must: 0.4, Stretch: 0.5, AtLeast: true, Runs: []float64{value}, Held: 0,
				Verdict: verdictMissed, Detail: "8,000/s; bare 20,000/s"},
			{Name: "restart", What: "restart to ready", Unit: seconds, Must: 3, Verdict: verdictNotMeasured, Detail: "no room"},
		},
	}
}

// aScenario has all that a scenario may have.
func aScenario() Scenario {
	s := Scenario{Name: "connect", Title: "Clients connect and stay", What: "Clients connect in steps.", Findings: []string{"An idle client takes 4.1 KiB."},
		Tables: []Table{{Of: "clients", Columns: []Column{{"registrations", perSecond}, {"RSS", mebibytes}}}},
		Charts: []chart.Chart{{Name: "connect", Title: "Memory", X: chart.Axis{Label: "clients"}, Y: chart.Axis{Label: "MiB"},
			Series: []chart.Series{{Name: "longwire", Points: [][2]float64{{0, 30}, {1000, 34.1}}}}}},
		Capacity: &Capacity{BaseRSS: 32 << 20, Plain: 4200, TLS: 14000, Kernel: 4800, Measured: 15000}}
	s.Tables[0].add("1,000", 12345.6, 34.1)
	s.Tables[0].add("2,000", float64(none), 38)
	return s
}

func TestText(t *testing.T) {
	r := aReport()
	r.Scenarios = []Scenario{aScenario(), {Name: "storm", Title: "Storm", Failure: "no ports"}}
	want := `2 CPUs, linux 6.18, amd64, go1.26.8, longwire v1.0.0, fsync p50 0.27 ms, 5,000 clients, load before 0.3

WHAT              MEASURED  MUST       STRETCH    VERDICT
HTTP push         0.370 ×   ≥ 0.400 ×  ≥ 0.500 ×  MISSED
restart to ready  -         ≤ 3.00 s              not measured

push-online  8,000/s; bare 20,000/s
restart      no room

CONNECT: Clients connect and stay

clients  registrations  RSS
1,000    12,346/s       34.1 MiB
2,000    -              38.0 MiB

- An idle client takes 4.1 KiB.

STORM: Storm
could not be measured: no ports
`
	if diff := cmp.Diff(want, r.text()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestTextOfSeveralRuns(t *testing.T) {
	r := aReport()
	r.Rows[0].Runs, r.Rows[0].Held = []float64{0.37, 0.41, 0.35}, 1
	want := `2 CPUs, linux 6.18, amd64, go1.26.8, longwire v1.0.0, fsync p50 0.27 ms, 5,000 clients, load before 0.3

WHAT              MEDIAN   LEAST    MOST     HELD    MUST       STRETCH    VERDICT
HTTP push         0.370 ×  0.350 ×  0.410 ×  1 of 3  ≥ 0.400 ×  ≥ 0.500 ×  MISSED
restart to ready  -        -        -        -       ≤ 3.00 s              not measured

push-online  8,000/s; bare 20,000/s
restart      no room
`
	if diff := cmp.Diff(want, r.text()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	r := aReport()
	r.Scenarios = []Scenario{aScenario()}
	var out bytes.Buffer
	if err := r.write(&out, true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine struct{ CPUs int }
		Rows    []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"name": "push-online", "what": "HTTP push", "unit": "ratio", "measured": 0.37, "must": 0.4, "stretch": 0.5, "at_least": true,
			"verdict": "MISSED", "runs": []any{0.37}, "held": 0.0, "detail": "8,000/s; bare 20,000/s"},
		{"name": "restart", "what": "restart to ready", "unit": "seconds", "measured": nil, "must": 3.0, "verdict": "not measured", "held": 0.0, "detail": "no room"},
	}
	if diff := cmp.Diff(want, got.Rows); diff != "" || got.Machine.CPUs != 2 {
		t.Errorf("machine %+v, rows (-want +got):\n%s", got.Machine, diff)
	}
	var again Report
	if err := json.Unmarshal(out.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	if got, want := again.text(), r.text(); got != want {
		t.Errorf("what was read back reads\n%s\nwant\n%s", got, want)
	}
}

func TestOutcome(t *testing.T) {
	r := aReport()
	if err := r.outcome(false); err != nil {
		t.Errorf("a missed budget gives %v, want nil", err)
	}
	if err := r.outcome(true); !errors.Is(err, ErrMissed) || !strings.Contains(err.Error(), "push-online") {
		t.Errorf("a missed budget gives %v when strict, want ErrMissed with its name", err)
	}
	r.Rows[1].Verdict = verdictFailed
	r.Scenarios = []Scenario{{Name: "storm", Failure: "no ports"}}
	if err := r.outcome(false); err == nil || !strings.Contains(err.Error(), "restart, storm") {
		t.Errorf("failed measurements give %v, want an error with their names", err)
	}
}

func TestRowOfAMeasurement(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, c := range []struct {
		err             error
		verdict, detail string
	}{
		{nil, verdictOK, "3 of 4"},
		{notMeasured("no clock"), verdictNotMeasured, "no clock"},
		{broken, verdictFailed, broken.Error()},
	} {
		b := budget{must: 2, measure: func(*bench, context.Context) (reading, error) { return reading{value: 1, detail: "3 of 4"}, c.err }}
		row := Row{}
		err := b.take(t.Context(), &bench{}, &row)
		row.settle(&b)
		if err != nil || row.Verdict != c.verdict || row.Detail != c.detail || (row.Measured != nil) != (c.err == nil) {
			t.Errorf("error %v gives row %+v and %v, want verdict %q and detail %q", c.err, row, err, c.verdict, c.detail)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := budget{measure: func(*bench, context.Context) (reading, error) { cancel(); return reading{}, broken }}
	if err := b.take(ctx, &bench{}, &Row{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted measurement gives %v, want context.Canceled", err)
	}
}

func TestRowOfSeveralRuns(t *testing.T) {
	values, n := []float64{1, 5, 3, 9, 2}, 0
	b := budget{must: 3, measure: func(*bench, context.Context) (reading, error) {
		n++
		return reading{value: values[n-1], detail: fmt.Sprint("run ", n)}, nil
	}}
	row := Row{}
	for range values {
		if err := b.take(t.Context(), &bench{}, &row); err != nil {
			t.Fatal(err)
		}
	}
	row.settle(&b)
	if *row.Measured != 3 || row.Detail != "run 3" || row.Held != 3 || row.Verdict != verdictOK {
		t.Errorf("row is %+v with %v, want the median 3 of run 3, held in 3", row, *row.Measured)
	}
}

func TestFailureInALaterRunIsTold(t *testing.T) {
	fails := false
	b := budget{must: 3, measure: func(*bench, context.Context) (reading, error) {
		if fails {
			return reading{}, errors.New("no room")
		}
		fails = true
		return reading{value: 1}, nil
	}}
	row := Row{}
	for range 3 {
		if err := b.take(t.Context(), &bench{}, &row); err != nil {
			t.Fatal(err)
		}
	}
	row.settle(&b)
	if row.Verdict != verdictFailed || row.Detail != "no room" || row.Measured != nil {
		t.Errorf("row is %+v, want a failure", row)
	}
}
