package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/longwire/longwire/internal/bench/chart"
)

// shownIntervals are the heartbeat intervals that people use.
var shownIntervals = []time.Duration{10 * time.Second, 30 * time.Second, 60 * time.Second}

// fastest is the shortest interval that a device may ask for. So many clients
// fewer make as many heartbeats a second at it as all of them at a longer one:
// that is what stands in for minutes of waiting.
const fastest = time.Second

// beatCallers are the connections over which the bare server gets its
// heartbeats.
const beatCallers = 256

// watch is what a gateway with idle clients did for a while.
type watch struct {
	interval time.Duration // of heartbeats; 0 = none
	clients  int           // that were connected
	elapsed  time.Duration
	cpu      time.Duration
	beats    int64
	bare     float64 // microseconds of the bare server for a heartbeat at this rate
}

func (w *watch) rate() float64 { return float64(w.beats) / w.elapsed.Seconds() }

// percent is the share of one core.
func (w *watch) percent() float64 { return 100 * w.cpu.Seconds() / w.elapsed.Seconds() }

// each is the CPU time of a heartbeat, in microseconds: what w took beyond
// quiet, which had none.
func (w *watch) each(quiet *watch) float64 {
	return 1e4 * (w.percent() - quiet.percent()) / w.rate()
}

// watchIdle has n clients join a gateway, waits for one interval, and watches
// for two, or for b.Duration.
func (b *bench) watchIdle(ctx context.Context, t *target, n int, interval time.Duration) (w *watch, err error) {
	f, err := b.muster(ctx, muster{Addr: t.tcp, Count: n, Heartbeat: interval})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close(), t.waitForOnline(ctx, 0)) }()
	if err := pause(ctx, max(interval, min(b.Duration, fastest))); err != nil {
		return nil, err
	}
	before, err := f.count(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	cpu, err := t.cpuDuring(func() error { return pause(ctx, max(b.Duration, interval)) })
	if err != nil {
		return nil, err
	}
	after, err := f.count(ctx)
	if err != nil {
		return nil, err
	}
	return &watch{interval: interval, clients: n, elapsed: time.Since(start), cpu: cpu, beats: after.Beats - before.Beats}, f.check(ctx)
}

// idleScenario shows what heartbeats cost.
func (b *bench) idleScenario(ctx context.Context, out *Scenario) (err error) {
	t, err := b.start(ctx, process{role: gatewayServer, dir: b.newDir("idle"), patient: true})
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if _, err := processCPU(t.pid); err != nil {
		return err
	}
	quiet, err := b.watchIdle(ctx, t, b.Most, 0)
	if err != nil {
		return err
	}
	i := idling{clients: b.Most, quiet: quiet}
	highest := fastest * time.Duration(max(1, b.Most/b.Clients)) // more than b.Clients beats a second are as much load as the rest
	for _, interval := range append([]time.Duration{highest}, shownIntervals...) {
		n := max(1, int(math.Round(float64(b.Most)*fastest.Seconds()/interval.Seconds())))
		w, err := b.watchBeats(ctx, t, n, fastest)
		if err != nil {
			return err
		}
		i.standIns = append(i.standIns, standIn{interval, w})
	}
	if real := shownIntervals[0]; b.Duration >= real/4 { // it takes two intervals
		if i.real, err = b.watchBeats(ctx, t, b.Most, real); err != nil {
			return err
		}
	}
	i.tell(out)
	return nil
}

// watchBeats watches idle clients and has the bare server answer as many
// heartbeats a second.
func (b *bench) watchBeats(ctx context.Context, t *target, n int, interval time.Duration) (*watch, error) {
	w, err := b.watchIdle(ctx, t, n, interval)
	if err != nil {
		return nil, err
	}
	bare, err := b.bareOne(ctx)
	if err != nil {
		return nil, err
	}
	l, err := newDevices(ctx, bare, beatCallers, (*speaker).beat)
	if err != nil {
		return nil, err
	}
	defer l.close()
	s, err := l.offer(ctx, w.rate(), b.Duration)
	w.bare = s.cpuEach()
	return w, err
}

