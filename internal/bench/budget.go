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
	measure func(*bench, context.Context) (reading, error)
}

// unit says how a value is written.
type unit uint8

const (
	ratio unit = iota
	bytesEach
	microseconds
	milliseconds
	seconds
	count
)

// reading is what a measurement gives. Detail says from what it was computed.
type reading struct {
	value  float64
	detail string
}

// budgets is every promise, in the order of the table.
var budgets = []budget{
	{name: "idle-memory", what: "memory per idle client", unit: bytesEach, must: 4.5 * 1024, stretch: 1024, measure: (*bench).idleMemory},
	{name: "idle-memory-tls", what: "memory per idle client, TLS", unit: bytesEach, must: 14 * 1024, measure: (*bench).idleMemoryTLS},
	{name: "idle-goroutines", what: "goroutines per idle client", unit: count, must: 1, measure: (*bench).idleGoroutines},
	{name: "list", what: "page of the client list", unit: milliseconds, must: 5, stretch: 1, measure: (*bench).listPage},
	{name: "push-online", what: "HTTP push, acked, mode=online, to bare chi", unit: ratio, must: 0.40, stretch: 0.50, atLeast: true, measure: (*bench).pushOnline},
	{name: "push-durable", what: "HTTP push, 202 after fsync, to bare chi", unit: ratio, must: 0.30, stretch: 0.45, atLeast: true, measure: (*bench).pushDurable},
	{name: "bulk", what: "bulk, CPU per acked message, to single pushes", unit: ratio, must: 0.35, stretch: 0.25, measure: (*bench).bulk},
	{name: "push-all", what: "push to all, CPU per delivery", unit: microseconds, must: 20, stretch: 16, measure: (*bench).pushAll},
	{name: "accept", what: "durable accept, to append + group fdatasync", unit: ratio, must: 0.40, stretch: 0.70, atLeast: true, measure: (*bench).accept},
	{name: "restart", what: "restart to ready", unit: seconds, must: 3, stretch: 1, measure: (*bench).restart},
}

// Names lists what can be measured.
func Names() []string {
	names := make([]string, len(budgets))
	for i, b := range budgets {
		names[i] = b.name
	}
	return names
}

// choose returns the budgets called by names; none means all.
func choose(names []string) ([]budget, error) {
	if len(names) == 0 {
		return budgets, nil
	}
	known := Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no measurement %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	var chosen []budget
	for _, b := range budgets {
		if slices.Contains(names, b.name) {
			chosen = append(chosen, b)
		}
	}
	return chosen, nil
}

// Verdicts of a row.
const (
	verdictOK          = "ok"
	verdictStretch     = "stretch" // the further goal is met too
	verdictMissed      = "MISSED"
	verdictNotMeasured = "not measured"
	verdictFailed      = "failed" // the measurement itself, not the budget
)

// judge holds a value against the budget.
func (b *budget) judge(v float64) string {
	meets := func(goal float64) bool {
		if b.atLeast {
			return v >= goal
		}
		return v <= goal
	}
	switch {
	case b.stretch != 0 && meets(b.stretch):
		return verdictStretch
	case meets(b.must):
		return verdictOK
	}
	return verdictMissed
}

// row measures and judges. An error is that of ctx.
func (b *budget) row(ctx context.Context, run *bench) (Row, error) {
	row := Row{Name: b.name, What: b.what, Unit: b.unit.String(), Must: b.must, Stretch: b.stretch, AtLeast: b.atLeast, unit: b.unit}
	got, err := b.measure(run, ctx)
	if ctx.Err() != nil {
		return row, ctx.Err()
	}
	if reason, ok := errors.AsType[notMeasured](err); ok {
		row.Verdict, row.Detail = verdictNotMeasured, string(reason)
		return row, nil
	}
	if err != nil {
		row.Verdict, row.Detail = verdictFailed, err.Error()
		return row, nil
	}
	row.Measured, row.Detail, row.Verdict = &got.value, got.detail, b.judge(got.value)
	return row, nil
}

// notMeasured is the error of what cannot be measured here; it says why.
type notMeasured string

func (n notMeasured) Error() string { return "not measured: " + string(n) }
