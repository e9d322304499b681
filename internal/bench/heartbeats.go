package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// heartbeats measures a gateway whose clients only answer heartbeats.
type heartbeats struct {
	intervals []float64 // seconds, as in practice
}

// fastest is the shortest interval that a device may ask for. With it, fewer
// clients cause as many heartbeats a second as all of them at a longer interval;
// that replaces minutes of waiting.
const fastest = time.Second

// beatCallers are the connections over which the bare server gets its heartbeats.
const beatCallers = 256

// watch is the work of a gateway with idle clients over some time.
type watch struct {
	elapsed time.Duration
	cpu     time.Duration
	beats   int64
}

func (w *watch) rate() float64 { return float64(w.beats) / w.elapsed.Seconds() }

// percent is the CPU time as a share of one core.
func (w *watch) percent() float64 { return 100 * w.cpu.Seconds() / w.elapsed.Seconds() }

// each is the CPU time of a heartbeat in microseconds: the excess over quiet, which
// had no heartbeats.
func (w *watch) each(quiet *watch) float64 { return 1e4 * (w.percent() - quiet.percent()) / w.rate() }

func (h heartbeats) take(ctx context.Context, r *run, out *Scenario) error {
	srv, err := r.server(ctx, spec{role: gatewayServer, patient: true})
	if err != nil {
		return err
	}
	bare, err := r.server(ctx, spec{role: bareServer})
	if err != nil {
		return err
	}
	beat, err := r.newExchanges(ctx, bare.target, beatCallers, (*exchange).beat)
	if err != nil {
		return err
	}
	all := float64(r.Most)
	quiet, err := r.watch(ctx, srv, r.Most, time.Hour)
	if err != nil {
		return err
	}
	t := Table{Of: thousands(r.Most) + " clients, heartbeat every", Columns: []Column{{"heartbeats", perSecond}, {"CPU, share of a core", percent},
		{"CPU of a heartbeat", microseconds}, {"bare server, CPU of a heartbeat", microseconds}, {"cores of a million clients", number}}}
	line := Series{Name: "longwire, scaled"}
	t.add("never", 0, quiet.percent(), math.NaN(), math.NaN(), math.NaN())
	cost := 0.0 // of a heartbeat at the highest rate: the fewer are due together, the more each pays for the wake-up
	intervals := append([]float64{float64(max(1, r.Most/r.Clients))}, h.intervals...)
	for i, interval := range intervals {
		w, err := r.watch(ctx, srv, max(1, int(math.Round(all/interval))), fastest)
		if err != nil {
			return err
		}
		floor, err := beat.offer(ctx, max(1, w.rate()), r.Duration)
		if err != nil {
			return err
		}
		if i == 0 {
			cost = w.each(quiet)
		}
		t.add(fmt.Sprintf("%g s (scaled)", interval), w.rate(), w.percent(), w.each(quiet), floor.cpuEach(), 1e6/interval*cost/1e6)
		line.add(interval, w.percent())
	}
	out.Tables = append(out.Tables, t)
	out.Notes = append(out.Notes, "The cores of a million clients are extrapolated, with the cost of a heartbeat at the highest rate.")
	out.Charts = append(out.Charts, Chart{Name: out.Name, Title: "CPU of " + thousands(r.Most) + " idle clients", X: Axis{Label: "heartbeat interval, seconds"},
		Y: Axis{Label: "share of a core, %"}, Series: []Series{line, {Name: "without heartbeats", Bare: true, Dashed: true,
			Points: [][2]Figure{{Figure(intervals[0]), Figure(quiet.percent())}, {Figure(intervals[len(intervals)-1]), Figure(quiet.percent())}}}}})
	return nil
}

// watch makes n clients join, lets the fastest interval pass, and measures for at
// least one interval.
func (r *run) watch(ctx context.Context, srv *server, n int, interval time.Duration) (w *watch, err error) {
	err = r.part(ctx, func(r *run) error {
		d, err := r.connect(ctx, srv, join{Count: n, Heartbeat: interval})
		if err != nil {
			return err
		}
		if err := pause(ctx, fastest); err != nil {
			return err
		}
		before, err := d.count(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		cpu, err := srv.cpuDuring(func() error { return pause(ctx, max(time.Duration(r.Rounds)*r.Duration, fastest)) })
		took := time.Since(start)
		after, errAfter := d.count(ctx)
		w = &watch{elapsed: took, cpu: cpu, beats: after.Beats - before.Beats}
		return errors.Join(err, errAfter)
	})
	if err == nil {
		err = srv.waitForOnline(ctx, 0)
	}
	return w, err
}
