package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/engine"
)

// side is one side of a comparison: a server, the state of its clients, and a load.
type side struct {
	name string // "" = the server's
	spec
	load load
}

// load is the calls that callers repeat.
type load struct {
	what      what
	callers   int
	mode      string // of pushes and lines: "" = the API's default, durable
	wait      bool   // the answer comes after the device's ack
	delivered bool   // a round lasts until the acks of all messages are stored
	lines     int    // of a bulk request
}

// what is a kind of call.
type what uint8

const (
	pushes     what = iota // POST /v1/clients/{id}/messages
	lines                  // POST /v1/messages/bulk, each line acked
	broadcasts             // POST /v1/messages to all, each delivery acked
	uplinks                // DATA of a device, until the ack
	accepts                // Store.Accept of the engine, in this process
	appends                // an append with a group fdatasync, in this process
)

var nouns = [...]string{pushes: "pushes", lines: "messages", broadcasts: "deliveries", uplinks: "uplinks", accepts: "messages", appends: "messages"}

// status is the expected answer to a push.
func (l load) status(r role) string {
	if r == bareServer || r != bareSyncing && (l.wait || l.mode == "online") {
		return "200"
	}
	return "202"
}

// compare gives the sides their turns, round by round. Each side is compared with
// the reference in the same round; the first side's ratios are the scenario's
// values.
type compare struct {
	sides     []side
	reference int       // index of the side that the others are compared with
	shares    []float64 // of the first side's highest rate, offered in open loops to the first two sides; none = closed loop only
	wrk       bool      // also measure the first two sides with the outside loader
	chart     string    // of CPU over sides; "" = none
}

// Names of a comparison's values: the first side's ratio to the reference.
const (
	valueRate = "rate"
	valueCPU  = "cpu"
	valueP99  = "p99"  // at halfRate
	wrkPrefix = "wrk-" // of the values under the outside loader
	halfRate  = 0.5    // the share whose latency has a budget
	noWrk     = "not run: wrk is not in PATH"
	closed    = "closed loop"
	outside   = "outside loader (wrk), closed loop"
)

func (c compare) take(ctx context.Context, r *run, out *Scenario) error {
	names, all := make([]string, len(c.sides)), make([]*callers, len(c.sides))
	plays := make([]play, len(c.sides))
	for _, s := range c.sides { // start the servers first: the callers' connections must not be idle for long
		if s.role != noServer {
			if _, err := r.server(ctx, s.spec); err != nil {
				return err
			}
		}
	}
	for i, s := range c.sides {
		var err error
		if all[i], err = r.open(ctx, s); err != nil {
			return err
		}
		names[i], plays[i] = s.label(r.Options), all[i].play
	}
	m, err := r.takeTurns(ctx, r.Duration, plays...)
	if err != nil {
		return err
	}
	noun := nouns[c.sides[0].load.what]
	out.compared(closed+", "+noun, "", names, m, c.reference)
	if c.chart != "" {
		out.Charts = append(out.Charts, c.draw(names, m))
	}
	if err := c.takeOutside(ctx, r, out, names, all); err != nil {
		return err
	}
	return c.takeOpen(ctx, r, out, names, all, medianOf(m[0], (*sample).perSecond))
}

// label names a side by its server and the state of its clients.
func (s side) label(o *Options) string {
	name := cmp.Or(s.name, s.role.String())
	if state := s.words(o); state != "" {
		name += ", " + state
	}
	return name
}

// compared adds the table of rounds, the spread of each ratio, and the first side's
// ratios as values.
func (out *Scenario) compared(of, prefix string, names []string, m match, reference int) {
	t := Table{Of: of, Columns: []Column{{"rate", perSecond}, {"rate to reference", ratio}, {"least", ratio}, {"most", ratio}, {"CPU each", microseconds},
		{"CPU to reference", ratio}, {"least", ratio}, {"most", ratio}, {"p50", milliseconds}, {"p99", milliseconds}}}
	for i := range m {
		rate, cpu := m.ratios(i, reference, (*sample).perSecond), m.ratios(i, reference, (*sample).cpuEach)
		if i == 0 {
			out.value(prefix+valueRate, rate...)
			out.value(prefix+valueCPU, cpu...)
		}
		l := m.latency(i)
		t.add(names[i], medianOf(m[i], (*sample).perSecond), median(rate), least(rate), greatest(rate),
			medianOf(m[i], (*sample).cpuEach), median(cpu), least(cpu), greatest(cpu), l.ms(0.5), l.ms(0.99))
	}
	out.Tables = append(out.Tables, t)
	out.Notes = append(out.Notes, fmt.Sprintf("The reference of “%s” is %s.", of, names[reference]))
}

