package bench

import (
	"fmt"
	"math"
	"time"
)

// beatCallers are the connections over which the bare server gets its heartbeats.
const beatCallers = 256

// beatCost is the CPU time of a heartbeat in microseconds: the excess over quiet, which
// had no heartbeats.
func beatCost(w, quiet *sample) Figure { return 1e4 * (w.percent() - quiet.percent()) / w.perSecond() }

// measureHeartbeats measures a gateway whose clients only answer heartbeats, at the
// highest rate and at intervals as in practice. For a longer interval fewer clients have
// as many heartbeats a second; that replaces minutes of waiting.
func measureHeartbeats(r *run, out *Scenario) {
	// With the grace the gateway waits long for the answers.
	srv, floor := r.server(spec{role: gatewayServer, room: r.Most, flag: "--tcp-grace=30s"}), r.server(bare)
	beat := r.newDevices(floor, beatCallers, (*device).beat)
	quiet := r.watch(srv, r.Most, time.Hour)
	t := out.table(thousands(r.Most)+" clients, heartbeat every", []Column{{"heartbeats", perSecond}, {"CPU, share of a core", percent},
		{"CPU of a heartbeat", microseconds}, {"bare server, CPU of a heartbeat", microseconds}, {"cores of a million clients", number}})
	line, without := Series{Name: "longwire, scaled"}, Series{Name: "without heartbeats", Bare: true}
	t.add("never", 0, quiet.percent(), unknown, unknown, unknown)
	cost := unknown // of a heartbeat at the highest rate: the fewer are due together, the more each pays for the wake-up
	for _, interval := range []Figure{Figure(max(1, r.Most/r.Clients)), 10, 30, 60} {
		w := r.watch(srv, max(1, int(math.Round(float64(r.Most)/float64(interval)))), r.beat)
		bare := must(beat.offer(r.ctx, max(1, w.perSecond()), r.Duration))
		if cost.none() {
			cost = beatCost(&w, &quiet)
		}
		t.add(fmt.Sprintf("%g s (scaled)", interval), w.perSecond(), w.percent(), beatCost(&w, &quiet), bare.cpuEach(), cost/interval)
		line.add(interval, w.percent())
		without.add(interval, quiet.percent())
	}
	out.Notes = append(out.Notes, "The cores of a million clients are extrapolated, with the cost of a heartbeat at the highest rate.")
	out.Charts = append(out.Charts, Chart{Name: out.Name, Title: "CPU of " + thousands(r.Most) + " idle clients",
		X: Axis{Label: "heartbeat interval, seconds"}, Y: Axis{Label: "share of a core, %"}, Series: []Series{line, without}})
}

// watch makes n clients join, lets the shortest interval pass, and counts heartbeats
// for at least one.
func (r *run) watch(srv *target, n int, interval time.Duration) (w sample) {
	r.part(fmt.Sprintf("%d idle clients", n), func(r *run) {
		d := r.connect(srv, Join{Count: n, Heartbeat: interval})
		r.pause(r.beat)
		before := must(d.count())
		w = must(srv.timed(0, func() error { return pause(r.ctx, max(r.lasting(), r.beat)) }))
		w.done = int(must(d.count()).Beats - before.Beats)
	})
	check(srv.waitForOnline(r.ctx, 0))
	return w
}
