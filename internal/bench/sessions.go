package bench

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// valuePage is the median time of a page of the slowest kind of list.
const valuePage = "page"

const pageSize = 100

// listings are the kinds of list.
var listings = []struct{ name, query string }{
	{"online", ""},
	{"all", "&status=all"},
	{"by prefix", "&prefix=c-0"},
	{"by a group without members", "&group=none"}, // looks at as many clients as one page may
}

// measurePages times the pages of the client list, from the first on.
func measurePages(r *run, out *Scenario) {
	srv := r.server(spec{role: sessionServer, connected: r.Listed})
	r.pause(3 * r.Duration) // the store is still compacting after so many new clients
	var plays []play
	for _, l := range listings {
		plays = append(plays, srv.lister(r.ctx, l.query).play)
	}
	m := r.takeTurns(r.Duration/time.Duration(len(listings)), plays...)
	t := out.table(fmt.Sprintf("page of %d out of %s clients", pageSize, thousands(r.Listed)), quantiles())
	slowest := make([]Figure, r.Rounds)
	for i, l := range listings {
		t.add(l.name, m.latency(i).quantiles()...)
		for round := range slowest {
			slowest[round] = max(slowest[round], m[i][round].latency.ms(0.5))
		}
	}
	out.value(valuePage, slowest...)
}

// lister is a caller that reads the pages of a list in turn and then starts again.
func (t *target) lister(ctx context.Context, query string) *callers {
	var page struct {
		NextCursor string `json:"next_cursor"`
	}
	return &callers{all: []caller{func() (int, error) {
		path := fmt.Sprintf("/v1/clients?limit=%d%s", pageSize, query)
		if page.NextCursor != "" {
			path += "&cursor=" + url.QueryEscape(page.NextCursor)
		}
		page.NextCursor = "" // the last page has none
		return 1, t.get(ctx, path, &page)
	}}}
}

// Load of the sessions. Single pushes take besideShare of a closed loop's rate.
const (
	durableShare    = 0.25 // durable pushes for each push with mode=online
	pagesPerSecond  = 20
	returnsASecond  = 500
	aloneCollection = 5 // collections whose CPU time is measured
)

// measureSessions measures the cost of very many sessions: their memory, and a
// collector that has to scan all of it.
func measureSessions(r *run, out *Scenario) {
	srv := r.server(spec{role: sessionServer, connected: r.Listed, returning: true})
	single := r.newPushers(srv, load{callers: 64, online: true}, staying(r.Listed))
	highest := must(single.play(r.ctx, r.Duration))
	rate := besideShare * highest.perSecond()
	all := []struct {
		name string
		rate Figure
		*callers
	}{
		{"push, online", rate, single},
		{"push, durable", durableShare * rate, r.newPushers(srv, load{callers: 64, wait: true}, staying(r.Listed))},
		{"page of the list", pagesPerSecond, srv.lister(r.ctx, "")},
	}
	check(srv.collect(r.ctx)) // the garbage of so many registrations
	alone := must(srv.timed(aloneCollection, func() (err error) {
		for i := 0; i < aloneCollection && err == nil; i++ {
			err = srv.collect(r.ctx)
		}
		return err
	}))
	memory := out.table("sessions without sockets", []Column{{"heap in use each", bytesEach}, {"RSS each", bytesEach},
		{"CPU of a collection", milliseconds}, {"from one to the next", seconds}, {"CPU for them", percent}})
	pauses := out.table("collections", []Column{{"so many", count}, {"pause p50", microseconds}, {"p99", microseconds}, {"longest", microseconds}, {"CPU of the process", percent}})
	calls := out.table("collections, and calls", append([]Column{{"offered", perSecond}}, quantiles()...))
	chart := percentileChart(out.Name, fmt.Sprintf("Latency of single pushes beside %s sessions, as collections come", thousands(r.Listed)))
	for _, phase := range []struct {
		name       string
		background func(context.Context) error
	}{{"as they come", func(context.Context) error { return nil }}, {"one after another", func(ctx context.Context) (err error) {
		for err == nil {
			err = srv.collect(ctx)
		}
		return err
	}}} {
		var before, after residents
		check(srv.get(r.ctx, residentsPath, &before))
		seen := make([]sample, len(all))
		whole := must(srv.timed(0, func() error {
			return while(r.ctx, phase.background, func() error {
				return together(len(all), func(i int) (err error) {
					seen[i], err = all[i].offer(r.ctx, all[i].rate, r.lasting())
					return err
				})
			})
		}))
		check(srv.get(r.ctx, residentsPath, &after))
		p := after.pauses(&before)
		pauses.add(phase.name, Figure(after.Cycles-before.Cycles), 1e3*p.ms(0.5), 1e3*p.ms(0.99), 1e3*p.ms(1), whole.percent())
		for i := range seen {
			calls.add(phase.name+": "+all[i].name, append([]Figure{all[i].rate}, seen[i].latency.quantiles()...)...)
		}
		chart.Series = append(chart.Series, seen[0].latency.percentiles(phase.name, false))
		if len(memory.Lines) == 0 { // the runtime collects when as much has been allocated as is in use
			n, cost := Figure(r.Listed), alone.cpuEach()/1e6
			apart := Figure(after.Heap) / (Figure(after.Allocated-before.Allocated) / whole.seconds())
			memory.add(thousands(r.Listed), Figure(after.HeapGrowth)/n, Figure(after.RSSGrowth)/n, 1e3*cost, apart, 100*cost/apart)
		}
	}
	out.Charts = append(out.Charts, chart)
}

// collect makes a sessionHost collect its garbage once.
func (t *target) collect(ctx context.Context) error {
	_, err := t.want(ctx, 200, "POST", collectPath, "", nil)
	return err
}
