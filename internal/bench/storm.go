package bench

import (
	"context"
	"fmt"
	"time"
)

// storm disconnects nine of ten clients at once and lets them reconnect.
type storm struct {
	sides []spec
}

// Sizes of a storm.
const (
	stormDials   = 2000 // in progress at a time
	stayingShare = 0.1  // of the clients keep their connection
	stormPushes  = 200  // per second, to those that stayed
	longestStorm = time.Minute
	mostStorms   = 3 // of one server
)

// storms is the result for one server.
type storms struct {
	lost         int
	back         recorder // from the loss of all to each one's return, in the last storm
	took         []float64
	cpuEach      []float64
	quiet, rough recorder // pushes to those that stayed
}

func (s storm) take(ctx context.Context, r *run, out *Scenario) error {
	back := Table{Of: "clients come back", Columns: []Column{{"clients", count}, {"half", seconds}, {"99 %", seconds}, {"all, median", seconds}, {"least", seconds},
		{"most", seconds}, {"registrations", perSecond}, {"CPU each", microseconds}}}
	push := Table{Of: fmt.Sprintf("pushes to those that stayed, %d/s", stormPushes), Columns: quantiles()}
	curve := Chart{Name: out.Name, Title: "Devices back after all were lost at once", X: Axis{Label: "seconds since the loss"}, Y: Axis{Label: "devices that are registered again"}}
	calls := percentileChart(out.Name+"-pushes", "Latency of pushes to those that stayed")
	for i, server := range s.sides {
		var seen storms
		if err := r.part(ctx, func(r *run) error { return seen.at(ctx, r, server) }); err != nil {
			return fmt.Errorf("%s: %w", server.role, err)
		}
		name, all := server.role.String(), median(seen.took)
		if i == 0 {
			for _, took := range seen.took {
				out.value(valueRate, float64(seen.lost)/took)
			}
		}
		back.add(name, float64(seen.lost), seen.back.ms(0.5)/1e3, seen.back.ms(0.99)/1e3, all, least(seen.took), greatest(seen.took), float64(seen.lost)/all, median(seen.cpuEach))
		push.add(name+", before", seen.quiet.quantiles()...)
		push.add(name+", in the storm", seen.rough.quantiles()...)
		line := Series{Name: name, Bare: i > 0}
		for q := 0.0; q <= 1; q += 0.05 {
			line.add(seen.back.quantile(q).Seconds(), q*float64(seen.lost))
		}
		curve.Series = append(curve.Series, line)
		calls.Series = append(calls.Series, seen.quiet.percentiles(name+", before", i > 0), seen.rough.percentiles(name+", storm", i > 0))
	}
	out.Tables, out.Charts = append(out.Tables, back, push), append(out.Charts, curve, calls)
	return nil
}

// at runs the storms at one server.
func (s *storms) at(ctx context.Context, r *run, server spec) error {
	srv, err := r.startServer(ctx, process{role: server.role, connections: r.Most})
	if err != nil {
		return err
	}
	staying := max(1, int(stayingShare*float64(r.Most)))
	if _, err := r.connect(ctx, srv, join{Count: staying}); err != nil {
		return err
	}
	s.lost = max(1, r.Most-staying)
	lost, err := r.connect(ctx, srv, join{First: staying, Count: s.lost})
	if err != nil {
		return err
	}
	c, err := r.newPushers(ctx, srv.target, load{what: pushes, callers: 32, mode: "online"}, staying)
	if err != nil {
		return err
	}
	before, err := c.offer(ctx, stormPushes, time.Duration(r.Rounds)*r.Duration)
	if err != nil {
		return err
	}
	s.quiet = before.latency
	for range min(r.Rounds, mostStorms) {
		var during sample
		err := while(ctx, func(ctx context.Context) (err error) {
			during, err = c.offer(ctx, stormPushes, longestStorm)
			return err
		},
			func() error {
				cpu, err := srv.cpuDuring(func() error { return s.comeBack(ctx, srv, lost, staying) })
				s.cpuEach = append(s.cpuEach, float64(cpu.Nanoseconds())/1e3/float64(s.lost))
				return err
			})
		if err != nil {
			return err
		}
		s.rough.add(&during.latency)
	}
	return nil
}

// comeBack runs the loss and the return. It ends when all clients are registered,
// and with a gateway also online.
func (s *storms) comeBack(ctx context.Context, srv *server, lost *devices, staying int) error {
	if err := lost.drop(ctx); err != nil {
		return err
	}
	start := time.Now()
	back, err := lost.join(ctx, join{Addr: srv.tcp, First: staying, Count: s.lost, AtOnce: stormDials, Patient: true})
	if err != nil {
		return err
	}
	s.back = *back
	if srv.role == gatewayServer {
		err = srv.waitForOnline(ctx, staying+s.lost)
	}
	s.took = append(s.took, time.Since(start).Seconds())
	return err
}
