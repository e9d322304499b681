package bench

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/longwire/longwire/internal/bench/chart"
)

// Report is the outcome of a run.
type Report struct {
	Machine   Machine    `json:"machine"`
	Took      float64    `json:"took_seconds"`
	Rows      []Row      `json:"rows"` // the budgets
	Scenarios []Scenario `json:"scenarios,omitempty"`
}

// Machine is where it was measured.
type Machine struct {
	At       time.Time `json:"at"`
	CPUs     int       `json:"cpus"`
	CPU      string    `json:"cpu,omitempty"`          // model; "" = not known
	Memory   int64     `json:"memory_bytes,omitempty"` // 0 = not known
	OS       string    `json:"os"`                     // with the kernel's version where it is known
	Arch     string    `json:"arch"`
	Go       string    `json:"go"`
	Version  string    `json:"version"` // of longwire
	FsyncMS  float64   `json:"fsync_p50_ms"`
	Load     float64   `json:"load,omitempty"` // of the minute before, in runnable threads; 0 = not known
	Clients  int       `json:"clients"`
	Files    int       `json:"connections_per_process"` // by the limit of open files
	Duration float64   `json:"seconds_per_side"`
}

// Row is one budget and what was measured. Measured is the median of the runs,
// nil when there is none.
type Row struct {
	Name     string    `json:"name"`
	What     string    `json:"what"`
	Unit     unit      `json:"unit"`
	Measured *float64  `json:"measured"`
	Must     float64   `json:"must"`
	Stretch  float64   `json:"stretch,omitempty"`
	AtLeast  bool      `json:"at_least,omitempty"` // must and stretch are lower bounds
	Verdict  string    `json:"verdict"`
	Runs     []float64 `json:"runs,omitempty"` // each run's value
	Held     int       `json:"held"`           // runs that met the budget
	Detail   string    `json:"detail"`

	details []string // of the runs
}

// Scenario is what was seen under one kind of load.
type Scenario struct {
	Name     string        `json:"name"`
	Title    string        `json:"title"`
	What     string        `json:"what"` // how it was measured
	Findings []string      `json:"findings,omitempty"`
	Tables   []Table       `json:"tables,omitempty"`
	Charts   []chart.Chart `json:"charts,omitempty"`
	Capacity *Capacity     `json:"capacity,omitempty"`
	Failure  string        `json:"failure,omitempty"` // why it could not be measured; "" = it was
}

// Table is figures in lines under columns.
type Table struct {
	Of      string   `json:"of"` // what the lines are
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

// Figure is a value, or NaN for none, which is null in JSON.
type Figure float64

// none is the figure that is not there.
var none = Figure(math.NaN())

// MarshalJSON writes null for none.
func (f Figure) MarshalJSON() ([]byte, error) {
	if v := float64(f); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return json.Marshal(v)
	}
	return []byte("null"), nil
}

// UnmarshalJSON takes null for none.
func (f *Figure) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*f = none
		return nil
	}
	return json.Unmarshal(b, (*float64)(f))
}

// add appends a line.
func (t *Table) add(label string, values ...float64) {
	line := Line{Label: label}
	for _, v := range values {
		line.Values = append(line.Values, Figure(v))
	}
	t.Lines = append(t.Lines, line)
}

func (r *Report) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return r.encode(out)
	}
	_, err := io.WriteString(out, r.text())
	return err
}

func (r *Report) encode(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