// draw draws the CPU time of one push for each side.
func (c compare) draw(names []string, m match) Chart {
	s := Series{Name: "median of the rounds"}
	for i := range m {
		s.add(medianOf(m[i], (*sample).cpuEach), float64(i))
	}
	return Chart{Name: c.chart, Title: "CPU time of a push by the state of the clients", X: Axis{Label: "µs of CPU"}, Y: Axis{Names: names}, Series: []Series{s}}
}

// takeOutside repeats the closed loop with an outside loader.
func (c compare) takeOutside(ctx context.Context, r *run, out *Scenario, names []string, all []*callers) error {
	if !c.wrk {
		return nil
	}
	path := r.findWrk()
	if path == "" {
		out.Notes = append(out.Notes, "Outside loader: "+noWrk+".")
		return nil
	}
	plays := make([]play, 2)
	for i := range plays {
		var err error
		if plays[i], err = r.wrkSide(path, all[i]); err != nil {
			return err
		}
	}
	m, err := r.takeTurns(ctx, r.Duration, plays...)
	if err == nil {
		out.compared(outside, wrkPrefix, names[:2], m, 1)
	}
	return err
}

// takeOpen offers shares of the highest rate to both sides: both get the same
// rates.
func (c compare) takeOpen(ctx context.Context, r *run, out *Scenario, names []string, all []*callers, highest float64) error {
	if len(c.shares) == 0 {
		return nil
	}
	t := Table{Of: fmt.Sprintf("open loop, share of %s", perSecond.text(Figure(highest))), Columns: []Column{{"offered", perSecond}, {"p50", milliseconds},
		{"p99", milliseconds}, {"p99.9", milliseconds}, {"CPU each", microseconds}, {"reference p50", milliseconds}, {"p99", milliseconds},
		{"CPU each", microseconds}, {"p99 to reference", ratio}, {"least", ratio}, {"most", ratio}}}
	shares, noun := c.shares, nouns[c.sides[0].load.what]
	if !r.All && len(r.Scenarios) == 0 { // only the budgets are asked for
		shares = []float64{halfRate}
	}
	chart := Chart{Name: out.Name, Title: out.Title, X: Axis{Label: noun + " a second, offered at a fixed pace"}, Y: Axis{Label: "latency from the intended start, ms", Log: true},
		Series: []Series{{Name: "p50"}, {Name: "p99"}, {Name: "p99.9"}, {Name: names[1] + ", p99", Bare: true}}}
	for _, share := range shares {
		rate := share * highest
		offer := func(c *callers) play {
			return func(ctx context.Context, d time.Duration) (sample, error) { return c.offer(ctx, rate, d) }
		}
		m, err := r.takeTurns(ctx, r.Duration, offer(all[0]), offer(all[1]))
		if err != nil {
			return fmt.Errorf("%.0f %s a second: %w", rate, noun, err)
		}
		p99 := m.ratios(0, 1, func(s *sample) float64 { return s.latency.ms(0.99) })
		if share == halfRate {
			out.value(valueP99, p99...)
		}
		ours, floor := m.latency(0), m.latency(1)
		t.add(fmt.Sprintf("%.0f %%", 100*share), rate, ours.ms(0.5), ours.ms(0.99), ours.ms(0.999), medianOf(m[0], (*sample).cpuEach),
			floor.ms(0.5), floor.ms(0.99), medianOf(m[1], (*sample).cpuEach), median(p99), least(p99), greatest(p99))
		for i, v := range []float64{ours.ms(0.5), ours.ms(0.99), ours.ms(0.999), floor.ms(0.99)} {
			chart.Series[i].add(rate, v)
		}
	}
	out.Tables = append(out.Tables, t)
	out.Charts = append(out.Charts, chart)
	return nil
}

// play runs one round of about d.
type play func(ctx context.Context, d time.Duration) (sample, error)

// match has the rounds of several sides that took turns.
type match [][]sample

// takeTurns warms up all sides and then plays their rounds of d.
func (r *run) takeTurns(ctx context.Context, d time.Duration, sides ...play) (match, error) {
	m := make(match, len(sides))
	for round := -1; round < r.Rounds; round++ {
		for i := range sides {
			s, err := sides[i](ctx, d)
			if err != nil {
				return m, err
			}
			if round >= 0 { // the first one is the warm-up
				m[i] = append(m[i], s)
			}
		}
	}
	return m, ctx.Err()
}

