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

// Options of a run. The zero value measures everything and prints a table to
// nowhere.
type Options struct {
	Out      io.Writer     // gets the table, or the JSON; nil = discarded
	Progress io.Writer     // gets a line when a measurement begins; nil = none
	JSON     bool          // instead of the table
	Only     []string      // measurements by name; none = all
	Duration time.Duration // load per side of a measurement; default 3 s, 100 ms to 1 min
	Clients  int           // simulated clients; default 5,000; bounded by the file limit
	Queued   int           // messages in the store that is restarted; default 1,000,000
	Dir      string        // where stores and files are made; default the system's temporary directory
	Quick    bool          // smaller defaults: 1 s, 1,000 clients, 100,000 messages
	Strict   bool          // a missed budget is an error

	start starter // of the processes under test; nil = this binary again
}

// Bounds of the options.
const (
	minDuration = 100 * time.Millisecond
	maxDuration = time.Minute
	maxClients  = 100_000
	maxQueued   = 10_000_000
)

// ErrMissed is returned with Options.Strict when a budget was missed.
var ErrMissed = errors.New("a budget was missed")

func (o Options) withDefaults() (Options, error) {
	clients, queued, d := 5000, 1_000_000, 3*time.Second
	if o.Quick {
		clients, queued, d = 1000, 100_000, time.Second
	}
	orElse(&o.Clients, clients)
	orElse(&o.Queued, queued)
	orElse(&o.Duration, d)
	orElse(&o.Dir, os.TempDir())
	orElse(&o.Out, io.Discard)
	orElse(&o.Progress, io.Discard)
	switch {
	case o.Duration < minDuration || o.Duration > maxDuration:
		return o, fmt.Errorf("a measurement takes from %s to %s, not %s", minDuration, maxDuration, o.Duration)
	case o.Clients < 1 || o.Clients > maxClients:
		return o, fmt.Errorf("the number of clients is from 1 to %d, not %d", maxClients, o.Clients)
	case o.Queued < 1 || o.Queued > maxQueued:
		return o, fmt.Errorf("the number of queued messages is from 1 to %d, not %d", maxQueued, o.Queued)
	}
	o.Clients = min(o.Clients, clientsByFileLimit())
	if o.start == nil {
		o.start = startProcess
	}
	return o, nil
}

func orElse[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// Run measures and prints. It ends by itself, or early when ctx ends; the
// processes and files it made are gone then.
func Run(ctx context.Context, o Options) (err error) {
	o, err = o.withDefaults()
	if err != nil {
		return err
	}
	chosen, err := choose(o.Only)
	if err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()

	report := Report{Machine: b.machine(ctx)}
	for i := range chosen {
		fmt.Fprintf(o.Progress, "measuring %s: %s\n", chosen[i].name, chosen[i].what)
		row, err := chosen[i].row(ctx, b)
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, row)
	}
	if err := report.write(o.Out, o.JSON); err != nil {
		return err
	}
	return report.outcome(o.Strict)
}

// bench is one run: its options and what several measurements share.
type bench struct {
	Options
	dir  string // of this run, below Options.Dir
	dirs int    // made in it so far

	gathered *gathering // made by the first measurement that needs it
	bare     *target    // likewise
}

func newBench(o Options) (*bench, error) {
	dir, err := os.MkdirTemp(o.Dir, "longwire-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the measurements: %w", err)
	}
	return &bench{Options: o, dir: dir}, nil
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
	if b.bare != nil {
		errs = append(errs, b.bare.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// bareChi returns the bare handler's process.
func (b *bench) bareChi(ctx context.Context) (*target, error) {
	if b.bare == nil {
		t, err := b.start(ctx, bareHandler, "")
		if err != nil {
			return nil, fmt.Errorf("start the bare handler: %w", err)
		}
		b.bare = t
	}
	return b.bare, nil
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
	if len(failed) > 0 {
		return fmt.Errorf("could not measure %s", strings.Join(failed, ", "))
	}
	if strict && len(missed) > 0 {
		return fmt.Errorf("%w: %s", ErrMissed, strings.Join(missed, ", "))
	}
	return nil
}
