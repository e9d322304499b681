package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/longwire/longwire/internal/bench/chart"
)

// broadcastShare is the rate of single pushes beside broadcasts, to the most
// that a closed loop reaches.
const broadcastShare = 0.1

// besides is single pushes alone and beside broadcasts at one server.
type besides struct {
	name          string
	quiet, during sample
	all           sample // the broadcasts: deliveries
}

// broadcastScenario shows what a broadcast does to single pushes.
func (b *bench) broadcastScenario(ctx context.Context, out *Scenario) error {
	g, err := b.gather(ctx)
	if err != nil {
		return err
	}
	bare, err := b.bareCrowd(ctx)
	if err != nil {
		return err
	}
	rate, err := b.someRate(ctx, g.target, b.singlePushes())
	if err != nil {
		return err
	}
	var seen []besides
	for _, side := range []struct {
		name   string
		target *target
	}{{"longwire", g.target}, {"bare server", bare}} {
		s, err := b.besideBroadcasts(ctx, side.name, side.target, rate)
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		seen = append(seen, s)
	}
	out.beside(seen, rate, b.Clients)
	return g.crowd.check(ctx)
}

// singlePushes are what a broadcast may hold up.
func (b *bench) singlePushes() pushes {
	return pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"}
}

// someRate is broadcastShare of what a short closed loop reaches.
func (b *bench) someRate(ctx context.Context, t *target, p pushes) (float64, error) {
	l, err := newPushers(ctx, t, p)
	if err != nil {
		return 0, err
	}
	defer l.close()
	s, err := l.play(ctx, b.Duration/2)
	return broadcastShare * s.perSecond(), err
}

// besideBroadcasts offers single pushes, first alone and then while one
// broadcast follows the other.
func (b *bench) besideBroadcasts(ctx context.Context, name string, t *target, rate float64) (besides, error) {
	s := besides{name: name}
	l, err := newPushers(ctx, t, b.singlePushes())
	if err != nil {
		return s, err
	}
	defer l.close()
	if s.quiet, err = l.offer(ctx, rate, 2*b.Duration); err != nil {
		return s, err
	}
	if s.all, err = b.broadcasts(ctx, t); err != nil {
		return s, err
	}
	busy, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends soon after cancel
		_, err := t.broadcastWhile(busy, b.Clients, func(int) bool { return busy.Err() == nil })
		ended <- err
	}()
	s.during, err = l.offer(ctx, rate, 2*b.Duration)
	cancel()
	if e := <-ended; err == nil && !errors.Is(e, context.Canceled) {
		err = e
	}
	return s, err
}

// shownQuantiles are the ticks of a chart of percentiles.
var shownQuantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}}

// percentiles is a line of a chart with nines along its x axis.
func percentiles(name string, l *latencies, bare bool) chart.Series {
	s := chart.Series{Name: name, Bare: bare}
	for i, q := range shownQuantiles {
		s.Points = append(s.Points, [2]float64{float64(i), l.ms(q.share)})
	}
	return s
}

// percentileChart has room for percentiles.
func percentileChart(name, title string, series ...chart.Series) chart.Chart {
	c := chart.Chart{Name: name, Title: title, X: chart.Axis{Label: "share of the pushes that were faster"},
		Y: chart.Axis{Label: "latency from the intended start, ms", Log: true}, Series: series}
	for i, q := range shownQuantiles {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{Value: float64(i), Text: q.name})
	}
	return c
}

// beside fills in tables, findings and the chart.
func (out *Scenario) beside(seen []besides, rate float64, clients int) {
	all := Table{Of: fmt.Sprintf("broadcasts to %s clients", thousands(float64(clients))),
		Columns: []Column{{"deliveries", perSecond}, {"seconds for one", seconds}, {"CPU for a delivery", microseconds}}}
	single := Table{Of: fmt.Sprintf("single pushes, %.0f/s", rate),
		Columns: []Column{{"p50", milliseconds}, {"p90", milliseconds}, {"p99", milliseconds}, {"p99.9", milliseconds}, {"longest", milliseconds}}}
	c := percentileChart("broadcast", "Latency of single pushes, beside broadcasts and alone")
	for i, s := range seen {
		times := float64(s.all.done) / float64(clients)
		all.add(s.name, s.all.perSecond(), s.all.elapsed.Seconds()/times, s.all.cpuEach())
		for _, phase := range []struct {
			name string
			of   *sample
		}{{"alone", &s.quiet}, {"beside broadcasts", &s.during}} {
			l := &phase.of.latency
			single.add(s.name+", "+phase.name, l.ms(0.5), l.ms(0.9), l.ms(0.99), l.ms(0.999), l.ms(1))
		}
		name := "beside broadcasts"
		if i > 0 {
			name = s.name + ", beside"
		}
		c.Series = append(c.Series, percentiles(name, &s.during.latency, i > 0))
	}
	ours, floor := &seen[0], &seen[1]
	c.Series = append(c.Series, percentiles("alone", &ours.quiet.latency, false))
	out.Tables = append(out.Tables, all, single)
	out.Findings = append(out.Findings,
		fmt.Sprintf("A delivery of a broadcast, stored and acked, costs %.1f µs of CPU, %.1f × the bare server's %.1f µs.",
			ours.all.cpuEach(), ours.all.cpuEach()/floor.all.cpuEach(), floor.all.cpuEach()),
		fmt.Sprintf("While broadcasts to everybody follow one another, the p99 of single pushes is %s instead of %s; at the bare server %s instead of %s.",
			brief(ours.during.latency.quantile(0.99)), brief(ours.quiet.latency.quantile(0.99)),
			brief(floor.during.latency.quantile(0.99)), brief(floor.quiet.latency.quantile(0.99))))
	out.Charts = append(out.Charts, c)
}