// ratios are value(side) / value(reference), round by round.
func (m match) ratios(side, reference int, value func(*sample) float64) []float64 {
	list := make([]float64, len(m[side]))
	for i := range list {
		list[i] = value(&m[side][i]) / value(&m[reference][i])
	}
	return list
}

// latency is the latencies of one side over all rounds.
func (m match) latency(side int) *recorder {
	var all recorder
	for i := range m[side] {
		all.add(&m[side][i].latency)
	}
	return &all
}

// medianOf is the median of one side's rounds.
func medianOf(s []sample, value func(*sample) float64) float64 {
	list := make([]float64, len(s))
	for i := range s {
		list[i] = value(&s[i])
	}
	return median(list)
}

// open starts a side's server and its callers.
func (r *run) open(ctx context.Context, s side) (*callers, error) {
	if s.role == noServer {
		return r.openStore(ctx, s.load)
	}
	srv, err := r.server(ctx, s.spec)
	if err != nil {
		return nil, err
	}
	n := max(r.number(s.connected), r.number(s.offline))
	switch c := r.newCallers(srv.target); s.load.what {
	case pushes:
		c, err := r.newPushers(ctx, srv.target, s.load, max(1, n))
		if err == nil && srv.posted != nil {
			c.posts = srv.waitForPosts
		}
		return c, err
	case uplinks:
		return r.newExchanges(ctx, srv.target, s.load.callers, (*exchange).uplink)
	case lines:
		body := r.bulkBody(s.load, n)
		c.all = []caller{callerFunc(func() (int, error) { return srv.bulk(ctx, body, s.load.lines) })}
		return c, nil
	case broadcasts:
		c.all = []caller{callerFunc(func() (int, error) { return n, srv.broadcast(ctx, n) })}
		return c, nil
	}
	return nil, errors.New("a server cannot have this load")
}

// bulkBody is a bulk request with lines to random clients.
func (r *run) bulkBody(l load, clients int) []byte {
	random := rand.New(rand.NewPCG(r.Seed, 2))
	var b bytes.Buffer
	for range l.lines {
		fmt.Fprintf(&b, `{"to":{"client":"%s"},"text":"%s"}`+"\n", clientID(random.IntN(clients)), pushPayload)
	}
	return b.Bytes()
}

// bulk sends one request and checks that all lines are acked.
func (t *target) bulk(ctx context.Context, body []byte, lines int) (int, error) {
	answer, err := t.want(ctx, 200, "POST", "/v1/messages/bulk?wait=30s", "application/x-ndjson", body)
	if err != nil {
		return 0, err
	}
	if acked := bytes.Count(answer, []byte(`"state":"acked"`)); acked != lines {
		return 0, fmt.Errorf("%d of %d lines were acked: %.200s", acked, lines, answer)
	}
	return lines, nil
}

// broadcast pushes to all and waits until each of want clients has acked.
func (t *target) broadcast(ctx context.Context, want int) error {
	body := fmt.Sprintf(`{"to":{"all":true},"online_only":true,"text":"%s"}`, pushPayload)
	answer, err := t.want(ctx, 200, "POST", "/v1/messages?wait=50s", "application/json", []byte(body))
	if err != nil {
		return err
	}
	var message struct{ Counts struct{ Acked int } }
	if err := json.Unmarshal(answer, &message); err != nil {
		return fmt.Errorf("read the answer to a broadcast: %w", err)
	}
	if message.Counts.Acked != want {
		return fmt.Errorf("%d of %d clients acked: %.300s", message.Counts.Acked, want, answer)
	}
	return nil
}

// openStore has callers in this process: of the engine, or of the least work that
// makes their messages durable.
func (r *run) openStore(ctx context.Context, l load) (*callers, error) {
	c, payload := r.newCallers(nil), make([]byte, acceptBytes)
	call := callerFunc(nil)
	if l.what == appends {
		floor, err := openAppendLog(r.newDir("floor"))
		if err != nil {
			return nil, err
		}
		r.onClose(floor.close)
		call = func() (int, error) { return 1, floor.append(payload) }
	} else {
		e, err := engine.Open(engine.Options{Dir: r.newDir("accept")})
		if err != nil {
			return nil, err
		}
		r.onClose(e.Close)
		if err := registerClients(ctx, e, acceptClients); err != nil {
			return nil, err
		}
		var next atomic.Int64
		call = func() (int, error) {
			return 1, acceptOne(ctx, e, clientID(int(next.Add(1)%acceptClients)), payload)
		}
	}
	for range l.callers {
		c.all = append(c.all, call)
	}
	return c, nil
}
