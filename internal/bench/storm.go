package bench

import (
	"context"
	"fmt"
	"time"
)

// Sizes of a storm.
const (
	stormDials   = 2000 // in progress at a time
	stormPushes  = 200  // per second, to those that stayed
	longestStorm = time.Minute
	mostStorms   = 3 // of one server
)

// storms is the result for one server.
type storms struct {
	lost         int
	back         recorder // from the loss of all to each one's return, in the last storm
	took         []Figure // seconds of each storm
	cpuEach      []Figure
	quiet, rough recorder // pushes to those that stayed
}

// measureStorm disconnects nine of ten clients at once and lets them reconnect.
func measureStorm(r *run, out *Scenario) {
	back := Table{Of: "clients come back", Columns: []Column{{"clients", count}, {"half", seconds}, {"99 %", seconds}, {"all, median", seconds},
		{"least", seconds}, {"most", seconds}, {"registrations", perSecond}, {"CPU each", microseconds}}}
	push := Table{Of: fmt.Sprintf("pushes to those that stayed, %d/s", stormPushes), Columns: quantiles()}
	curve := Chart{Name: out.Name, Title: "Devices back after all were lost at once", X: Axis{Label: "seconds since the loss"}, Y: Axis{Label: "devices that are registered again"}}
	calls := percentileChart(out.Name+"-pushes", "Latency of pushes to those that stayed")
	for _, role := range []role{gatewayServer, bareServer} {
		var seen storms
		r.part(string(role), func(r *run) { seen.at(r, role) })
		name, bare, lost := string(role), role == bareServer, Figure(seen.lost)
		if !bare {
			for _, took := range seen.took {
				out.value(valueRate, lost/took)
			}
		}
		took, least, most := spread(seen.took)
		back.add(name, lost, seen.back.ms(0.5)/1e3, seen.back.ms(0.99)/1e3, took, least, most, lost/took, median(seen.cpuEach))
		push.add(name+", before", seen.quiet.quantiles()...)
		push.add(name+", in the storm", seen.rough.quantiles()...)
		line := Series{Name: name, Bare: bare}
		for q := 0.0; q <= 1; q += 0.05 {
			line.add(seen.back.ms(q)/1e3, Figure(q)*lost)
		}
		curve.Series = append(curve.Series, line)
		calls.Series = append(calls.Series, seen.quiet.percentiles(name+", before", bare), seen.rough.percentiles(name+", storm", bare))
	}
	out.Tables, out.Charts = append(out.Tables, back, push), append(out.Charts, curve, calls)
}

// at runs the storms at one server.
func (s *storms) at(r *run, role role) {
	srv := r.server(spec{role: role, room: most})
	staying := max(1, r.Most/10)
	s.lost = max(1, r.Most-staying)
	r.connect(srv, Join{Count: staying})
	lost := r.connect(srv, Join{First: staying, Count: s.lost})
	c := r.newPushers(srv, load{what: pushes, callers: 32, mode: "online"}, staying)
	s.quiet = must(c.offer(r.ctx, stormPushes, r.lasting())).latency
	for range min(r.Rounds, mostStorms) {
		var during sample
		check(while(r.ctx, func(ctx context.Context) (err error) {
			during, err = c.offer(ctx, stormPushes, longestStorm)
			return err
		}, func() error {
			cpu, err := srv.cpuDuring(func() error { return s.comeBack(r.ctx, srv, lost, staying) })
			s.cpuEach = append(s.cpuEach, cpuEach(cpu, s.lost))
			return err
		}))
		s.rough.add(&during.latency)
	}
}

// comeBack runs the loss and the return. It ends when all clients are registered,
// and with a gateway also online.
func (s *storms) comeBack(ctx context.Context, srv *target, lost *devices, staying int) (err error) {
	if err := lost.drop(); err != nil {
		return err
	}
	start := time.Now()
	s.back, err = lost.join(Join{Addr: srv.tcp, First: staying, Count: s.lost, AtOnce: stormDials, Patient: true})
	if err == nil && srv.role == gatewayServer {
		err = srv.waitForOnline(ctx, staying+s.lost)
	}
	s.took = append(s.took, Figure(time.Since(start).Seconds()))
	return err
}
