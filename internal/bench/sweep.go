package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/longwire/longwire/internal/bench/chart"
)

// sweepShares are the loads of a sweep, as shares of the closed loop's rate.
var sweepShares = []float64{0.1, 0.25, 0.5, 0.75, 0.9}

// named is a load with a name for people.
type named struct {
	name string
	load *load
}

// sweep is latency over load: ours against floors that get the same rates.
type sweep struct {
	chart  string // its name
	title  string // of the chart
	noun   string // what is counted, in the plural
	ours   named
	floors []named
}

// run measures and fills in the scenario.
func (w *sweep) run(ctx context.Context, b *bench, out *Scenario) error {
	sides := []side{w.ours.load.play}
	for _, f := range w.floors {
		sides = append(sides, f.load.play)
	}
	m, err := b.takeTurns(ctx, sides...)
	if err != nil {
		return err
	}
	w.closed(m, out)
	most := medianOf(m[0], (*sample).perSecond)
	all := append([]named{w.ours}, w.floors...)
	seen := make([][]sample, len(all)) // by side, then by share
	for _, share := range sweepShares {
		for i, n := range all {
			s, err := n.load.offer(ctx, share*most, b.Duration)
			if err != nil {
				return fmt.Errorf("%s at %.0f %s a second: %w", n.name, share*most, w.noun, err)
			}
			seen[i] = append(seen[i], s)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	w.open(most, seen, out)
	return nil
}

// closed tells of the closed loops.
func (w *sweep) closed(m match, out *Scenario) {
	t := Table{Of: "closed loop", Columns: []Column{{"rate", perSecond}, {"rate to floor", ratio}, {"CPU each", microseconds}, {"CPU to floor", number}, {"p50", milliseconds}, {"p99", milliseconds}}}
	callers := len(w.ours.load.callers)
	for i, n := range append([]named{w.ours}, w.floors...) {
		rate, cpu := float64(none), float64(none)
		if i > 0 {
			rate, cpu = m.ratio(i, (*sample).perSecond), m.ratio(i, (*sample).cpuEach)
			out.Findings = append(out.Findings, fmt.Sprintf("With %d callers in a closed loop longwire reaches %.2f × the rate of the floor “%s”, at %.1f × its CPU.",
				callers, rate, n.name, cpu))
		}
		l := m.latency(i)
		t.add(n.name, medianOf(m[i], (*sample).perSecond), rate, medianOf(m[i], (*sample).cpuEach), cpu, l.ms(0.5), l.ms(0.99))
	}
	out.Tables = append(out.Tables, t)
}

// open tells of the open loops: seen[i][k] is side i at share k.
func (w *sweep) open(most float64, seen [][]sample, out *Scenario) {
	t := Table{Of: "open loop", Columns: []Column{{"offered", perSecond}, {"p50", milliseconds}, {"p99", milliseconds}, {"p99.9", milliseconds}, {"CPU each", microseconds}}}
	for _, f := range w.floors {
		t.Columns = append(t.Columns, Column{f.name + ", p50", milliseconds}, Column{"p99", milliseconds}, Column{"CPU each", microseconds})
	}
	for k, share := range sweepShares {
		s := &seen[0][k]
		values := []float64{share * most, s.latency.ms(0.5), s.latency.ms(0.99), s.latency.ms(0.999), s.cpuEach()}
		for i := range w.floors {
			f := &seen[i+1][k]
			values = append(values, f.latency.ms(0.5), f.latency.ms(0.99), f.cpuEach())
		}
		t.add(fmt.Sprintf("%.0f %% of the most", 100*share), values...)
	}
	out.Tables = append(out.Tables, t)
	half := &seen[0][len(sweepShares)/2].latency
	out.Findings = append(out.Findings, fmt.Sprintf("At half of that rate, offered at a fixed pace: p50 %s, p99 %s, p99.9 %s.",
		brief(half.quantile(0.5)), brief(half.quantile(0.99)), brief(half.quantile(0.999))))
	out.Charts = append(out.Charts, w.draw(most, seen))
}

func (w *sweep) draw(most float64, seen [][]sample) chart.Chart {
	c := chart.Chart{Name: w.chart, Title: w.title + ": latency over load", X: chart.Axis{Label: w.noun + " per second, offered at a fixed pace"},
		Y: chart.Axis{Label: "latency from the intended start, ms", Log: true}}
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}} {
		c.Series = append(c.Series, chart.Series{Name: q.name, Points: overLoad(most, seen[0], q.share)})
	}
	for i, f := range w.floors {
		c.Series = append(c.Series, chart.Series{Name: f.name + ", p99", Bare: true, Points: overLoad(most, seen[i+1], 0.99)})
	}
	return c
}

