package bench

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// footprint reads the memory of fresh processes while clients connect. It does not
// trigger their garbage collectors: an operator sees the same figure.
type footprint struct {
	sides  []footprintSide
	upTo   int
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
	sample     // registrations since the last reading
	clients    int
	rss        int64 // 0 = not known
	kernel     int64 // bytes of the kernel's structures, both ends together; 0 = not known
	goroutines Figure
}

func (f footprint) take(r *run, out *Scenario) {
	last := make(map[string][]reading)
	for range f.repeat {
		for _, s := range f.sides {
			r.part(string(s.role), func(r *run) { last[s.value] = f.grow(r, s) })
			base, end := last[s.value][0], last[s.value][len(f.steps)]
			if base.rss > 0 {
				out.value(s.value, each(base, end))
			}
			if s.role == gatewayServer {
				out.value(valueGoroutines, (end.goroutines-base.goroutines)/Figure(end.clients))
			}
		}
	}
	f.tables(out, last)
}

// each is the memory for one client.
func each(base, end reading) Figure { return Figure(end.rss-base.rss) / Figure(end.clients) }

// grow starts a process and connects clients step by step. The first reading is
// without clients.
func (f footprint) grow(r *run, s footprintSide) []reading {
	srv := r.server(spec{role: s.role, room: f.upTo})
	tls := s.role == gatewayTLS
	d := r.connect(srv, Join{Count: min(warmUpClients, f.upTo), TLS: tls})
	check(d.ask())
	check(d.drop())
	readings := []reading{r.read(srv, 0)}
	for _, step := range f.steps {
		now := readings[len(readings)-1] // for a step that so few clients do not have
		if n := max(1, int(math.Round(step*s.share*float64(f.upTo)))) - d.size; n > 0 {
			joined := must(srv.timed(n, func() error { _, err := d.join(Join{Addr: srv.tcp, First: d.size, Count: n, TLS: tls}); return err }))
			check(d.ask())
			now = r.read(srv, d.size)
			now.sample = joined
		}
		readings = append(readings, now)
	}
	return readings
}

// read waits until the process is quiet and reads it.
func (r *run) read(t *target, n int) reading {
	r.pause(min(3*r.Duration, longestSettle))
	now := reading{clients: n, kernel: kernelMemory(), rss: processRSS(t.pid), goroutines: unknown}
	if page, err := t.want(r.ctx, 200, "GET", "/metrics", "", nil); err == nil {
		now.goroutines = metric(page, "go_goroutines")
	}
	return now
}

// metric is a sample without labels from a page in the Prometheus text format.
func metric(page []byte, name string) Figure {
	_, rest, _ := bytes.Cut(page, []byte("\n"+name+" "))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	if v, err := strconv.ParseFloat(string(value), 64); err == nil {
		return Figure(v)
	}
	return unknown
}

// tables adds the last readings and, with several steps, a chart and the capacity
// of machines.
func (f footprint) tables(out *Scenario, last map[string][]reading) {
	chart := Chart{Name: out.Name, Title: out.Title, X: Axis{Label: "connected devices, idle"}, Y: Axis{Label: "resident memory of the process, MiB"}}
	for _, s := range f.sides {
		readings := last[s.value]
		t := out.table(string(s.role)+", clients", []Column{{"registrations", perSecond}, {"CPU each", microseconds}, {"RSS", mebibytes}, {"memory each", bytesEach}})
		line := Series{Name: string(s.role), Bare: s.role == bareServer}
		for i, now := range readings {
			line.add(Figure(now.clients), mib(now.rss))
			if i > 0 {
				t.add(thousands(now.clients), now.perSecond(), now.cpuEach(), mib(now.rss), each(readings[0], now))
			}
		}
		chart.Series = append(chart.Series, line)
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
	kernel := Figure(end.kernel-base.kernel) / Figure(2*end.clients) // both ends are on this machine
	if end.kernel == 0 || kernel <= 0 {
		kernel = kernelGuess
	}
	t := out.table("memory of the machine", []Column{{"idle clients, plain TCP", count}, {"idle clients, TLS", count}})
	for _, gib := range []Figure{1, 4, 16} {
		room := gib*(1<<30)*(1-systemShare) - Figure(base.rss)
		t.add(fmt.Sprintf("%.0f GiB", gib), twoDigits(room/(each(base, end)+kernel)), twoDigits(room/(each(tls[0], tls[len(tls)-1])+kernel)))
	}
	out.Notes = append(out.Notes, fmt.Sprintf("The table of machines is extrapolated, not tried: the process's memory for each client, and %s for its socket in the kernel. "+
		"A quarter of the memory is left to the system and to the growth under load.", bytesEach.text(kernel)))
}

// twoDigits rounds down to two digits; further digits are not known.
func twoDigits(f Figure) Figure {
	v := float64(f)
	unit := math.Pow(10, max(0, math.Floor(math.Log10(max(v, 1)))-1))
	return Figure(math.Floor(v/unit) * unit)
}
