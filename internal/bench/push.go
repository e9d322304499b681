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
	return r, errors.Join(err, g.crowd.check(ctx))
}

// pushDurable compares pushes that are answered with 202 with the bare handler.
// The recipients are offline: what is measured is the promise, not the delivery.
func (b *bench) pushDurable(ctx context.Context) (r reading, err error) {
	t, err := b.start(ctx, process{role: gatewayServer, dir: b.newDir("durable")})
	if err != nil {
		return r, fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := b.acquaint(ctx, t, durableClients); err != nil {
		return r, err
	}
	return b.againstBare(ctx, t, pushes{conns: durableCallers, clients: durableClients, mode: "durable", status: "202"})
}

// acquaint makes n clients known that are offline then.
func (b *bench) acquaint(ctx context.Context, t *target, n int) error {
	known, err := b.muster(ctx, muster{Addr: t.tcp, Count: n})
	if err != nil {
		return err
	}
	if err := known.close(); err != nil {
		return err
	}
	return t.waitForOnline(ctx, 0)
}

// waitForOnline waits until n clients are connected.
func (t *target) waitForOnline(ctx context.Context, n int) error {
	return waitFor(ctx, callTimeout, fmt.Sprintf("%d clients to be online", n), func() bool {
		online, err := t.online(ctx)
		return err == nil && online == n
	})
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
	bare, err := b.bareOne(ctx)
	if err != nil {
		return reading{}, err
	}
	ours, err := newPushers(ctx, t, p)
	if err != nil {
		return reading{}, err
	}
	defer ours.close()
	p.status = "200"
	theirs, err := newPushers(ctx, bare, p)
	if err != nil {
		return reading{}, err
	}
	defer theirs.close()
	m, err := b.takeTurns(ctx, ours.play, theirs.play)
	if err != nil {
		return reading{}, err
	}
	return reading{
		value:  m.ratio(1, (*sample).perSecond),
		detail: fmt.Sprintf("%d callers: %s; bare %s", p.conns, describe(m[0]), describe(m[1])),
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
	single, err := newPushers(ctx, g.target, pushes{conns: onlineCallers, clients: b.Clients, mode: "online", status: "200"})
	if err != nil {
		return reading{}, err
	}
	defer single.close()
	body := bulkBody(bulkLines, b.Clients, "online")
	inBulk := func(ctx context.Context, d time.Duration) (sample, error) { return g.playBulk(ctx, d, bulkLines, body) }
	m, err := b.takeTurns(ctx, inBulk, single.play)
	if err == nil {
		err = g.crowd.check(ctx)
	}
	return reading{
		value:  m.ratio(1, (*sample).cpuEach),
		detail: fmt.Sprintf("%d lines a request: %s; single %s", bulkLines, describe(m[0]), describe(m[1])),
	}, err
}

// bulkBody is one bulk request with lines to random clients.
func bulkBody(lines, clients int, mode string) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for range lines {
		fmt.Fprintf(&b, `{"to":{"client":"%s"},"text":"%s","mode":"%s"}`+"\n", clientID(random.IntN(clients)), pushPayload, mode)
	}
	return b.Bytes()
}

// playBulk sends bulk requests one after the other for d, each of so many lines
// that are all acked.
func (t *target) playBulk(ctx context.Context, d time.Duration, lines int, body []byte) (sample, error) {
	var s sample
	start := time.Now()
	cpu, err := t.cpuDuring(func() error {
		for s.done == 0 || time.Since(start) < d {
			began := time.Now()
			answer, err := t.want(ctx, 200, "POST", "/v1/messages/bulk?wait=10s", "application/x-ndjson", body)
			if err != nil {
				return err
			}
			if acked := bytes.Count(answer, []byte(`"state":"acked"`)); acked != lines {
				return fmt.Errorf("%d of %d lines were acked: %.200s", acked, lines, answer)
			}
			s.latency.observe(time.Since(began))
			s.done += lines
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
// acked.
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
	s, err := b.broadcasts(ctx, g.target)
	if err == nil {
		err = g.crowd.check(ctx)
	}
	return reading{
		value: s.cpuEach(),
		detail: fmt.Sprintf("%d broadcasts to %s clients, %s deliveries/s, acks stored", s.done/b.Clients, thousands(float64(b.Clients)),
			thousands(s.perSecond())),
	}, err
}

// broadcasts sends one after the other for b.Duration.
func (b *bench) broadcasts(ctx context.Context, t *target) (sample, error) {
	start := time.Now()
	return t.broadcastWhile(ctx, b.Clients, func(times int) bool {
		return times < maxBroadcasts && (times < minBroadcasts || time.Since(start) < b.Duration)
	})
}

// broadcastWhile sends one after the other as long as more says so, which is
// told how many there were. What it counts is deliveries.
func (t *target) broadcastWhile(ctx context.Context, clients int, more func(times int) bool) (s sample, err error) {
	start := time.Now()
	s.cpu, err = t.cpuDuring(func() error {
		for times := 0; more(times); times++ {
			if err := t.broadcast(ctx, clients); err != nil {
				return err
			}
			s.done += clients
		}
		return nil
	})
	s.elapsed = time.Since(start)
	return s, err
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
