package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Load of the million. Single pushes take broadcastShare of what a closed loop
// reaches.
const (
	millionCallers = 64   // of each kind of push
	millionDurable = 0.25 // durable pushes to one of mode=online
	millionPages   = 20   // of the client list, a second
	millionReturns = 500  // registrations a second
)

// standing is a gateway with very many sessions under load for a while.
type standing struct {
	name    string
	online  sample
	durable sample
	pages   sample
	cpu     time.Duration
	took    time.Duration
	garbage collector // what was collected meanwhile
	end     residents
}

// million is all that was seen of very many sessions.
type million struct {
	sessions    int
	rate        float64 // of single pushes, offered
	cost        float64 // seconds of CPU of a collection
	quiet, busy standing
}

// millionScenario shows what very many sessions cost while others are served:
// their memory, and a collector that has to look at all of it.
func (b *bench) millionScenario(ctx context.Context, out *Scenario) (err error) {
	t, err := b.start(ctx, process{role: rosterServer, dir: b.newDir("million"), clients: b.Listed, returns: millionReturns})
	if err != nil {
		return fmt.Errorf("start a gateway with %d sessions: %w", b.Listed, err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	rate, err := b.someRate(ctx, t, b.millionPushes("online", "200"))
	if err != nil {
		return err
	}
	cost, err := t.costOfCollection(ctx)
	if err != nil {
		return err
	}
	quiet, err := b.stand(ctx, t, rate)
	if err != nil {
		return err
	}
	var busy standing
	err = t.whileCollecting(ctx, func() (err error) { busy, err = b.stand(ctx, t, rate); return err })
	if err != nil {
		return err
	}
	quiet.name, busy.name = "as they come", "one after the other"
	m := million{sessions: b.Listed, rate: rate, cost: cost, quiet: quiet, busy: busy}
	m.tell(out)
	return nil
}

func (b *bench) millionPushes(mode, status string) pushes {
	return pushes{conns: millionCallers, clients: b.Listed, mode: mode, status: status}
}

// aloneCollections are those whose cost is measured.
const aloneCollections = 5

// costOfCollection is the seconds of CPU of one collection, while nothing but
// registrations goes on; NaN where that is not known.
func (t *target) costOfCollection(ctx context.Context) (float64, error) {
	if err := t.collect(ctx); err != nil { // what so many registrations have left
		return 0, err
	}
	cpu, err := t.cpuDuring(func() (err error) {
		for i := 0; i < aloneCollections && err == nil; i++ {
			err = t.collect(ctx)
		}
		return err
	})
	if cpu == 0 {
		return math.NaN(), err
	}
	return cpu.Seconds() / aloneCollections, err
}

// stand offers all kinds of calls at once: rate single pushes a second, and the
// others in proportion.
func (b *bench) stand(ctx context.Context, t *target, rate float64) (s standing, err error) {
	online, err := newPushers(ctx, t, b.millionPushes("online", "200"))
	if err != nil {
		return s, err
	}
	defer online.close()
	durable, err := newPushers(ctx, t, b.millionPushes("durable", "202"))
	if err != nil {
		return s, err
	}
	defer durable.close()
	before, err := t.residents(ctx)
	if err != nil {
		return s, err
	}
	lists := &load{callers: []caller{t.lister(ctx)}}
	start := time.Now()
	s.cpu, err = t.cpuDuring(func() error {
		return atOnce(
			func() (err error) { s.online, err = online.offer(ctx, rate, 2*b.Duration); return err },
			func() (err error) { s.durable, err = durable.offer(ctx, rate*millionDurable, 2*b.Duration); return err },
			func() (err error) { s.pages, err = lists.offer(ctx, millionPages, 2*b.Duration); return err })
	})
	if err != nil {
		return s, err
	}
	s.took = time.Since(start)
	s.end, err = t.residents(ctx)
	s.garbage = s.end.since(&before.collector)
	return s, err
}

// atOnce does several things and returns the errors of all.
func atOnce(all ...func() error) error {
	errs := make([]error, len(all))
	var doing sync.WaitGroup
	for i, do := range all {
		doing.Go(func() { errs[i] = do() })
	}
	doing.Wait()
	return errors.Join(errs...)
}

// lister is a caller that turns the pages of the client list; after the last one
// comes the first.
func (t *target) lister(ctx context.Context) caller {
	cursor := ""
	return callerFunc(func() (err error) {
		cursor, err = t.page(ctx, "", cursor)
		return err
	})
}

// residents asks a roster what it is.
func (t *target) residents(ctx context.Context) (r residents, err error) {
	body, err := t.want(ctx, 200, "GET", residentsPath, "", nil)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

// collect has a roster collect its garbage once.
func (t *target) collect(ctx context.Context) error {
	_, err := t.want(ctx, 200, "POST", collectPath, "", nil)
	return err
}

// whileCollecting has one collection follow the other while do runs.
func (t *target) whileCollecting(ctx context.Context, do func() error) error {
	collecting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { // ends soon after stop
		var err error
		for err == nil && collecting.Err() == nil {
			err = t.collect(collecting)
		}
		ended <- err
	}()
	err := do()
	stop()
	if e := <-ended; !errors.Is(e, context.Canceled) {
		err = errors.Join(err, e)
	}
	return err
}

// each is what grew since there were no sessions, for each of n; NaN where that
// is not known.
func (r *residents) each(n int, of func(*residents) int64) float64 {
	now, then := of(r), of(r.Base)
	if now <= 0 || then <= 0 {
		return math.NaN()
	}
	return float64(now-then) / float64(n)
}

// core is how much of one the process has used; NaN where that is not known.
func (s *standing) core() float64 {
	if s.cpu == 0 {
		return math.NaN()
	}
	return s.cpu.Seconds() / s.took.Seconds()
}

// apart is how many seconds lie between two collections that nobody forces: as
// long as it takes until as much is allocated as is in use. NaN when that cannot
// be told.
func (s *standing) apart() float64 {
	if s.garbage.Allocated == 0 || s.end.Heap == 0 {
		return math.NaN()
	}
	return float64(s.end.Heap) / (float64(s.garbage.Allocated) / s.took.Seconds())
}

// tell fills in tables, findings and the chart.
func (m *million) tell(out *Scenario) {
	quiet, busy := &m.quiet, &m.busy
	heap := quiet.end.each(m.sessions, func(r *residents) int64 { return r.Heap })
	rss := quiet.end.each(m.sessions, func(r *residents) int64 { return r.RSS })
	apart := quiet.apart()
	memory := Table{Of: "sessions without connections", Columns: []Column{{"heap in use each", bytesEach}, {"RSS each", bytesEach},
		{"CPU of a collection", milliseconds}, {"from one to the next", seconds}, {"CPU for them", percent}}}
	memory.add(thousands(float64(m.sessions)), heap, rss, m.cost*1e3, apart, m.cost/apart*100)
	pauses := Table{Of: "collections", Columns: []Column{{"so many", count}, {"pause, p50", microseconds}, {"p99", microseconds},
		{"longest", microseconds}, {"CPU of the process", percent}}}
	calls := Table{Of: "collections, and calls meanwhile", Columns: []Column{{"offered", perSecond}, {"p50", milliseconds}, {"p99", milliseconds}, {"longest", milliseconds}}}
	c := percentileChart("million", fmt.Sprintf("Latency of single pushes beside %s sessions, as collections come", thousands(float64(m.sessions))))
	for _, s := range []*standing{quiet, busy} {
		p := &s.garbage.Pauses
		pauses.add(s.name, float64(s.garbage.Cycles), p.us(0.5), p.us(0.99), p.us(1), 100*s.core())
		calls.offered(s.name+": push, online", m.rate, &s.online)
		calls.offered(s.name+": push, durable", m.rate*millionDurable, &s.durable)
		calls.offered(s.name+": page of the list", millionPages, &s.pages)
		c.Series = append(c.Series, percentiles(s.name, &s.online.latency, false))
	}
	out.Tables = append(out.Tables, memory, pauses, calls)
	p := &busy.garbage.Pauses
	out.Findings = append(out.Findings,
		fmt.Sprintf("A session takes %s of heap in gateway and store, its connection not included, and %s of the process.", bytesEach.text(heap), bytesEach.text(rss)),
		fmt.Sprintf("A garbage collection over all of them stops the process for %s (median), %s at most; the rest of its work is beside what goes on.",
			brief(p.quantile(0.5)), brief(p.quantile(1))),
		fmt.Sprintf("Under this load one comes every %.0f s by itself. With one right after the other the p99 of single pushes is %s instead of %s.",
			apart, brief(busy.online.latency.quantile(0.99)), brief(quiet.online.latency.quantile(0.99))))
	out.Charts = append(out.Charts, c)
}

// offered adds a line of an open loop.
func (t *Table) offered(label string, rate float64, s *sample) {
	t.add(label, rate, s.latency.ms(0.5), s.latency.ms(0.99), s.latency.ms(1))
}

// us is a quantile in microseconds; NaN when there is none.
func (l *latencies) us(q float64) float64 {
	if l.total() == 0 {
		return math.NaN()
	}
	return l.ms(q) * 1e3
}
