package bench

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"time"
)

// side is one side of a comparison: a server, the state of its clients, and a load.
type side struct {
	name string // "" = the server's
	spec
	load load
}

// label names a side by its server and the state of its clients.
func (s side) label() string {
	name := cmp.Or(s.name, string(s.role))
	if state := s.words(); state != "" {
		name += ", " + state
	}
	return name
}

// compare gives the sides their turns, round by round. Each side is compared with
// the second one, the reference, in the same round; the first side's ratios are the
// scenario's values.
type compare struct {
	sides  []side
	shares []float64 // of the first side's highest rate, offered in open loops to the first two sides; none = closed loop only
	wrk    bool      // also measure the first two sides with the outside loader
	bars   bool      // a chart of CPU over sides
}

// Names of a comparison's values: the first side's ratio to the reference.
const (
	valueRate = "rate"
	valueCPU  = "cpu"
	valueP99  = "p99"  // at halfRate
	wrkPrefix = "wrk-" // of the values under the outside loader
	halfRate  = 0.5    // the share whose latency has a budget
)

func (c compare) take(r *run, out *Scenario) {
	for _, s := range c.sides { // start the servers first: the callers' connections must not be idle for long
		if s.role != noServer {
			r.server(s.spec)
		}
	}
	var names []string
	var all []*callers
	var plays []play
	for _, s := range c.sides {
		opened := r.open(s)
		names, all, plays = append(names, s.label()), append(all, opened), append(plays, opened.play)
	}
	m := r.takeTurns(r.Duration, plays...)
	out.compared("closed loop, "+nouns[c.sides[0].load.what], "", names, m)
	if c.bars {
		out.Charts = append(out.Charts, cpuChart(out.Name, names, m))
	}
	if c.wrk {
		c.takeOutside(r, out, names, all)
	}
	if len(c.shares) > 0 {
		c.takeOpen(r, out, names, all, m.median(0, (*sample).perSecond))
	}
}

// compared adds the table of rounds, the spread of each ratio, and the first side's
// ratios as values.
func (out *Scenario) compared(of, prefix string, names []string, m match) {
	t := out.table(of, []Column{{"rate", perSecond}, {"rate to reference", ratio}, {"least", ratio}, {"most", ratio},
		{"CPU each", microseconds}, {"CPU to reference", ratio}, {"least", ratio}, {"most", ratio}, {"p50", milliseconds}, {"p99", milliseconds}})
	for i := range m {
		rates, cpus := m.ratios(i, (*sample).perSecond), m.ratios(i, (*sample).cpuEach)
		if i == 0 {
			out.value(prefix+valueRate, rates...)
			out.value(prefix+valueCPU, cpus...)
		}
		rate, leastRate, mostRate := spread(rates)
		cpu, leastCPU, mostCPU := spread(cpus)
		l := m.latency(i)
		t.add(names[i], m.median(i, (*sample).perSecond), rate, leastRate, mostRate,
			m.median(i, (*sample).cpuEach), cpu, leastCPU, mostCPU, l.ms(0.5), l.ms(0.99))
	}
	out.Notes = append(out.Notes, fmt.Sprintf("The reference of “%s” is %s.", of, names[reference]))
}

// cpuChart has the CPU time of one push for each side.
func cpuChart(name string, names []string, m match) Chart {
	s := Series{Name: "median of the rounds"}
	for i := range m {
		s.add(m.median(i, (*sample).cpuEach), Figure(i))
	}
	return Chart{Name: name, Title: "CPU time of a push by the state of the clients", X: Axis{Label: "µs of CPU"}, Y: Axis{Names: names}, Series: []Series{s}}
}

