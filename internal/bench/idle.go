package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// gathering is a gateway with a crowd of clients that are connected all the
// time. Several measurements share it.
type gathering struct {
	*target
	crowd  *fleet
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

// warmUpClients come and go before the first footprint is taken.
const warmUpClients = 200

// gather starts the shared gateway and connects the crowd.
func (b *bench) gather(ctx context.Context) (*gathering, error) {
	if b.gathered != nil {
		return b.gathered, b.gathered.crowd.check(ctx)
	}
	t, err := b.start(ctx, process{role: gatewayServer, dir: b.newDir("crowd")})
	if err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	g := &gathering{target: t}
	if err := g.fill(ctx, b, muster{Count: b.Clients}); err != nil {
		return nil, errors.Join(err, g.close())
	}
	b.gathered = g
	return g, nil
}

// fill takes the footprints before and after the crowd connects. Each client
// has said a word when the second one is taken, and some time has passed: a
// connection that has been used is the one that stays.
func (g *gathering) fill(ctx context.Context, b *bench, m muster) (err error) {
	m.Addr = g.tcp
	if err := b.warmUp(ctx, m); err != nil {
		return err
	}
	if g.before, err = g.footprint(ctx, b.Duration); err != nil {
		return err
	}
	if g.crowd, err = b.muster(ctx, m); err != nil {
		return err
	}
	if err := g.crowd.ask(ctx); err != nil {
		return err
	}
	g.idle, err = g.footprint(ctx, b.Duration)
	return err
}

// warmUp lets some clients come and go, so that what is made once does not
// count for those that stay.
func (b *bench) warmUp(ctx context.Context, m muster) error {
	m.Count = min(warmUpClients, m.Count)
	few, err := b.muster(ctx, m)
	if err != nil {
		return err
	}
	return errors.Join(few.ask(ctx), few.close())
}

func (g *gathering) close() error {
	var err error
	if g.crowd != nil {
		err = g.crowd.close()
	}
	return errors.Join(err, g.stop())
}

// footprint waits for the process to be quiet and reads what it takes.
func (t *target) footprint(ctx context.Context, quiet time.Duration) (footprint, error) {
	if err := pause(ctx, quiet); err != nil {
		return footprint{}, err
	}
	var f footprint
	f.rss, _ = processRSS(t.pid) // 0 where it is not known
	page, err := t.metrics(ctx)
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
	return g.memoryEach(b.Clients)
}

// memoryEach is the growth of memory over n clients.
func (g *gathering) memoryEach(clients int) (reading, error) {
	if g.before.rss == 0 || g.idle.rss == 0 {
		_, err := processRSS(g.pid)
		return reading{}, err
	}
	n := float64(clients)
	r := reading{value: float64(g.idle.rss-g.before.rss) / n}
	r.detail = fmt.Sprintf("RSS %.1f MiB, with %s clients %.1f MiB", mib(g.before.rss), thousands(n), mib(g.idle.rss))
	if g.idle.stack > 0 {
		r.detail += fmt.Sprintf("; each %.0f B of stack, %.0f B of heap, %.0f B kept free", (g.idle.stack-g.before.stack)/n,
			(g.idle.heap-g.before.heap)/n, (g.idle.free-g.before.free)/n)
	}
	return r, nil
}

func mib(b int64) float64 { return float64(b) / (1 << 20) }

// idleMemoryTLS is the same for clients that connect with TLS.
func (b *bench) idleMemoryTLS(ctx context.Context) (r reading, err error) {
	t, err := b.start(ctx, process{role: gatewayTLS, dir: b.newDir("tls")})
	if err != nil {
		return r, fmt.Errorf("start the gateway: %w", err)
	}
	g := &gathering{target: t}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.fill(ctx, b, muster{Count: b.Clients, TLS: true}); err != nil {
		return r, err
	}
	return g.memoryEach(b.Clients)
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
