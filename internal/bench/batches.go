package bench

import (
	"context"
	"fmt"

	"github.com/longwire/longwire/internal/bench/chart"
)

// batchLines are the sizes of bulk requests.
var batchLines = []int{1, 10, 100, 1000}

// bulkScenario is the cost of a message over the lines of a bulk request.
func (b *bench) bulkScenario(ctx context.Context, out *Scenario) error {
	g, err := b.gather(ctx)
	if err != nil {
		return err
	}
	if _, err := processCPU(g.pid); err != nil {
		return err
	}
	bare, err := b.bareCrowd(ctx)
	if err != nil {
		return err
	}
	single, err := newPushers(ctx, g.target, pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"})
	if err != nil {
		return err
	}
	defer single.close()
	alone, err := single.play(ctx, b.Duration)
	if err != nil {
		return err
	}
	t := Table{Of: "lines a request", Columns: []Column{{"messages", perSecond}, {"CPU each", microseconds}, {"request p50", milliseconds},
		{"bare, lines", perSecond}, {"bare, CPU each", microseconds}, {"CPU to bare", number}, {"CPU to single pushes", ratio}}}
	ours, floor := chart.Series{Name: "longwire"}, chart.Series{Name: "bare server", Bare: true}
	for _, lines := range batchLines {
		body := bulkBody(lines, b.Clients, "online")
		s, err := g.playBulk(ctx, b.Duration, lines, body)
		if err != nil {
			return err
		}
		f, err := bare.playBulk(ctx, b.Duration/2, lines, body)
		if err != nil {
			return err
		}
		t.add(thousands(float64(lines)), s.perSecond(), s.cpuEach(), s.latency.ms(0.5), f.perSecond(), f.cpuEach(), s.cpuEach()/f.cpuEach(), s.cpuEach()/alone.cpuEach())
		ours.Points = append(ours.Points, [2]float64{float64(lines), s.cpuEach()})
		floor.Points = append(floor.Points, [2]float64{float64(lines), f.cpuEach()})
	}
	out.Tables = append(out.Tables, t)
	out.Findings = append(out.Findings, fmt.Sprintf("A single push over one of %d connections costs %.1f µs of CPU in the same run.", onlineCallers, alone.cpuEach()))
	most := float64(batchLines[len(batchLines)-1])
	out.Charts = append(out.Charts, chart.Chart{Name: "bulk", Title: "CPU of a message over the lines of a bulk request",
		X: chart.Axis{Label: "lines in a request", Log: true}, Y: chart.Axis{Label: "CPU of the process for each message, µs", Log: true},
		Series: []chart.Series{ours, floor, {Name: "single push", Bare: true, Dashed: true, Points: [][2]float64{{1, alone.cpuEach()}, {most, alone.cpuEach()}}}}})
	return g.crowd.check(ctx)
}
