package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options of a run. The zero value measures all budgets once and prints a table
// to nowhere.
type Options struct {
	Out      io.Writer     // gets the tables, or the JSON; nil = discarded
	Progress io.Writer     // gets a line when a measurement begins; nil = none
	Terminal bool          // Progress is one: it gets a bar instead
	JSON     bool          // instead of the tables
	Report   string        // directory that gets the report with its charts; "" = none
	Only     []string      // budgets and scenarios by name; none = all budgets
	All      bool          // all scenarios too
	Runs     int           // times that the budgets are measured, each with fresh processes; default 1, up to 20
	Duration time.Duration // load per side of a measurement; default 3 s, 100 ms to 1 min
	Clients  int           // simulated clients of the measurements under load; default 5,000
	Most     int           // clients of the largest count in connect and idle; default 15,000
	Listed   int           // clients of list and million, without connections; default 1,000,000
	Queued   int           // messages in the store that is restarted; default 1,000,000
	Dir      string        // where stores and files are made; default the system's temporary directory
	Quick    bool          // smaller defaults: 1 s, 1,000 clients and at most 3,000, 100,000 listed and queued
	Strict   bool          // a missed budget is an error

	perProcess int                                  // connections; 0 = what the file limit allows
	start      starter                              // of the processes under test; nil = this binary again
	help       func(context.Context) (hands, error) // starts a process for more clients; nil = likewise
}

// Bounds of the options.
const (
	minDuration = 100 * time.Millisecond
	maxDuration = time.Minute
	maxClients  = 1_000_000
	maxListed   = 5_000_000
	maxQueued   = 10_000_000
	maxRuns     = 20
)

// ErrMissed is returned with Options.Strict when a budget was missed.
var ErrMissed = errors.New("a budget was missed")

func (o Options) withDefaults() (Options, error) {
	clients, most, many, d := 5000, 15_000, 1_000_000, 3*time.Second
	if o.Quick {
		clients, most, many, d = 1000, 3000, 100_000, time.Second
	}
	orElse(&o.perProcess, connectionsByFileLimit())
	orElse(&o.Clients, min(clients, o.perProcess))
	orElse(&o.Most, max(o.Clients, min(most, o.perProcess)))
	orElse(&o.Listed, many)
	orElse(&o.Queued, many)
	orElse(&o.Duration, d)
	orElse(&o.Runs, 1)
	orElse(&o.Dir, os.TempDir())
	orElse(&o.Out, io.Discard)
	orElse(&o.Progress, io.Discard)
	if o.start == nil {
		o.start = startProcess
	}
	if o.help == nil {
		o.help = startHelper
	}
	return o, o.check()
}

func (o *Options) check() error {
	if o.Duration < minDuration || o.Duration > maxDuration {
		return fmt.Errorf("a measurement takes from %s to %s, not %s", minDuration, maxDuration, o.Duration)
	}
	for _, c := range []struct {
		what      string
		value, to int
	}{
		{"the number of clients", o.Clients, maxClients}, {"the largest number of clients", o.Most, maxClients},
		{"the number of listed clients", o.Listed, maxListed}, {"the number of queued messages", o.Queued, maxQueued},
		{"the number of runs", o.Runs, maxRuns},
	} {
		if c.value < 1 || c.value > c.to {
			return fmt.Errorf("%s is from 1 to %s, not %d", c.what, thousands(float64(c.to)), c.value)
		}
	}
	// The load may be spread over processes, the gateway is one.
	if most := max(o.Clients, o.Most); most > o.perProcess {
		return fmt.Errorf("%s clients are more than one gateway may hold with its limit of open files: %s here; raise it (ulimit -n) or take fewer",
			thousands(float64(most)), thousands(float64(o.perProcess)))
	}
	return nil
}

