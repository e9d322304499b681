package bench

import (
	"context"
	"errors"
	"fmt"
)

// besideShare is the rate of single pushes beside other work, as a share of the
// highest rate in a closed loop.
const besideShare = 0.1

// measureBroadcasts offers single pushes at a fixed rate, first alone and then while
// broadcasts to all follow one another. The gateway decides the rate.
func measureBroadcasts(r *run, out *Scenario) {
	rate := Figure(0)
	t := out.table("single pushes", quantiles())
	all := out.table("broadcasts to "+thousands(r.Clients)+" clients", []Column{{"deliveries", perSecond}, {"CPU of a delivery", microseconds}})
	chart := percentileChart(out.Name, "Latency of single pushes beside broadcasts")
	for _, s := range []side{{spec: spec{role: gatewayServer, connected: r.Clients}, load: pushOnline}, {spec: spec{role: bareServer, connected: r.Clients}, load: pushOnline}} {
		single, broadcast := r.open(s), r.open(side{spec: s.spec, load: load{what: broadcasts}})
		if rate == 0 {
			highest := must(single.play(r.ctx, r.Duration))
			rate = besideShare * highest.perSecond()
			t.Of += fmt.Sprintf(", %.0f/s", rate)
		}
		alone, wave := must(single.offer(r.ctx, rate, r.lasting())), must(broadcast.play(r.ctx, r.lasting()))
		var during sample
		check(while(r.ctx, func(ctx context.Context) error { _, err := broadcast.play(ctx, maxDuration); return err },
			func() (err error) { during, err = single.offer(r.ctx, rate, r.lasting()); return err }))
		name, bare := s.label(), s.role == bareServer
		all.add(name, wave.perSecond(), wave.cpuEach())
		t.add(name+", alone", alone.latency.quantiles()...)
		t.add(name+", beside", during.latency.quantiles()...)
		chart.Series = append(chart.Series, alone.latency.percentiles(name+", alone", bare), during.latency.percentiles(name+", beside", bare))
	}
	out.Charts = append(out.Charts, chart)
}

// while runs background until do returns. background ends soon after its context.
func while(ctx context.Context, background func(context.Context) error, do func() error) error {
	busy, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- background(busy) }()
	err := do()
	cancel()
	if e := <-ended; !errors.Is(e, context.Canceled) {
		err = errors.Join(err, e)
	}
	return err
}