// takeOutside repeats the closed loop with an outside loader.
func (c compare) takeOutside(r *run, out *Scenario, names []string, all []*callers) {
	path, err := exec.LookPath(r.outside)
	if err != nil {
		out.Notes = append(out.Notes, "Outside loader: not run: wrk is not in PATH.")
		return
	}
	m := r.takeTurns(r.Duration, r.wrkSide(path, c.sides[0], all[0]), r.wrkSide(path, c.sides[1], all[1]))
	out.compared("outside loader (wrk), closed loop", wrkPrefix, names[:2], m)
}

// takeOpen offers shares of the highest rate to the first two sides: both get the
// same rates.
func (c compare) takeOpen(r *run, out *Scenario, names []string, all []*callers, highest Figure) {
	t := out.table("open loop, share of "+perSecond.text(highest), []Column{{"offered", perSecond},
		{"p50", milliseconds}, {"p99", milliseconds}, {"p99.9", milliseconds}, {"CPU each", microseconds},
		{"reference p50", milliseconds}, {"p99", milliseconds}, {"CPU each", microseconds},
		{"p99 to reference", ratio}, {"least", ratio}, {"most", ratio}})
	chart := Chart{Name: out.Name, Title: out.Title, X: Axis{Label: nouns[c.sides[0].load.what] + " a second, offered at a fixed pace"},
		Y:      Axis{Label: "latency from the intended start, ms", Log: true},
		Series: []Series{{Name: "p50"}, {Name: "p99"}, {Name: "p99.9"}, {Name: names[1] + ", p99", Bare: true}}}
	shares := c.shares
	if !r.All && len(r.Scenarios) == 0 { // only the budgets are asked for
		shares = []float64{halfRate}
	}
	for _, share := range shares {
		rate := Figure(share) * highest
		m := r.takeTurns(r.Duration, all[0].at(rate), all[1].at(rate))
		ratios := m.ratios(0, func(s *sample) Figure { return s.latency.ms(0.99) })
		if share == halfRate {
			out.value(valueP99, ratios...)
		}
		p99, least, most := spread(ratios)
		ours, floor := m.latency(0), m.latency(1)
		t.add(fmt.Sprintf("%.0f %%", 100*share), rate, ours.ms(0.5), ours.ms(0.99), ours.ms(0.999), m.median(0, (*sample).cpuEach),
			floor.ms(0.5), floor.ms(0.99), m.median(1, (*sample).cpuEach), p99, least, most)
		for i, v := range []Figure{ours.ms(0.5), ours.ms(0.99), ours.ms(0.999), floor.ms(0.99)} {
			chart.Series[i].add(rate, v)
		}
	}
	out.Charts = append(out.Charts, chart)
}

// play runs one round of about d.
type play func(ctx context.Context, d time.Duration) (sample, error)

// at is offer with a rate.
func (c *callers) at(rate Figure) play {
	return func(ctx context.Context, d time.Duration) (sample, error) { return c.offer(ctx, rate, d) }
}

// reference is the index of the side that the others are compared with.
const reference = 1

// match has the rounds of several sides that took turns.
type match [][]sample

// takeTurns warms up all sides and then plays their rounds of d.
func (r *run) takeTurns(d time.Duration, sides ...play) match {
	m := make(match, len(sides))
	for round := -1; round < r.Rounds; round++ {
		for i, play := range sides {
			s, err := play(r.ctx, d)
			check(cmp.Or(err, r.ctx.Err()))
			if round >= 0 { // the first one is the warm-up
				m[i] = append(m[i], s)
			}
		}
	}
	return m
}

// ratios are value(side) / value(reference), round by round.
func (m match) ratios(side int, value func(*sample) Figure) (list []Figure) {
	floor := m.values(reference, value)
	for i, v := range m.values(side, value) {
		list = append(list, v/floor[i])
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

// values are those of one side's rounds.
func (m match) values(side int, value func(*sample) Figure) (list []Figure) {
	for i := range m[side] {
		list = append(list, value(&m[side][i]))
	}
	return list
}

// median is that of one side's rounds.
func (m match) median(side int, value func(*sample) Figure) Figure {
	return median(m.values(side, value))
}
