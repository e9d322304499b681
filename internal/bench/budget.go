package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// budget is one promise about performance, and how it is measured.
type budget struct {
	name    string // for --only
	what    string
	unit    unit
	must    float64
	stretch float64 // 0 = none
	atLeast bool    // the measured value must be at least so much; otherwise at most
	weight  int     // seconds that it takes about, for the progress
	measure func(*bench, context.Context) (reading, error)
}

// reading is what a measurement gives. Detail says from what it was computed.
type reading struct {
	value  float64
	detail string
}

// budgets is every promise, in the order of the table.
var budgets = []budget{
	{name: "idle-memory", what: "memory per idle client", unit: bytesEach, must: 4.5 * 1024, stretch: 1024, weight: 8, measure: (*bench).idleMemory},
	{name: "idle-memory-tls", what: "memory per idle client, TLS", unit: bytesEach, must: 14 * 1024, weight: 10, measure: (*bench).idleMemoryTLS},
	{name: "idle-goroutines", what: "goroutines per idle client", unit: number, must: 1, weight: 1, measure: (*bench).idleGoroutines},
	{name: "list", what: "page of the client list", unit: milliseconds, must: 5, stretch: 1, weight: 15, measure: (*bench).listPage},
	{name: "push-online", what: "HTTP push, acked, mode=online, to bare chi", unit: ratio, must: 0.40, stretch: 0.50, atLeast: true, weight: 7, measure: (*bench).pushOnline},
	{name: "push-durable", what: "HTTP push, 202 after fsync, to bare chi", unit: ratio, must: 0.30, stretch: 0.45, atLeast: true, weight: 8, measure: (*bench).pushDurable},
	{name: "bulk", what: "bulk, CPU per acked message, to single pushes", unit: ratio, must: 0.35, stretch: 0.25, weight: 7, measure: (*bench).bulk},
	{name: "push-all", what: "push to all, CPU per delivery", unit: microseconds, must: 20, stretch: 16, weight: 4, measure: (*bench).pushAll},
	{name: "accept", what: "durable accept, to append + group fdatasync", unit: ratio, must: 0.40, stretch: 0.70, atLeast: true, weight: 7, measure: (*bench).accept},
	{name: "restart", what: "restart to ready", unit: seconds, must: 3, stretch: 1, weight: 12, measure: (*bench).restart},
}

// Names lists what can be measured: the budgets, then the scenarios. One name
// may be both.
func Names() []string {
	var names []string
	for _, b := range budgets {
		names = append(names, b.name)
	}
	for _, s := range scenarios {
		if !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// choose returns what is called by names. No name means all budgets, and with
// all set all scenarios too.
func choose(names []string, all bool) (choice, error) {
	if len(names) == 0 {
		c := choice{budgets: budgets}
		if all {
			c.scenarios = scenarios
		}
		return c, nil
	}
	known := Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return choice{}, fmt.Errorf("there is no measurement %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	var c choice
	for _, b := range budgets {
		if slices.Contains(names, b.name) {
			c.budgets = append(c.budgets, b)
		}
	}
	for _, s := range scenarios {
		if slices.Contains(names, s.name) {
			c.scenarios = append(c.scenarios, s)
		}
	}
	return c, nil
}

// Verdicts of a row.
const (
	verdictOK          = "ok"
	verdictStretch     = "stretch" // the further goal is met too
	verdictMissed      = "MISSED"
	verdictNotMeasured = "not measured"
	verdictFailed      = "failed" // the measurement itself, not the budget
)

// meets holds a value against a goal of the budget.
func (b *budget) meets(v, goal float64) bool {
	if b.atLeast {
		return v >= goal
	}
	return v <= goal
}

// judge says whether most runs have met the budget: three of five or better.
func (b *budget) judge(values []float64) (verdict string, held int) {
	beyond := 0
	for _, v := range values {
		if b.meets(v, b.must) {
			held++
		}
		if b.stretch != 0 && b.meets(v, b.stretch) {
			beyond++
		}
	}
	most := func(n int) bool { return 5*n >= 3*len(values) }
	switch {
	case most(beyond):
		return verdictStretch, held
	case most(held):
		return verdictOK, held
	}
	return verdictMissed, held
}

// rows are the chosen budgets, not measured yet.
func (c choice) rows() []Row {
	rows := make([]Row, len(c.budgets))
	for i, b := range c.budgets {
		rows[i] = Row{Name: b.name, What: b.what, Unit: b.unit, Must: b.must, Stretch: b.stretch, AtLeast: b.atLeast}
	}
	return rows
}

// take measures once more. An error is that of ctx.
func (b *budget) take(ctx context.Context, run *bench, row *Row) error {
	if row.Verdict == verdictFailed || row.Verdict == verdictNotMeasured {
		return nil // it would not go better another time
	}
	got, err := b.measure(run, ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if reason, ok := errors.AsType[notMeasured](err); ok {
		row.Verdict, row.Detail = verdictNotMeasured, string(reason)
	} else if err != nil {
		row.Verdict, row.Detail = verdictFailed, err.Error()
	} else {
		row.Runs = append(row.Runs, got.value)
		row.details = append(row.details, got.detail)
	}
	return nil
}

// settle makes the median of the runs the row's value. The detail is that of the
// run which came closest to it.
func (r *Row) settle(b *budget) {
	if r.Verdict != "" || len(r.Runs) == 0 {
		r.Runs = nil
		return
	}
	mid := median(r.Runs)
	nearest := 0
	for i, v := range r.Runs {
		if abs(v-mid) < abs(r.Runs[nearest]-mid) {
			nearest = i
		}
	}
	r.Measured, r.Detail = &mid, r.details[nearest]
	r.Verdict, r.Held = b.judge(r.Runs)
}

func abs(v float64) float64 { return max(v, -v) }

// notMeasured is the error of what cannot be measured here; it says why.
type notMeasured string

func (n notMeasured) Error() string { return "not measured: " + string(n) }
