package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// Sizes of the store's measurements.
const (
	acceptCallers = 256
	acceptBytes   = 256  // of a message
	acceptClients = 4096 // recipients
	queuedEach    = 100  // messages for one client in the store that is restarted
	queuedBytes   = 64
	restarts      = 3
)

// accept compares the engine with the least that makes 256 callers' messages
// durable: a file that is appended to and synced once for all who wait.
func (b *bench) accept(ctx context.Context) (r reading, err error) {
	e, err := engine.Open(engine.Options{Dir: b.newDir("accept")})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := registerClients(ctx, e, acceptClients); err != nil {
		return r, err
	}
	floor, err := openAppendLog(b.newDir("floor"))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, floor.close()) }()

	payload := make([]byte, acceptBytes)
	var next atomic.Int64
	ours := func(ctx context.Context, d time.Duration) (sample, error) {
		return callFor(ctx, d, func() error {
			return acceptOne(ctx, e, clientID(int(next.Add(1)%acceptClients)), payload)
		})
	}
	theirs := func(ctx context.Context, d time.Duration) (sample, error) {
		return callFor(ctx, d, func() error { return floor.append(payload) })
	}
	m, err := b.takeTurns(ctx, ours, theirs)
	if err != nil {
		return r, err
	}
	return reading{
		value:  m.ratio((*sample).perSecond),
		detail: fmt.Sprintf("%d callers, %d B: %s; floor %s", acceptCallers, acceptBytes, describe(m.ours), describe(m.theirs)),
	}, nil
}

// callFor has acceptCallers goroutines call for d, each once at least.
func callFor(ctx context.Context, d time.Duration, call func() error) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	samples, errs := make([]sample, acceptCallers), make([]error, acceptCallers)
	start := time.Now()
	var callers sync.WaitGroup
	for i := range acceptCallers {
		callers.Go(func() {
			for errs[i] == nil && (samples[i].done == 0 || ctx.Err() == nil) {
				began := time.Now()
				errs[i] = call()
				samples[i].latency.observe(time.Since(began))
				samples[i].done++
			}
		})
	}
	callers.Wait()
	total := sample{elapsed: time.Since(start)}
	for i := range samples {
		total.done += samples[i].done
		total.latency.add(&samples[i].latency)
	}
	return total, errors.Join(errs...)
}

// acceptOne stores one message.
func acceptOne(ctx context.Context, s gateway.Store, client string, payload []byte) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = s.Accept(ctx, gateway.Acceptance{ID: gateway.MessageID("msg_" + id.String()),
		To: gateway.Audience{Client: gateway.ClientID(client)}, Payload: payload, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour)})
	return err
}

// registerClients makes n clients known.
func registerClients(ctx context.Context, s gateway.Store, n int) error {
	return inParallel(n, func(i int) error {
		_, err := s.Register(ctx, gateway.Registration{Client: gateway.ClientID(clientID(i)), At: time.Now()})
		return err
	})
}

// inParallel calls do for 0 to n-1, acceptCallers of them at a time. After an
// error it begins no more.
func inParallel(n int, do func(int) error) error {
	errs := make([]error, acceptCallers)
	var next atomic.Int64
	var failed atomic.Bool
	var callers sync.WaitGroup
	for c := range acceptCallers {
		callers.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[c] = do(i); errs[c] != nil {
					failed.Store(true)
				}
			}
		})
	}
	callers.Wait()
	return errors.Join(errs...)
}
