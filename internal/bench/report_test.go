package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	atLeast := budget{must: 0.4, stretch: 0.5, atLeast: true}
	atMost := budget{must: 20, stretch: 16}
	noStretch := budget{must: 14}
	for _, c := range []struct {
		b     budget
		value float64
		want  string
	}{
		{atLeast, 0.399, verdictMissed}, {atLeast, 0.4, verdictOK}, {atLeast, 0.5, verdictStretch},
		{atMost, 20.1, verdictMissed}, {atMost, 20, verdictOK}, {atMost, 16, verdictStretch},
		{noStretch, 1, verdictOK}, {noStretch, 15, verdictMissed},
	} {
		if got := c.b.judge(c.value); got != c.want {
			t.Errorf("%v against %+v is %q, want %q", c.value, c.b, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	all, err := choose(nil)
	if err != nil || len(all) != len(budgets) {
		t.Errorf("none chosen gives %d of %d, %v", len(all), len(budgets), err)
	}
	some, err := choose([]string{"restart", "list"})
	if err != nil || len(some) != 2 || some[0].name != "list" || some[1].name != "restart" {
		t.Errorf("two chosen give %v, %v; want them in the order of the table", some, err)
	}
	if _, err := choose([]string{"lists"}); err == nil || !strings.Contains(err.Error(), "push-online") {
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

func aReport() Report {
	value := 0.37
	return Report{
		Machine: Machine{CPUs: 2, OS: "linux 6.18", Arch: "amd64", Go: "go1.26.8", Version: "v1.0.0", FsyncMS: 0.271, Clients: 5000},
		Rows: []Row{
			{Name: "push-online", What: "HTTP push", Unit: "ratio", Measured: &value, Must: 0.4, Stretch: 0.5, AtLeast: true,
				Verdict: verdictMissed, Detail: "8,000/s; bare 20,000/s", unit: ratio},
			{Name: "restart", What: "restart to ready", Unit: "seconds", Must: 3, Verdict: verdictNotMeasured, Detail: "no room", unit: seconds},
		},
	}
}

func TestTable(t *testing.T) {
	r := aReport()
	want := `2 CPUs, linux 6.18, amd64, go1.26.8, longwire v1.0.0, fsync p50 0.27 ms, 5,000 clients

WHAT              MEASURED  MUST       STRETCH    VERDICT
HTTP push         0.370 ×   ≥ 0.400 ×  ≥ 0.500 ×  MISSED
restart to ready  -         ≤ 3.00 s              not measured

push-online  8,000/s; bare 20,000/s
restart      no room
`
	if diff := cmp.Diff(want, r.table()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	r := aReport()
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
			"verdict": "MISSED", "detail": "8,000/s; bare 20,000/s"},
		{"name": "restart", "what": "restart to ready", "unit": "seconds", "measured": nil, "must": 3.0, "verdict": "not measured", "detail": "no room"},
	}
	if diff := cmp.Diff(want, got.Rows); diff != "" || got.Machine.CPUs != 2 {
		t.Errorf("machine %+v, rows (-want +got):\n%s", got.Machine, diff)
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
	if err := r.outcome(false); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("a failed measurement gives %v, want an error with its name", err)
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
		row, err := b.row(t.Context(), &bench{})
		if err != nil || row.Verdict != c.verdict || row.Detail != c.detail || (row.Measured != nil) != (c.err == nil) {
			t.Errorf("error %v gives row %+v and %v, want verdict %q and detail %q", c.err, row, err, c.verdict, c.detail)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := budget{measure: func(*bench, context.Context) (reading, error) { cancel(); return reading{}, broken }}
	if _, err := b.row(ctx, &bench{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted measurement gives %v, want context.Canceled", err)
	}
}
