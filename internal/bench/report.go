package bench

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// Report is the result of a run.
type Report struct {
	Machine   Machine    `json:"machine"`
	Took      float64    `json:"took_seconds"`
	Budgets   []Row      `json:"budgets"`
	Scenarios []Scenario `json:"scenarios"`
}

// Machine is the machine and the settings of the measurement.
type Machine struct {
	At       time.Time `json:"at"`
	CPUs     int       `json:"cpus"`
	CPU      string    `json:"cpu,omitempty"`          // model; "" = not known
	Memory   int64     `json:"memory_bytes,omitempty"` // 0 = not known
	OS       string    `json:"os"`                     // with the kernel's version if it is known
	Arch     string    `json:"arch"`
	Go       string    `json:"go"`
	Version  string    `json:"version"` // of this program
	FsyncMS  Figure    `json:"fsync_p50_ms"`
	Load     float64   `json:"load,omitempty"` // of the minute before, in runnable threads; 0 = not known
	Clients  int       `json:"clients"`
	Files    int       `json:"connections_per_process"` // by the limit of open files
	Rounds   int       `json:"rounds"`
	Duration float64   `json:"seconds_per_side_and_round"`
	Seed     uint64    `json:"seed"`
}

// budget is one promise about a value of a scenario.
type budget struct {
	Value   string  `json:"value"` // its name in the scenario
	What    string  `json:"what"`
	Unit    unit    `json:"unit"`
	Must    float64 `json:"must"`
	Stretch float64 `json:"stretch,omitempty"`      // 0 = none
	AtLeast bool    `json:"at_least,omitempty"`     // must and stretch are lower bounds; otherwise upper bounds
	Worst   bool    `json:"worst_counts,omitempty"` // the worst round, not the median
}

// Row is one budget and its measured value.
type Row struct {
	Scenario string `json:"scenario"`
	budget
	Median  Figure `json:"median"`
	Least   Figure `json:"least"`
	Most    Figure `json:"most"`
	Verdict string `json:"verdict"`
}

// Verdicts of a row.
const (
	verdictOK          = "ok"
	verdictStretch     = "stretch" // the further goal is met, too
	verdictMissed      = "MISSED"
	verdictNotMeasured = "not measured"
)

// judge compares the scenario's values with its budgets.
func (s *scenario) judge(out *Scenario) (rows []Row) {
	for _, b := range s.budgets {
		row := Row{Scenario: s.Name, budget: b}
		row.Median, row.Least, row.Most = spread(out.Values[b.Value])
		switch v := row.counted(); {
		case row.Median.none() || out.Failure != "":
			row.Verdict = verdictNotMeasured
		case b.Stretch != 0 && b.meets(v, b.Stretch):
			row.Verdict = verdictStretch
		case b.meets(v, b.Must):
			row.Verdict = verdictOK
		default:
			row.Verdict = verdictMissed
		}
		rows = append(rows, row)
	}
	return rows
}

// counted is the value to be judged.
func (r *Row) counted() float64 {
	switch {
	case r.Worst && r.AtLeast:
		return float64(r.Least)
	case r.Worst:
		return float64(r.Most)
	case r.Unit == number: // a growth of a hundredth is the process's own
		return math.Round(100*max(0, float64(r.Median))) / 100
	}
	return float64(r.Median)
}

func (b *budget) meets(v, goal float64) bool {
	return b.AtLeast && v >= goal || !b.AtLeast && v <= goal
}

// share is the value over the bound, or the bound over a value with a lower bound:
// less is better.
func (r *Row) share() float64 {
	switch v := r.counted(); {
	case r.AtLeast:
		return r.Must / v
	case r.Must == 0:
		return v
	default:
		return v / r.Must
	}
}

// heading describes a scenario.
type heading struct {
	Name  string `json:"name"` // for --scenario
	Title string `json:"title"`
	State string `json:"state"` // of the clients
	Load  string `json:"load"`
}

// Scenario is the result of one scenario.
type Scenario struct {
	heading
	Notes   []string            `json:"notes,omitempty"`
	Tables  []*Table            `json:"tables,omitempty"`
	Charts  []Chart             `json:"charts,omitempty"`
	Values  map[string][]Figure `json:"values,omitempty"`  // of the rounds, by name; budgets refer to them
	Failure string              `json:"failure,omitempty"` // why it could not be measured; "" = it was
}

// value appends rounds to a value.
func (out *Scenario) value(name string, rounds ...Figure) {
	out.Values[name] = append(out.Values[name], rounds...)
}

// table appends an empty table.
func (out *Scenario) table(of string, columns []Column) *Table {
	t := &Table{Of: of, Columns: columns}
	out.Tables = append(out.Tables, t)
	return t
}

// Table is figures in lines under columns.
type Table struct {
	Of      string   `json:"of"` // the kind of its lines
	Columns []Column `json:"columns"`
	Lines   []Line   `json:"lines"`
}

// Column is one kind of figure.
type Column struct {
	Name string `json:"name"`
	Unit unit   `json:"unit"`
}

// Line is one line's figures.
type Line struct {
	Label  string   `json:"label"`
	Values []Figure `json:"values"`
}

// add appends a line.
func (t *Table) add(label string, values ...Figure) {
	t.Lines = append(t.Lines, Line{Label: label, Values: values})
}

// quantiles are columns of latencies.
func quantiles() []Column {
	return []Column{{"p50", milliseconds}, {"p90", milliseconds}, {"p99", milliseconds}, {"p99.9", milliseconds}, {"longest", milliseconds}}
}

// quantiles are the figures for the columns of the same name.
func (r *recorder) quantiles() (list []Figure) {
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		list = append(list, r.ms(q))
	}
	return list
}

// percentiles is a line of a percentileChart.
func (r *recorder) percentiles(name string, bare bool) Series {
	s := Series{Name: name, Bare: bare}
	for i, v := range r.quantiles() {
		s.add(Figure(i), v)
	}
	return s
}

// percentileChart is a chart for lines of percentiles.
func percentileChart(name, title string) Chart {
	return Chart{Name: name, Title: title,
		X: Axis{Label: "share of the pushes that were faster", Names: []string{"p50", "p90", "p99", "p99.9", "max"}},
		Y: Axis{Label: "latency from the intended start, ms", Log: true}}
}

func (r *Report) encode(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