func orElse[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// Run measures, prints and writes the report. It ends by itself, or early when
// ctx ends; the processes and files it made are gone then.
func Run(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	chosen, err := choose(o.Only, o.All)
	if err != nil {
		return err
	}
	report, err := chosen.measure(ctx, o)
	if err != nil {
		return err
	}
	if err := report.write(o.Out, o.JSON); err != nil {
		return err
	}
	if o.Report != "" {
		if err := report.save(o.Report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return report.outcome(o.Strict)
}

// choice is what a run measures.
type choice struct {
	budgets   []budget
	scenarios []scenario
}

// measure takes the budgets, o.Runs times, and the scenarios once. Each run
// begins with processes and files of its own.
func (c choice) measure(ctx context.Context, o Options) (report Report, err error) {
	began := time.Now()
	p := newProgress(o, c)
	defer p.end()
	report.Rows = c.rows()
	for run := range o.Runs {
		err := withBench(o, func(b *bench) error {
			if run == 0 {
				report.Machine = b.machine(ctx)
			}
			return c.takeBudgets(ctx, b, p, &report)
		})
		if err != nil {
			return report, err
		}
	}
	for i := range report.Rows {
		report.Rows[i].settle(&c.budgets[i])
	}
	err = withBench(o, func(b *bench) error { return c.takeScenarios(ctx, b, p, &report) })
	report.Took = time.Since(began).Seconds()
	return report, err
}

func (c choice) takeBudgets(ctx context.Context, b *bench, p progress, report *Report) error {
	for i := range c.budgets {
		p.begin(c.budgets[i].name, c.budgets[i].what)
		if err := c.budgets[i].take(ctx, b, &report.Rows[i]); err != nil {
			return err
		}
		p.done(c.budgets[i].weight)
	}
	return nil
}

func (c choice) takeScenarios(ctx context.Context, b *bench, p progress, report *Report) error {
	for i := range c.scenarios {
		p.begin(c.scenarios[i].name, c.scenarios[i].title)
		s, err := c.scenarios[i].take(ctx, b)
		if err != nil {
			return err
		}
		report.Scenarios = append(report.Scenarios, s)
		p.done(c.scenarios[i].weight)
	}
	return nil
}

// bench is one run: its options and what several measurements share.
type bench struct {
	Options
	dir  string // of this run, below Options.Dir
	dirs int    // made in it so far
	held int    // connections of clients in this process

	gathered *gathering // made by the first measurement that needs it
	bare     *target    // likewise
	others   *fleet     // devices of bare, likewise
}

// withBench makes a bench for do and clears it away.
func withBench(o Options, do func(*bench) error) (err error) {
	dir, err := os.MkdirTemp(o.Dir, "longwire-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the measurements: %w", err)
	}
	b := &bench{Options: o, dir: dir}
	defer func() { err = errors.Join(err, b.close()) }()
	return do(b)
}

// newDir returns the name of a directory that nobody uses yet.
func (b *bench) newDir(purpose string) string {
	b.dirs++
	return filepath.Join(b.dir, fmt.Sprintf("%s-%d", purpose, b.dirs))
}

// close ends the processes first, for they write to the directory.
func (b *bench) close() error {
	var errs []error
	if b.gathered != nil {
		errs = append(errs, b.gathered.close())
	}
	if b.others != nil {
		errs = append(errs, b.others.close())
	}
	if b.bare != nil {
		errs = append(errs, b.bare.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// bareOne returns the shared bare server, which keeps nothing.
func (b *bench) bareOne(ctx context.Context) (*target, error) {
	if b.bare == nil {
		t, err := b.start(ctx, process{role: bareProcess})
		if err != nil {
			return nil, fmt.Errorf("start the bare server: %w", err)
		}
		b.bare = t
	}
	return b.bare, nil
}

// bareCrowd returns the shared bare server, with devices.
func (b *bench) bareCrowd(ctx context.Context) (*target, error) {
	t, err := b.bareOne(ctx)
	if err == nil && b.others == nil {
		b.others, err = b.muster(ctx, muster{Addr: t.tcp, Count: b.Clients})
	}
	return t, err
}

// outcome is the error of a run that has printed its report.
func (r *Report) outcome(strict bool) error {
	var failed, missed []string
	for _, row := range r.Rows {
		switch row.Verdict {
		case verdictFailed:
			failed = append(failed, row.Name)
		case verdictMissed:
			missed = append(missed, row.Name)
		}
	}
	for _, s := range r.Scenarios {
		if s.Failure != "" {
			failed = append(failed, s.Name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("could not measure %s", strings.Join(failed, ", "))
	}
	if strict && len(missed) > 0 {
		return fmt.Errorf("%w: %s", ErrMissed, strings.Join(missed, ", "))
	}
	return nil
}
