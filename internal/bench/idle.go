package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// gathering is a gateway with a crowd of clients that are connected all the
// time. Several measurements share it.
type gathering struct {
	*target
	crowd  *crowd
	before footprint // of the gateway without clients
	idle   footprint // with the crowd, before any load
}

// footprint is what a process takes. Zero members are not known.
type footprint struct {
	rss        int64
	goroutines float64
	heap       float64 // bytes of memory with objects in it, dead ones included
	stack      float64
	free       float64 // bytes that the runtime keeps for the next objects
}

// warmUpClients come and go before the first footprint is taken, so that what
// is made once does not count for the crowd.
const warmUpClients = 200

// gather starts the shared gateway and connects the crowd.
func (b *bench) gather(ctx context.Context) (*gathering, error) {
	if b.gathered != nil {
		return b.gathered, b.gathered.crowd.check()
	}
	t, err := b.start(ctx, gatewayServer, b.newDir("crowd"))
	if err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	g := &gathering{target: t}
	if err := g.fill(ctx, b); err != nil {
		return nil, errors.Join(err, g.close())
	}
	b.gathered = g
	return g, nil
}

// fill takes the footprints before and after the crowd connects. Each client
// has said a word when the second one is taken, and some time has passed: a
// connection that has been used is the one that stays.
func (g *gathering) fill(ctx context.Context, b *bench) error {
	few, err := connect(ctx, g.tcp, min(warmUpClients, b.Clients))
	if err != nil {
		return err
	}
	err = few.ask(ctx)
	few.close()
	if err != nil {
		return err
	}
	if g.before, err = g.footprint(ctx, b); err != nil {
		return err
	}
	if g.crowd, err = connect(ctx, g.tcp, b.Clients); err != nil {
		return err
	}
	if err := g.crowd.ask(ctx); err != nil {
		return err
	}
	g.idle, err = g.footprint(ctx, b)
	return err
}

func (g *gathering) close() error {
	if g.crowd != nil {
		g.crowd.close()
	}
	return g.stop()
}

// footprint waits for the process to be quiet and reads what it takes.
func (g *gathering) footprint(ctx context.Context, b *bench) (footprint, error) {
	if err := pause(ctx, b.Duration); err != nil {
		return footprint{}, err
	}
	var f footprint
	f.rss, _ = processRSS(g.pid) // 0 where it is not known
	page, err := g.metrics(ctx)
	if err != nil {
		return f, err
	}
	f.goroutines, f.heap, f.stack = page["go_goroutines"], page["go_memstats_heap_inuse_bytes"], page["go_memstats_stack_inuse_bytes"]
	f.free = page["go_memstats_heap_idle_bytes"] - page["go_memstats_heap_released_bytes"]
	return f, nil
}

// metrics reads the process's metrics without labels; none when they are off.
func (t *target) metrics(ctx context.Context) (map[string]float64, error) {
	status, page, err := t.call(ctx, "GET", "/metrics", "", nil)
	if err != nil || status != 200 {
		return nil, err
	}
	return parseMetrics(page), nil
}

// parseMetrics takes the samples without labels off a page of the Prometheus
// text format.
func parseMetrics(page []byte) map[string]float64 {
	values := make(map[string]float64)
	for line := range bytes.Lines(page) {
		name, text, ok := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if !ok || bytes.HasPrefix(name, []byte("#")) || bytes.ContainsRune(name, '{') {
			continue
		}
		if v, err := strconv.ParseFloat(string(text), 64); err == nil {
			values[string(name)] = v
		}
	}
	return values
}

// idleMemory is what the gateway's resident memory grew by for each client.
// Nobody collects its garbage for this: it is what an operator sees.
func (b *bench) idleMemory(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	if g.before.rss == 0 || g.idle.rss == 0 {
		_, err := processRSS(g.pid)
		return reading{}, err
	}
	n := float64(b.Clients)
	r := reading{value: float64(g.idle.rss-g.before.rss) / n}
	r.detail = fmt.Sprintf("RSS %.1f MiB, with %s clients %.1f MiB", mib(float64(g.before.rss)), thousands(n), mib(float64(g.idle.rss)))
	if g.idle.stack > 0 {
		r.detail += fmt.Sprintf("; each %.0f B of stack, %.0f B of heap, %.0f B kept free", (g.idle.stack-g.before.stack)/n,
			(g.idle.heap-g.before.heap)/n, (g.idle.free-g.before.free)/n)
	}
	return r, nil
}

func mib(b float64) float64 { return b / (1 << 20) }

func (b *bench) idleMemoryTLS(context.Context) (reading, error) {
	return reading{}, notMeasured("the device port has no TLS")
}

// perClient rounds to hundredths: a goroutine more or less of the process's own
// is not the clients'.
func perClient(grown float64, clients int) float64 {
	return math.Round(100*grown/float64(clients)) / 100
}

// idleGoroutines is what the gateway's goroutines grew by for each client.
func (b *bench) idleGoroutines(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	if g.idle.goroutines == 0 {
		return reading{}, notMeasured("/metrics does not tell go_goroutines")
	}
	return reading{
		value:  perClient(g.idle.goroutines-g.before.goroutines, b.Clients),
		detail: fmt.Sprintf("%.0f, with %s clients %.0f", g.before.goroutines, thousands(float64(b.Clients)), g.idle.goroutines),
	}, nil
}
