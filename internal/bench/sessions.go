package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"time"
)

// pages times the pages of the client list, from the first on.
type pages struct{}

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

func (pages) take(ctx context.Context, r *run, out *Scenario) error {
	srv, err := r.startServer(ctx, process{role: sessionServer, dir: r.newDir("sessions"), clients: r.Listed})
	if err != nil {
		return err
	}
	if err := pause(ctx, 3*r.Duration); err != nil { // the store is still compacting after so many new clients
		return err
	}
	var plays []play
	for _, l := range listings {
		plays = append(plays, srv.lister(ctx, l.query).play)
	}
	m, err := r.takeTurns(ctx, r.Duration/time.Duration(len(listings)), plays...)
	if err != nil {
		return err
	}
	t := Table{Of: fmt.Sprintf("page of %d out of %s clients", pageSize, thousands(r.Listed)), Columns: quantiles()}
	for i, l := range listings {
		t.add(l.name, m.latency(i).quantiles()...)
	}
	for round := range m[0] {
		slowest := 0.0
		for i := range m {
			slowest = max(slowest, m[i][round].latency.ms(0.5))
		}
		out.value(valuePage, slowest)
	}
	out.Tables = append(out.Tables, t)
	return nil
}

// lister is a caller that reads the pages of a list in turn and then starts again.
func (t *target) lister(ctx context.Context, query string) *callers {
	cursor := ""
	return &callers{all: []caller{callerFunc(func() (int, error) {
		path := fmt.Sprintf("/v1/clients?limit=%d%s", pageSize, query)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		var page struct {
			NextCursor string `json:"next_cursor"`
		}
		err := t.get(ctx, path, &page)
		cursor = page.NextCursor
		return 1, err
	})}}
}

// sessions measures the cost of very many sessions: their memory, and a collector
// that has to scan all of it.
type sessions struct{}

// Load of the sessions. Single pushes take besideShare of a closed loop's rate.
const (
	durableShare    = 0.25 // durable pushes for each push with mode=online
	pagesPerSecond  = 20
	returnsASecond  = 500
	aloneCollection = 5 // collections whose CPU time is measured
)

func (sessions) take(ctx context.Context, r *run, out *Scenario) error {
	srv, err := r.startServer(ctx, process{role: sessionServer, dir: r.newDir("sessions"), clients: r.Listed, returns: returnsASecond})
	if err != nil {
		return err
	}
	kinds := []struct {
		name  string
		share float64
		load  load
	}{{"push, online", 1, load{callers: 64, mode: "online"}}, {"push, durable", durableShare, load{callers: 64, wait: true}}}
	var all []*callers
	for _, k := range kinds {
		c, err := r.newPushers(ctx, srv.target, k.load, staying(r.Listed))
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	highest, err := all[0].play(ctx, r.Duration)
	if err != nil {
		return err
	}
	rates, names := []float64{besideShare * highest.perSecond(), durableShare * besideShare * highest.perSecond(), pagesPerSecond}, []string{kinds[0].name, kinds[1].name, "page of the list"}
	all = append(all, srv.lister(ctx, ""))
	if err := srv.collect(ctx); err != nil { // the garbage of so many registrations
		return err
	}
	cpu, err := srv.cpuDuring(func() (err error) {
		for i := 0; i < aloneCollection && err == nil; i++ {
			err = srv.collect(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	cost := cpu.Seconds() / aloneCollection
	pauses := Table{Of: "collections", Columns: []Column{{"so many", count}, {"pause p50", microseconds}, {"p99", microseconds}, {"longest", microseconds}, {"CPU of the process", percent}}}
	calls := Table{Of: "collections, and calls", Columns: append([]Column{{"offered", perSecond}}, quantiles()...)}
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
		if err := srv.get(ctx, residentsPath, &before); err != nil {
			return err
		}
		seen, start := make([]sample, len(all)), time.Now()
		cpu, err := srv.cpuDuring(func() error {
			return while(ctx, phase.background, func() error {
				return atOnce(len(all), func(i int) (err error) {
					seen[i], err = all[i].offer(ctx, rates[i], time.Duration(r.Rounds)*r.Duration)
					return err
				})
			})
		})
		if err == nil {
			err = srv.get(ctx, residentsPath, &after)
		}
		if err != nil {
			return err
		}
		took := time.Since(start).Seconds()
		p := after.pauses(&before)
		pauses.add(phase.name, float64(after.Cycles-before.Cycles), 1e3*p.ms(0.5), 1e3*p.ms(0.99), 1e3*p.ms(1), 100*cpu.Seconds()/took)
		for i := range seen {
			calls.add(phase.name+": "+names[i], append([]float64{rates[i]}, seen[i].latency.quantiles()...)...)
		}
		chart.Series = append(chart.Series, seen[0].latency.percentiles(strings.TrimSpace(phase.name), false))
		if len(out.Tables) == 0 {
			out.Tables = append(out.Tables, after.table(r.Listed, cost, float64(after.Allocated-before.Allocated)/took))
		}
	}
	out.Tables, out.Charts = append(out.Tables, pauses, calls), append(out.Charts, chart)
	return nil
}

// table is the memory of n sessions and the rate of collections: the runtime
// collects when as much has been allocated as is in use.
func (r *residents) table(n int, cost, allocated float64) Table {
	t := Table{Of: "sessions without sockets", Columns: []Column{{"heap in use each", bytesEach}, {"RSS each", bytesEach}, {"CPU of a collection", milliseconds},
		{"from one to the next", seconds}, {"CPU for them", percent}}}
	apart := float64(r.Heap) / allocated
	if allocated <= 0 {
		apart = math.NaN()
	}
	t.add(thousands(n), r.each(n, func(r *residents) int64 { return r.Heap }), r.each(n, func(r *residents) int64 { return r.RSS }), 1e3*cost, apart, 100*cost/apart)
	return t
}

// atOnce calls do n times concurrently and returns all errors.
func atOnce(n int, do func(int) error) error {
	errs := make([]error, n)
	var doing sync.WaitGroup
	for i := range n {
		doing.Go(func() { errs[i] = do(i) })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// collect makes a sessionHost collect its garbage once.
func (t *target) collect(ctx context.Context) error {
	_, err := t.want(ctx, 200, "POST", collectPath, "", nil)
	return err
}