// standIn is a watch in place of one with more clients at a longer interval.
type standIn struct {
	interval time.Duration
	watch    *watch
}

// idling is all that was seen of idle clients.
type idling struct {
	clients  int // meant
	quiet    *watch
	standIns []standIn // the first one has the most heartbeats
	real     *watch    // all clients at shownIntervals[0]; nil = left out
}

// of1000 is the share of a core for 1,000 of the clients that are meant.
func (i *idling) of1000(w *watch) float64 { return w.percent() * 1000 / float64(i.clients) }

func (i *idling) tell(out *Scenario) {
	t := Table{Of: fmt.Sprintf("%s clients, heartbeat every", thousands(float64(i.clients))), Columns: []Column{{"heartbeats", perSecond},
		{"CPU per 1,000 clients", percent}, {"CPU each", microseconds}, {"bare, CPU each", microseconds}, {"CPU to bare", number}}}
	row := func(label string, w *watch) {
		t.add(label, w.rate(), i.of1000(w), w.each(i.quiet), w.bare, w.each(i.quiet)/w.bare)
	}
	line := chart.Series{Name: "scaled"}
	for _, s := range i.standIns {
		row(fmt.Sprintf("%g s (scaled: %s at %g s)", s.interval.Seconds(), thousands(float64(s.watch.clients)), fastest.Seconds()), s.watch)
		line.Points = append(line.Points, [2]float64{s.interval.Seconds(), i.of1000(s.watch)})
	}
	if i.real != nil {
		row(fmt.Sprintf("%g s", i.real.interval.Seconds()), i.real)
	}
	t.add("never", 0, i.of1000(i.quiet), float64(none), float64(none), float64(none))
	out.Tables = append(out.Tables, t, i.million())
	first := i.standIns[0].watch
	out.Findings = append(out.Findings, fmt.Sprintf("At %s heartbeats a second each costs %.1f µs of the gateway's CPU, asked and answered, at %s a second %.1f µs: the "+
		"fewer are due together, the more each pays for the wake-up.", thousands(first.rate()), first.each(i.quiet), thousands(i.last().rate()), i.last().each(i.quiet)))
	c := chart.Chart{Name: "idle", Title: fmt.Sprintf("CPU of %s idle clients over the heartbeat interval", thousands(float64(i.clients))),
		X: chart.Axis{Label: "heartbeat interval, seconds", Log: true, Ticks: secondTicks}, Y: chart.Axis{Label: "CPU per 1,000 clients, % of a core", Log: true},
		Series: []chart.Series{line}}
	if i.real != nil {
		c.Series = append(c.Series, chart.Series{Name: "real interval", Points: [][2]float64{{i.real.interval.Seconds(), i.of1000(i.real)}}})
	}
	c.Series = append(c.Series, chart.Series{Name: "without heartbeats", Bare: true, Dashed: true, Points: [][2]float64{
		{i.standIns[0].interval.Seconds(), i.of1000(i.quiet)}, {i.standIns[len(i.standIns)-1].interval.Seconds(), i.of1000(i.quiet)}}})
	out.Charts = append(out.Charts, c)
}

var secondTicks = []chart.Tick{{Value: 3, Text: "3"}, {Value: 10, Text: "10"}, {Value: 30, Text: "30"}, {Value: 60, Text: "60"}}

func (i *idling) last() *watch { return i.standIns[len(i.standIns)-1].watch }

// million extrapolates to a million clients with the cost of a heartbeat at the
// highest rate that was measured.
func (i *idling) million() Table {
	t := Table{Of: "a million clients, heartbeat every", Columns: []Column{{"heartbeats", perSecond}, {"cores", number}}}
	cost := i.standIns[0].watch.each(i.quiet)
	for _, interval := range shownIntervals {
		rate := 1e6 / interval.Seconds()
		t.add(fmt.Sprintf("%g s (extrapolated)", interval.Seconds()), rate, i.quiet.percent()/100+rate*cost/1e6)
	}
	return t
}