// overLoad is a quantile over the offered rates.
func overLoad(most float64, samples []sample, q float64) [][2]float64 {
	var points [][2]float64
	for k := range samples {
		points = append(points, [2]float64{sweepShares[k] * most, samples[k].latency.ms(q)})
	}
	return points
}

// pushScenario is pushes that are acked, over load.
func (b *bench) pushScenario(ctx context.Context, out *Scenario) error {
	g, err := b.gather(ctx)
	if err != nil {
		return err
	}
	bare, err := b.bareOne(ctx)
	if err != nil {
		return err
	}
	p := pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"}
	ours, err := newPushers(ctx, g.target, p)
	if err != nil {
		return err
	}
	defer ours.close()
	theirs, err := newPushers(ctx, bare, p)
	if err != nil {
		return err
	}
	defer theirs.close()
	w := sweep{chart: "push", title: "Push, acked", noun: "pushes", ours: named{"longwire", ours}, floors: []named{{"bare chi", theirs}}}
	return errors.Join(w.run(ctx, b, out), g.crowd.check(ctx))
}

// durableScenario is pushes that are answered when they are on disk, over load.
func (b *bench) durableScenario(ctx context.Context, out *Scenario) (err error) {
	t, stop, err := b.pair(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := b.acquaint(ctx, t[0], durableClients); err != nil {
		return err
	}
	p := pushes{conns: durableCallers, clients: durableClients, mode: "durable", status: "202"}
	var loads [2]*load
	for i := range loads {
		if loads[i], err = newPushers(ctx, t[i], p); err != nil {
			return err
		}
		defer loads[i].close()
	}
	w := sweep{chart: "durable", title: "Durable push", noun: "pushes", ours: named{"longwire", loads[0]}, floors: []named{{"bare chi + fdatasync", loads[1]}}}
	return w.run(ctx, b, out)
}

// pair is a gateway and a bare server that keeps what it is sent, on the same
// disk.
func (b *bench) pair(ctx context.Context) (t [2]*target, stop func() error, err error) {
	if t[0], err = b.start(ctx, process{role: gatewayServer, dir: b.newDir("pair")}); err != nil {
		return t, nil, fmt.Errorf("start the gateway: %w", err)
	}
	if t[1], err = b.start(ctx, process{role: bareProcess, dir: b.newDir("pair")}); err != nil {
		return t, nil, errors.Join(fmt.Errorf("start the bare server: %w", err), t[0].stop())
	}
	return t, func() error { return errors.Join(t[0].stop(), t[1].stop()) }, nil
}

// uplinkDevices send at the same time.
const uplinkDevices = 256

// uplinkScenario is messages from devices that are acked when they are on disk,
// over load.
func (b *bench) uplinkScenario(ctx context.Context, out *Scenario) (err error) {
	t, stop, err := b.pair(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	echo, err := b.bareOne(ctx)
	if err != nil {
		return err
	}
	var loads [3]*load
	for i, server := range []*target{t[0], t[1], echo} {
		if loads[i], err = newDevices(ctx, server, uplinkDevices, (*speaker).uplink); err != nil {
			return err
		}
		defer loads[i].close()
	}
	w := sweep{chart: "uplink", title: "Uplink", noun: "uplinks", ours: named{"longwire", loads[0]},
		floors: []named{{"echo + fdatasync", loads[1]}, {"bare echo", loads[2]}}}
	return w.run(ctx, b, out)
}
