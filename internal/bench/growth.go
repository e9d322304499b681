package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/longwire/longwire/internal/bench/chart"
)

// growthShares are the steps of the largest number of clients.
var growthShares = []float64{1. / 15, 1. / 6, 1. / 3, 2. / 3, 1}

// tlsShare of the plain clients connect with TLS: a handshake costs so much CPU
// time that the rest would take minutes.
const tlsShare = 1. / 3

// longestSettle is the pause before memory is read, at most.
const longestSettle = time.Second

// step is what was seen when the clients had become so many.
type step struct {
	clients int
	rate    float64 // new clients per second, in this step
	cpuEach float64 // microseconds of the process, for each new one
	rss     int64
	kernel  int64 // bytes of the kernel's structures, both ends together
}

// growth is a process with more and more clients.
type growth struct {
	name  string
	base  step // without clients
	steps []step
}

// each is the memory for one client at step s.
func (g *growth) each(s step) float64 { return float64(s.rss-g.base.rss) / float64(s.clients) }

func (g *growth) last() step { return g.steps[len(g.steps)-1] }

// kernelEach is the kernel's memory for one socket: half of a connection with
// both ends on this machine. NaN where it is not known.
func (g *growth) kernelEach() float64 {
	s := g.last()
	if s.kernel == 0 || g.base.kernel == 0 || s.kernel <= g.base.kernel {
		return math.NaN()
	}
	return float64(s.kernel-g.base.kernel) / float64(2*s.clients)
}

// growthSteps are the counts of clients, rising and without repeats.
func growthSteps(most int) (counts []int) {
	for _, share := range growthShares {
		n := int(math.Round(share * float64(most)))
		if n > 0 && (len(counts) == 0 || n > counts[len(counts)-1]) {
			counts = append(counts, n)
		}
	}
	return counts
}

// grow starts a process and lets clients come step by step.
func (b *bench) grow(ctx context.Context, name string, r role, most int) (g *growth, err error) {
	dir := ""
	if r != bareProcess {
		dir = b.newDir("growth")
	}
	t, err := b.start(ctx, process{role: r, dir: dir})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	m := muster{Addr: t.tcp, Count: most, TLS: r == gatewayTLS}
	if err := b.warmUp(ctx, m); err != nil {
		return nil, err
	}
	f, err := b.newFleet(ctx, most)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	g = &growth{name: name}
	if g.base, err = b.size(ctx, t, 0); err != nil {
		return nil, err
	}
	for _, n := range growthSteps(most) {
		s, err := b.growTo(ctx, t, f, m, n)
		if err != nil {
			return nil, err
		}
		g.steps = append(g.steps, s)
	}
	return g, f.check(ctx)
}

// growTo connects clients until there are n.
func (b *bench) growTo(ctx context.Context, t *target, f *fleet, m muster, n int) (step, error) {
	m.Count = n - f.size
	start := time.Now()
	cpu, err := t.cpuDuring(func() error { _, err := f.join(ctx, m); return err })
	if err != nil {
		return step{}, err
	}
	took := time.Since(start)
	if err := f.ask(ctx); err != nil {
		return step{}, err
	}
	s, err := b.size(ctx, t, n)
	s.rate = float64(m.Count) / took.Seconds()
	s.cpuEach = float64(cpu.Nanoseconds()) / 1e3 / float64(m.Count)
	return s, err
}

// size reads what a process with n clients takes once it is quiet.
func (b *bench) size(ctx context.Context, t *target, n int) (step, error) {
	if err := pause(ctx, min(b.Duration, longestSettle)); err != nil {
		return step{}, err
	}
	rss, err := processRSS(t.pid)
	return step{clients: n, rss: rss, kernel: kernelMemory()}, err
}

// connectScenario shows rate and memory over the number of clients.
func (b *bench) connectScenario(ctx context.Context, out *Scenario) error {
	plain, err := b.grow(ctx, "longwire", gatewayServer, b.Most)
	if err != nil {
		return err
	}
	bare, err := b.grow(ctx, "bare server", bareProcess, b.Most)
	if err != nil {
		return err
	}
	secure, err := b.grow(ctx, "longwire, TLS", gatewayTLS, max(1, int(tlsShare*float64(b.Most))))
	if err != nil {
		return err
	}
	out.growthTables([]*growth{plain, secure, bare})
	p, s, f := plain.last(), secure.last(), bare.last()
	out.Findings = append(out.Findings,
		fmt.Sprintf("An idle client takes %s of the process, with TLS %s; the bare server's %s. That is %.1f × and %.1f × the bare server.",
			bytesEach.text(plain.each(p)), bytesEach.text(secure.each(s)), bytesEach.text(bare.each(f)),
			plain.each(p)/bare.each(f), secure.each(s)/bare.each(f)),
		fmt.Sprintf("A registration costs %.0f µs of CPU, with TLS %.0f µs, at the bare server %.0f µs: %.1f × and %.1f ×.",
			plain.cpu(), secure.cpu(), bare.cpu(), plain.cpu()/bare.cpu(), secure.cpu()/bare.cpu()))
	if k := plain.kernelEach(); !math.IsNaN(k) {
		out.Findings = append(out.Findings, fmt.Sprintf("The kernel takes another %s for each socket, half of what its slabs grew by for both ends.",
			bytesEach.text(k)))
	}
	out.Charts = append(out.Charts, growthChart([]*growth{plain, secure, bare}))
	out.Capacity = &Capacity{BaseRSS: plain.base.rss, Plain: plain.each(p), TLS: secure.each(s), Kernel: Figure(plain.kernelEach()), Measured: p.clients}
	return nil
}

// cpu is the CPU time of one registration, over all steps.
func (g *growth) cpu() float64 {
	var sum float64
	before := 0
	for _, s := range g.steps {
		sum += s.cpuEach * float64(s.clients-before)
		before = s.clients
	}
	return sum / float64(before)
}

func (out *Scenario) growthTables(all []*growth) {
	for _, g := range all {
		t := Table{Of: g.name + ", clients", Columns: []Column{{"registrations", perSecond}, {"CPU each", microseconds}, {"RSS", mebibytes}, {"memory each", bytesEach}}}
		for _, s := range g.steps {
			t.add(thousands(float64(s.clients)), s.rate, s.cpuEach, mib(s.rss), g.each(s))
		}
		out.Tables = append(out.Tables, t)
	}
}

// growthChart is memory over clients, with the budget as a line.
func growthChart(all []*growth) chart.Chart {
	c := chart.Chart{Name: "connect", Title: "Memory over connected clients", X: chart.Axis{Label: "connected clients, idle"},
		Y: chart.Axis{Label: "resident memory of the process, MiB"}}
	for _, g := range all {
		s := chart.Series{Name: g.name, Bare: g.name == "bare server", Points: [][2]float64{{0, mib(g.base.rss)}}}
		for _, st := range g.steps {
			s.Points = append(s.Points, [2]float64{float64(st.clients), mib(st.rss)})
		}
		c.Series = append(c.Series, s)
	}
	most := float64(all[0].last().clients)
	base, must := mib(all[0].base.rss), budgets[0].must
	c.Series = append(c.Series, chart.Series{Name: "budget: 4.5 KiB each", Bare: true, Dashed: true,
		Points: [][2]float64{{0, base}, {most, base + most*must/(1<<20)}}})
	return c
}
