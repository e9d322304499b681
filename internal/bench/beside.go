package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// beside offers single pushes at a fixed rate, first alone and then while
// broadcasts to all follow one another.
type beside struct {
	sides []side // the first side decides the rate
}

// besideShare is the rate of single pushes beside other work, as a share of the
// highest rate in a closed loop.
const besideShare = 0.1

func (b beside) take(ctx context.Context, r *run, out *Scenario) error {
	rate := 0.0
	t := Table{Columns: quantiles()}
	all := Table{Of: "broadcasts to " + thousands(r.Clients) + " clients", Columns: []Column{{"deliveries", perSecond}, {"CPU of a delivery", microseconds}}}
	chart := percentileChart(out.Name, "Latency of single pushes beside broadcasts")
	for i, s := range b.sides {
		c, err := r.open(ctx, s)
		if err != nil {
			return err
		}
		loop, err := r.open(ctx, side{spec: s.spec, load: load{what: broadcasts}})
		if err != nil {
			return err
		}
		if rate == 0 {
			highest, err := c.play(ctx, r.Duration)
			if err != nil {
				return err
			}
			rate = besideShare * highest.perSecond()
			t.Of = fmt.Sprintf("single pushes, %.0f/s", rate)
		}
		lasting := time.Duration(r.Rounds) * r.Duration
		alone, err := c.offer(ctx, rate, lasting)
		if err != nil {
			return err
		}
		wave, err := loop.play(ctx, lasting)
		if err != nil {
			return err
		}
		var during sample
		if err := while(ctx, func(ctx context.Context) error { _, err := loop.play(ctx, maxDuration); return err },
			func() (err error) { during, err = c.offer(ctx, rate, lasting); return err }); err != nil {
			return err
		}
		name := s.label(r.Options)
		all.add(name, wave.perSecond(), wave.cpuEach())
		t.add(name+", alone", alone.latency.quantiles()...)
		t.add(name+", beside", during.latency.quantiles()...)
		chart.Series = append(chart.Series, alone.latency.percentiles(name+", alone", i > 0), during.latency.percentiles(name+", beside", i > 0))
	}
	out.Tables, out.Charts = append(out.Tables, t, all), append(out.Charts, chart)
	return nil
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
