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

// measureStorm disconnects nine of ten clients at once and lets them reconnect.
func measureStorm(r *run, out *Scenario) {
	back := out.table("clients come back", []Column{{"clients", count}, {"half", seconds}, {"99 %", seconds}, {"all, median", seconds},
		{"least", seconds}, {"most", seconds}, {"registrations", perSecond}, {"CPU each", microseconds}})
	push := out.table(fmt.Sprintf("pushes to those that stayed, %d/s", stormPushes), quantiles())
	curve := Chart{Name: out.Name, Title: "Devices back after all were lost at once", X: Axis{Label: "seconds since the loss"}, Y: Axis{Label: "devices that are registered again"}}
	calls := percentileChart(out.Name+"-pushes", "Latency of pushes to those that stayed")
	for _, role := range []role{gatewayServer, bareServer} {
		var returns []sample
		var quiet, rough recorder
		r.part(string(role), func(r *run) { returns, quiet, rough = r.storms(role) })
		m, last := match{returns}, returns[len(returns)-1]
		name, bare, lost := string(role), role == bareServer, Figure(last.done)
		if !bare {
			out.value(valueRate, m.values(0, (*sample).perSecond)...)
		}
		took, least, most := spread(m.values(0, (*sample).seconds))
		back.add(name, lost, last.latency.ms(0.5)/1e3, last.latency.ms(0.99)/1e3, took, least, most, lost/took, m.median(0, (*sample).cpuEach))
		push.add(name+", before", quiet.quantiles()...)
		push.add(name+", in the storm", rough.quantiles()...)
		line := Series{Name: name, Bare: bare}
		for q := 0.0; q <= 1; q += 0.05 {
			line.add(last.latency.ms(q)/1e3, Figure(q)*lost)
		}
		curve.Series = append(curve.Series, line)
		calls.Series = append(calls.Series, quiet.percentiles(name+", before", bare), rough.percentiles(name+", storm", bare))
	}
	out.Charts = append(out.Charts, curve, calls)
}

// storms runs the storms at one server: the returns, each with the time of every client,
// and the pushes to those that stayed, before and during them.
func (r *run) storms(role role) (returns []sample, quiet, rough recorder) {
	srv := r.server(spec{role: role, room: r.Most})
	staying := max(1, r.Most/10)
	r.connect(srv, Join{Count: staying})
	lost := r.connect(srv, Join{First: staying, Count: max(1, r.Most-staying)})
	c := r.newPushers(srv, load{what: pushes, callers: 32, online: true}, staying)
	quiet = must(c.offer(r.ctx, stormPushes, r.lasting())).latency
	for range min(r.Rounds, mostStorms) {
		var during, back sample
		check(while(r.ctx, func(ctx context.Context) (err error) {
			during, err = c.offer(ctx, stormPushes, longestStorm)
			return err
		}, func() (err error) {
			back, err = comeBack(r.ctx, srv, lost, staying)
			return err
		}))
		rough.add(&during.latency)
		returns = append(returns, back)
	}
	return returns, quiet, rough
}

// comeBack runs the loss and the return. It ends when all clients are registered,
// and with a gateway also online.
func comeBack(ctx context.Context, srv *target, lost *devices, staying int) (back sample, err error) {
	var start time.Time
	var joined recorder
	n := lost.size
	back, err = srv.timed(n, func() (err error) {
		if err = lost.drop(); err != nil {
			return err
		}
		start = time.Now()
		joined, err = lost.join(Join{Addr: srv.tcp, First: staying, Count: n, AtOnce: stormDials, Patient: true})
		if err == nil && srv.role == gatewayServer {
			err = srv.waitForOnline(ctx, staying+n)
		}
		return err
	})
	back.elapsed, back.latency = time.Since(start), joined
	return back, err
}
