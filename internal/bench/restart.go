package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/longwire/longwire/internal/engine"
)

// restart is the time from the start of a process, with many messages queued in
// its store, to a green /readyz. The slowest start counts: the first one finds
// the store as it was left, the later ones find it tidied up.
func (b *bench) restart(ctx context.Context) (reading, error) {
	dir := b.newDir("restart")
	began := time.Now()
	if err := fillStore(ctx, dir, b.Queued); err != nil {
		return reading{}, fmt.Errorf("fill a store: %w", err)
	}
	filled := time.Since(began)
	var times []float64
	for range restarts {
		took, err := b.timeToReady(ctx, dir)
		if err != nil {
			return reading{}, err
		}
		times = append(times, took.Seconds())
	}
	return reading{
		value: slices.Max(times),
		detail: fmt.Sprintf("%s messages queued for %s clients (filled in %s); the slowest of %.2f s", thousands(float64(b.Queued)),
			thousands(float64(recipients(b.Queued))), brief(filled), times),
	}, nil
}

// recipients is for how many clients queued messages are.
func recipients(queued int) int { return max(1, queued/queuedEach) }

// fillStore makes a store with queued messages and closes it. Nothing is synced
// until then: how it got there does not matter.
func fillStore(ctx context.Context, dir string, queued int) (err error) {
	e, err := engine.Open(engine.Options{Dir: dir, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	clients := recipients(queued)
	if err := registerClients(ctx, e, clients); err != nil {
		return err
	}
	payload := make([]byte, queuedBytes)
	return inParallel(queued, func(i int) error { return acceptOne(ctx, e, clientID(i%clients), payload) })
}

// timeToReady starts a gateway on the store, waits until it is ready, and stops
// it.
func (b *bench) timeToReady(ctx context.Context, dir string) (took time.Duration, err error) {
	start := time.Now()
	t, err := b.start(ctx, process{role: gatewayServer, dir: dir})
	if err != nil {
		return 0, fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	err = waitFor(ctx, callTimeout, "a green /readyz", func() bool {
		status, _, err := t.call(ctx, "GET", "/readyz", "", nil)
		return err == nil && status == 200
	})
	return time.Since(start), err
}
