package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/longwire/longwire/internal/bench/chart"
)

// Sizes of a storm.
const (
	stormDials   = 2000 // under way at a time
	stayingShare = 0.1  // of the clients keep their connection
	stormPushes  = 200  // per second, to those that stayed
	stormCallers = 32
	longestStorm = time.Minute
)

// storm is what was seen at one server.
type storm struct {
	name         string
	lost         int
	back         latencies // from the loss of all to each one's return
	all          time.Duration
	quiet, rough sample // pushes to those that stayed
	cpuEach      float64
}

// stormScenario has nearly everybody lost and back at once.
func (b *bench) stormScenario(ctx context.Context, out *Scenario) error {
	var seen []*storm
	for _, s := range []struct {
		name string
		role role
	}{{"longwire", gatewayServer}, {"bare server", bareProcess}} {
		dir := ""
		if s.role != bareProcess {
			dir = b.newDir("storm")
		}
		t, err := b.start(ctx, process{role: s.role, dir: dir})
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		found, err := b.storm(ctx, s.name, t, s.role == gatewayServer)
		if err := errors.Join(err, t.stop()); err != nil {
			return err
		}
		seen = append(seen, found)
	}
	out.storms(seen)
	return nil
}

// storm has the clients join, takes most of them away, and lets them come back.
// Counted says that the server tells how many are online.
func (b *bench) storm(ctx context.Context, name string, t *target, counted bool) (s *storm, err error) {
	staying := max(1, int(stayingShare*float64(b.Most)))
	s = &storm{name: name, lost: max(1, b.Most-staying)}
	calm, err := b.muster(ctx, muster{Addr: t.tcp, Count: staying})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, calm.close()) }()
	m := muster{Addr: t.tcp, First: staying, Count: s.lost}
	lost, err := b.muster(ctx, m)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lost.close()) }()
	l, err := newPushers(ctx, t, pushes{conns: stormCallers, clients: staying, mode: "online", status: "200"})
	if err != nil {
		return nil, err
	}
	defer l.close()
	if s.quiet, err = l.offer(ctx, stormPushes, 2*b.Duration); err != nil {
		return nil, err
	}
	m.AtOnce, m.Patient = stormDials, true
	err = s.rage(ctx, l, func() error {
		cpu, err := t.cpuDuring(func() error { return s.comeBack(ctx, t, lost, m, counted, staying) })
		s.cpuEach = float64(cpu.Nanoseconds()) / 1e3 / float64(s.lost)
		return err
	})
	return s, errors.Join(err, calm.check(ctx), lost.check(ctx))
}

// rage offers pushes for as long as do takes.
func (s *storm) rage(ctx context.Context, l *load, do func() error) error {
	during, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { // ends with do
		done <- do()
		cancel()
	}()
	var err error
	s.rough, err = l.offer(during, stormPushes, longestStorm)
	cancel()
	return errors.Join(err, <-done)
}

// comeBack is the loss and the return.
func (s *storm) comeBack(ctx context.Context, t *target, f *fleet, m muster, counted bool, staying int) error {
	if err := f.drop(ctx); err != nil {
		return err
	}
	start := time.Now()
	back, err := f.join(ctx, m)
	if err != nil {
		return err
	}
	s.back = *back
	if counted {
		err = t.waitForOnline(ctx, staying+m.Count)
	}
	s.all = time.Since(start)
	return err
}

// storms fills in tables, findings and charts.
func (out *Scenario) storms(seen []*storm) {
	back := Table{Of: "clients come back", Columns: []Column{{"clients", count}, {"half", seconds}, {"99 %", seconds}, {"all", seconds}, {"rate", perSecond}, {"CPU each", microseconds}}}
	push := Table{Of: fmt.Sprintf("pushes to those that stayed, %d/s", stormPushes), Columns: []Column{{"p50", milliseconds}, {"p99", milliseconds}, {"p99.9", milliseconds}, {"longest", milliseconds}}}
	curve := chart.Chart{Name: "storm", Title: "Clients back after all were lost at once", X: chart.Axis{Label: "seconds since the loss"},
		Y: chart.Axis{Label: "clients that are registered again"}}
	for i, s := range seen {
		back.add(s.name, float64(s.lost), s.back.quantile(0.5).Seconds(), s.back.quantile(0.99).Seconds(), s.all.Seconds(), float64(s.lost)/s.all.Seconds(), s.cpuEach)
		for _, phase := range []struct {
			name string
			of   *sample
		}{{"before", &s.quiet}, {"in the storm", &s.rough}} {
			l := &phase.of.latency
			push.add(s.name+", "+phase.name, l.ms(0.5), l.ms(0.99), l.ms(0.999), l.ms(1))
		}
		curve.Series = append(curve.Series, s.curve(i > 0))
	}
	out.Tables = append(out.Tables, back, push)
	ours, floor := seen[0], seen[1]
	out.Findings = append(out.Findings,
		fmt.Sprintf("%s clients were all online again after %s, %.1f × the time of the bare server (%s).", thousands(float64(ours.lost)), brief(ours.all),
			ours.all.Seconds()/floor.all.Seconds(), brief(floor.all)),
		fmt.Sprintf("The p99 of pushes to those that stayed was %s in the storm and %s before; at the bare server, which has no devices in a push, %s and %s.",
			brief(ours.rough.latency.quantile(0.99)), brief(ours.quiet.latency.quantile(0.99)),
			brief(floor.rough.latency.quantile(0.99)), brief(floor.quiet.latency.quantile(0.99))))
	out.Charts = append(out.Charts, curve, percentileChart("storm-pushes", "Latency of pushes to those that stayed, in the storm and before",
		percentiles("in the storm", &ours.rough.latency, false), percentiles("before", &ours.quiet.latency, false),
		percentiles("bare server, storm", &floor.rough.latency, true)))
}

// curve is how many were back over time.
func (s *storm) curve(bare bool) chart.Series {
	c := chart.Series{Name: s.name, Bare: bare, Points: [][2]float64{{0, 0}}}
	for _, q := range []float64{0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1} {
		c.Points = append(c.Points, [2]float64{s.back.quantile(q).Seconds(), q * float64(s.lost)})
	}
	return c
}
