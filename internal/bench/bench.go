package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Options of a run. Command has their defaults.
type Options struct {
	Out       io.Writer     // gets the page, or the JSON
	Progress  io.Writer     // gets a line when a scenario begins
	JSON      bool          // instead of the page
	Report    string        // directory that gets page, charts and JSON; "" = none
	Scenarios []string      // by name; none = those with budgets
	All       bool          // all scenarios
	Rounds    int           // of each comparison
	Duration  time.Duration // load per side and round
	Clients   int           // connected devices under load
	Most      int           // devices at the largest step of growth, connect, idle and storm
	Listed    int           // clients of list and sessions, without connections
	Queued    int           // messages for offline clients in growth and restart
	Seed      uint64        // of the random recipients
	Dir       string        // parent of stores and files
	Longwire  string        // the gateway's binary; "" = the one beside this program, then the one in PATH
	Strict    bool          // a missed budget is an error

	perProcess int                                               // connections
	start      starter                                           // of the processes under test
	work       func(context.Context) (io.ReadWriteCloser, error) // starts a worker
	outside    string                                            // the outside loader's binary
	beat       time.Duration                                     // the shortest heartbeat interval that a device may ask for
}

// setting is a whole number among the options.
type setting struct {
	flag         string
	value        *int
	usual, quick int // defaults
	most         int
	help         string
}

func (o *Options) settings() []setting {
	return []setting{
		{"rounds", &o.Rounds, 5, 3, 20, "rounds in which the sides take turns"},
		{"clients", &o.Clients, min(5000, o.perProcess), min(1000, o.perProcess), 1_000_000, "connected devices under load"},
		{"most-clients", &o.Most, min(18_000, o.perProcess), min(3000, o.perProcess), 1_000_000, "devices of the largest count"},
		{"listed", &o.Listed, 1_000_000, 100_000, 5_000_000, "clients without sockets in list and sessions"},
		{"queued", &o.Queued, 1_000_000, 100_000, 10_000_000, "messages for offline clients in growth and restart"},
	}
}

// Bounds of Options.Duration.
const (
	minDuration = 50 * time.Millisecond
	maxDuration = time.Minute
)

// ErrMissed is returned with Options.Strict if a budget was missed.
var ErrMissed = errors.New("a budget was missed")

// refuse returns an error if a measurement with these options would not work.
func (o *Options) refuse() error {
	for _, s := range o.settings() {
		if *s.value < 1 || *s.value > s.most {
			return fmt.Errorf("--%s is from 1 to %s, not %d", s.flag, thousands(s.most), *s.value)
		}
	}
	// Several processes share the load, but one gateway holds all connections.
	if most := max(o.Clients, o.Most); most > o.perProcess {
		return fmt.Errorf("%s clients are more than one gateway may hold with its limit of open files: %s here; raise it (ulimit -n) or take fewer",
			thousands(most), thousands(o.perProcess))
	}
	if o.Duration < minDuration || o.Duration > maxDuration {
		return fmt.Errorf("a round takes from %s to %s, not %s", minDuration, maxDuration, o.Duration)
	}
	return nil
}

// Run measures, prints and writes the report. It ends when the measurements are
// done, or early when ctx ends; it has then removed its processes and files.
func Run(ctx context.Context, o Options) error {
	if err := o.refuse(); err != nil {
		return err
	}
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	report := Report{Machine: o.machine(ctx)}
	began := time.Now()
	for _, s := range chosen {
		fmt.Fprintf(o.Progress, "%s: %s\n", s.Name, s.Title)
		out, err := s.take(ctx, &o)
		if err != nil {
			return err
		}
		report.Scenarios = append(report.Scenarios, out)
		report.Budgets = append(report.Budgets, s.judge(&out)...)
	}
	report.Took = time.Since(began).Seconds()
	if o.JSON {
		err = report.encode(o.Out)
	} else {
		_, err = io.WriteString(o.Out, report.page())
	}
	if err != nil {
		return err
	}
	if o.Report != "" {
		if err := report.save(o.Report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return report.outcome(o.Strict)
}

// run is one scenario or a part of it while it is measured: its options, and the
// servers and files that it has made. The scenarios share nothing.
//
// As with testing.T, a failure ends the scenario: see must and check. Only the
// goroutine of the scenario may call them, and methods of a run that return no error.
type run struct {
	*Options
	ctx     context.Context // of the whole program
	dir     string          // of this run, below Options.Dir
	servers map[spec]*target
	devices []*devices
	closers []func() error // in the order of opening
}

// failure is the panic of must and check.
type failure struct{ error }

// check ends the scenario if there is an error.
func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// must returns the result of a call whose error ends the scenario.
func must[T any](result T, err error) T {
	check(err)
	return result
}

// take measures the scenario. It returns only errors of ctx.
func (s *scenario) take(ctx context.Context, o *Options) (Scenario, error) {
	out := Scenario{heading: s.heading, Values: make(map[string][]Figure)}
	dir, err := os.MkdirTemp(o.Dir, "longwire-bench-")
	if err == nil {
		err = within(&run{Options: o, ctx: ctx, dir: dir}, func(r *run) { s.measure(r, &out) })
	}
	if err != nil {
		out.Failure = err.Error()
	}
	return out, ctx.Err()
}

// within calls do with r and then ends the servers and devices that do started. It
// returns an error if a device was lost, because the measurement is then void.
func within(r *run, do func(*run)) (err error) {
	r.servers = make(map[spec]*target)
	defer func() {
		failed := recover()
		f, ok := failed.(failure)
		if failed != nil && !ok {
			panic(failed)
		}
		err = errors.Join(f.error, r.close())
	}()
	do(r)
	for _, d := range r.devices {
		check(d.check())
	}
	return nil
}

// part calls do with a new run below r. Its servers end when do returns.
func (r *run) part(name string, do func(*run)) {
	if err := within(&run{Options: r.Options, ctx: r.ctx, dir: r.newDir("part")}, do); err != nil {
		check(fmt.Errorf("%s: %w", name, err))
	}
}

// newDir makes a directory that ends with the scenario.
func (r *run) newDir(purpose string) string {
	return must(os.MkdirTemp(r.dir, purpose+"-"))
}

// pause waits for d.
func (r *run) pause(d time.Duration) { check(pause(r.ctx, d)) }

// lasting is the time of all rounds.
func (r *run) lasting() time.Duration { return time.Duration(r.Rounds) * r.Duration }

// onClose registers f for the end of the scenario. Functions run in reverse order.
func (r *run) onClose(f func() error) { r.closers = append(r.closers, f) }

// close ends devices and processes, then removes the files that the processes
// write.
func (r *run) close() error {
	var errs []error
	for _, end := range slices.Backward(r.closers) {
		errs = append(errs, end())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// outcome is the error of a run after it has printed its report.
func (r *Report) outcome(strict bool) error {
	var failed, missed []string
	for _, s := range r.Scenarios {
		if s.Failure != "" {
			failed = append(failed, s.Name)
		}
	}
	for _, row := range r.Budgets {
		if row.Verdict == verdictMissed {
			missed = append(missed, row.Scenario+" "+row.Value)
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
