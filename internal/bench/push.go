package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Callers of the measurements.
const (
	onlineCallers  = 128
	durableCallers = 256
	bulkLines      = 1000
	durableClients = 1000 // that are known and offline; far from their queues' bounds
)

// pushOnline compares pushes that a device has acked with the bare handler.
func (b *bench) pushOnline(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	r, err := b.againstBare(ctx, g.target, pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"})
	return r, errors.Join(err, g.crowd.check())
}

// pushDurable compares pushes that are answered with 202 with the bare handler.
// The recipients are offline: what is measured is the promise, not the delivery.
func (b *bench) pushDurable(ctx context.Context) (r reading, err error) {
	t, err := b.start(ctx, gatewayServer, b.newDir("durable"))
	if err != nil {
		return r, fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	known, err := connect(ctx, t.tcp, durableClients)
	if err != nil {
		return r, err
	}
	known.close()
	err = waitFor(ctx, callTimeout, "the clients to be offline", func() bool {
		n, err := t.online(ctx)
		return err == nil && n == 0
	})
	if err != nil {
		return r, err
	}
	return b.againstBare(ctx, t, pushes{conns: durableCallers, clients: durableClients, mode: "durable", status: "202"})
}

// online is how many clients are connected.
func (t *target) online(ctx context.Context) (int, error) {
	body, err := t.want(ctx, 200, "GET", "/v1/stats", "", nil)
	if err != nil {
		return 0, err
	}
	stats := struct{ Online int }{-1}
	err = json.Unmarshal(body, &stats)
	return stats.Online, err
}

// againstBare lets the gateway and the bare handler take turns under the same
// load.
func (b *bench) againstBare(ctx context.Context, t *target, p pushes) (reading, error) {
	bare, err := b.bareChi(ctx)
	if err != nil {
		return reading{}, err
	}
	ours, err := newLoader(ctx, t, p)
	if err != nil {
		return reading{}, err
	}
	defer ours.close()
	p.status = "200"
	theirs, err := newLoader(ctx, bare, p)
	if err != nil {
		return reading{}, err
	}
	defer theirs.close()
	m, err := b.takeTurns(ctx, ours.play, theirs.play)
	if err != nil {
		return reading{}, err
	}
	return reading{
		value:  m.ratio((*sample).perSecond),
		detail: fmt.Sprintf("%d callers: %s; bare %s", p.conns, describe(m.ours), describe(m.theirs)),
	}, nil
}

// bulk compares the CPU time of messages in bulk with that of single pushes,
// both mode=online and acked.
func (b *bench) bulk(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	if _, err := processCPU(g.pid); err != nil {
		return reading{}, err
	}
	single, err := newLoader(ctx, g.target, pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"})
	if err != nil {
		return reading{}, err
	}
	defer single.close()
	body := bulkBody(b.Clients)
	inBulk := func(ctx context.Context, d time.Duration) (sample, error) { return g.playBulk(ctx, d, body) }
	m, err := b.takeTurns(ctx, inBulk, single.play)
	if err == nil {
		err = g.crowd.check()
	}
	return reading{
		value:  m.ratio((*sample).cpuEach),
		detail: fmt.Sprintf("%d lines a request: %s; single %s", bulkLines, describe(m.ours), describe(m.theirs)),
	}, err
}

// bulkBody is one bulk request with lines to random clients.
func bulkBody(clients int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for range bulkLines {
		fmt.Fprintf(&b, `{"to":{"client":"%s"},"text":"%s","mode":"online"}`+"\n", clientID(random.IntN(clients)), pushPayload)
	}
	return b.Bytes()
}

// playBulk sends bulk requests one after the other for d.
func (g *gathering) playBulk(ctx context.Context, d time.Duration, body []byte) (sample, error) {
	var s sample
	start := time.Now()
	cpu, err := g.cpuDuring(func() error {
		for s.done == 0 || time.Since(start) < d {
			answer, err := g.want(ctx, 200, "POST", "/v1/messages/bulk?wait=10s", "application/x-ndjson", body)
			if err != nil {
				return err
			}
			acked := bytes.Count(answer, []byte(`"state":"acked"`))
			if acked != bulkLines {
				return fmt.Errorf("%d of %d lines were acked: %.200s", acked, bulkLines, answer)
			}
			s.done += acked
		}
		return nil
	})
	s.elapsed, s.cpu = time.Since(start), cpu
	return s, err
}

// Bounds of the broadcasts.
const (
	minBroadcasts = 3
	maxBroadcasts = 200
)

// pushAll is the CPU time of a delivery in a push to everybody, all of them
// acked. One broadcast takes few ticks of the CPU clock, so they are added up.
func (b *bench) pushAll(ctx context.Context) (reading, error) {
	g, err := b.gather(ctx)
	if err != nil {
		return reading{}, err
	}
	if _, err := processCPU(g.pid); err != nil {
		return reading{}, err
	}
	if err := g.broadcast(ctx, b.Clients); err != nil { // the warm-up
		return reading{}, err
	}
	var s sample
	start := time.Now()
	s.cpu, err = g.cpuDuring(func() error {
		for n := 0; n < maxBroadcasts && (n < minBroadcasts || time.Since(start) < b.Duration); n++ {
			if err := g.broadcast(ctx, b.Clients); err != nil {
				return err
			}
			s.done += b.Clients
		}
		return nil
	})
	s.elapsed = time.Since(start)
	if err == nil {
		err = g.crowd.check()
	}
	return reading{
		value: s.cpuEach(),
		detail: fmt.Sprintf("%d broadcasts to %s clients, %s deliveries/s, acks stored", s.done/b.Clients, thousands(float64(b.Clients)),
			thousands(s.perSecond())),
	}, err
}

// broadcast pushes to all and waits until each of want clients has acked.
func (g *gathering) broadcast(ctx context.Context, want int) error {
	body := fmt.Sprintf(`{"to":{"all":true},"online_only":true,"text":"%s"}`, pushPayload)
	answer, err := g.want(ctx, 200, "POST", "/v1/messages?wait=50s", "application/json", []byte(body))
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
