package bench

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

// footprint reads the memory of fresh processes while clients connect. It does not
// trigger their garbage collectors: an operator sees the same figure.
type footprint struct {
	sides  []footprintSide
	upTo   amount
	steps  []float64 // shares of upTo, rising
	repeat int       // number of repeats, with fresh processes
}

// footprintSide is one server. Only its share of the clients connects: with the CPU
// time of a TLS handshake, all of them would take minutes.
type footprintSide struct {
	value string // the memory of one client
	role  role
	share float64
}

// Names of the values of a footprint.
const (
	valuePlain      = "plain"
	valueTLS        = "tls"
	valueGoroutines = "goroutines"
)

// warmUpClients connect and leave before the first reading, so that memory that is
// taken only once does not count for the clients that stay.
const warmUpClients = 200

// longestSettle bounds the pause before a reading.
const longestSettle = 3 * time.Second

// reading is the state of a process with a number of clients.
type reading struct {
	clients    int
	rate       float64 // registrations a second since the last reading
	cpuEach    float64 // microseconds of CPU for each of them
	rss        int64   // 0 = not known
	kernel     int64   // bytes of the kernel's structures, both ends together; 0 = not known
	goroutines float64 // 0 = not known
}

func (f footprint) take(ctx context.Context, r *run, out *Scenario) error {
	var last map[string][]reading
	for range f.repeat {
		last = make(map[string][]reading)
		for _, s := range f.sides {
			err := r.part(ctx, func(r *run) (err error) { last[s.value], err = f.grow(ctx, r, s); return err })
			if err != nil {
				return fmt.Errorf("%s: %w", s.role, err)
			}
			base, end := last[s.value][0], last[s.value][len(f.steps)]
			if base.rss > 0 {
				out.value(s.value, each(base, end))
			}
			if s.role == gatewayServer && base.goroutines > 0 {
				out.value(valueGoroutines, (end.goroutines-base.goroutines)/float64(end.clients))
			}
		}
	}
	f.tables(out, last)
	return nil
}

// each is the memory for one client.
func each(base, end reading) float64 { return float64(end.rss-base.rss) / float64(end.clients) }

// grow starts a process and connects clients step by step. The first reading is
// without clients.
func (f footprint) grow(ctx context.Context, r *run, s footprintSide) ([]reading, error) {
	srv, err := r.startServer(ctx, process{role: s.role, connections: r.number(f.upTo)})
	if err != nil {
		return nil, err
	}
	tls := s.role == gatewayTLS
	d, err := r.connect(ctx, srv, join{Count: min(warmUpClients, r.number(f.upTo)), TLS: tls})
	if err != nil {
		return nil, err
	}
	if err := d.ask(ctx); err != nil {
		return nil, err
	}
	if err := d.drop(ctx); err != nil {
		return nil, err
	}
	base, err := r.read(ctx, srv, 0)
	readings := []reading{base}
	for _, step := range f.steps {
		n := max(1, int(math.Round(step*s.share*float64(r.number(f.upTo))))) - d.size
		if err != nil || n <= 0 {
			continue
		}
		start := time.Now()
		var cpu time.Duration
		cpu, err = srv.cpuDuring(func() error { _, err := d.join(ctx, join{Addr: srv.tcp, Count: n, TLS: tls}); return err })
		took := time.Since(start)
		if err == nil {
			err = d.ask(ctx)
		}
		if err == nil {
			var now reading
			now, err = r.read(ctx, srv, d.size)
			now.rate, now.cpuEach = float64(n)/took.Seconds(), float64(cpu.Nanoseconds())/1e3/float64(n)
			readings = append(readings, now)
		}
	}
	for err == nil && len(readings) <= len(f.steps) { // repeat the last reading for steps that so few clients do not have
		readings = append(readings, readings[len(readings)-1])
	}
	return readings, err
}

// read waits until the process is quiet and reads it.
func (r *run) read(ctx context.Context, srv *server, n int) (reading, error) {
	now := reading{clients: n}
	if err := pause(ctx, min(3*r.Duration, longestSettle)); err != nil {
		return now, err
	}
	now.kernel = kernelMemory()
	now.rss, _ = processRSS(srv.pid) // 0 if it is not known
	status, page, err := srv.call(ctx, "GET", "/metrics", "", nil)
	if err == nil && status == 200 {
		now.goroutines = metric(page, "go_goroutines")
	}
	return now, err
}

// metric is a sample without labels from a page in the Prometheus text format; 0 if
// there is none.
func metric(page []byte, name string) float64 {
	for line := range bytes.Lines(page) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			v, _ := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
			return v
		}
	}
	return 0
}

// tables adds the last readings and, with several steps, a chart and the capacity
// of machines.
func (f footprint) tables(out *Scenario, last map[string][]reading) {
	chart := Chart{Name: out.Name, Title: out.Title, X: Axis{Label: "connected devices, idle"}, Y: Axis{Label: "resident memory of the process, MiB"}}
	for _, s := range f.sides {
		readings := last[s.value]
		t := Table{Of: s.role.String() + ", clients", Columns: []Column{{"registrations", perSecond}, {"CPU each", microseconds}, {"RSS", mebibytes}, {"memory each", bytesEach}}}
		line := Series{Name: s.role.String(), Bare: s.role == bareServer}
		for i, now := range readings {
			line.add(float64(now.clients), mib(now.rss))
			if i > 0 {
				t.add(thousands(now.clients), now.rate, now.cpuEach, mib(now.rss), each(readings[0], now))
			}
		}
		out.Tables, chart.Series = append(out.Tables, t), append(chart.Series, line)
	}
	if len(f.steps) > 1 {
		out.Charts = append(out.Charts, chart)
		out.capacity(last[valuePlain], last[valueTLS])
	}
}

// kernelGuess is used if the kernel's memory for a socket is not known: Linux 6
// takes about as much for an idle one.
const kernelGuess = 5000

// systemShare of a machine's memory is reserved for the rest of the system and for
// growth under load.
const systemShare = 0.25

// capacity extrapolates how many idle clients a machine holds.
func (out *Scenario) capacity(plain, tls []reading) {
	base, end := plain[0], plain[len(plain)-1]
	kernel := float64(end.kernel-base.kernel) / float64(2*end.clients) // both ends are on this machine
	if end.kernel == 0 || kernel <= 0 {
		kernel = kernelGuess
	}
	t := Table{Of: "memory of the machine", Columns: []Column{{"idle clients, plain TCP", count}, {"idle clients, TLS", count}}}
	for _, gib := range []float64{1, 4, 16} {
		room := gib*(1<<30)*(1-systemShare) - float64(base.rss)
		t.add(fmt.Sprintf("%.0f GiB", gib), twoDigits(room/(each(base, end)+kernel)), twoDigits(room/(each(tls[0], tls[len(tls)-1])+kernel)))
	}
	out.Tables = append(out.Tables, t)
	out.Notes = append(out.Notes, fmt.Sprintf("The table of machines is extrapolated, not tried: the process's memory for each client, and %s for its socket in the kernel. "+
		"A quarter of the memory is left to the system and to the growth under load.", bytesEach.text(Figure(kernel))))
}

// twoDigits rounds down to two digits; further digits are not known.
func twoDigits(v float64) float64 {
	unit := math.Pow(10, max(0, math.Floor(math.Log10(max(v, 1)))-1))
	return math.Floor(v/unit) * unit
}
