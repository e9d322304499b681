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
	acceptBytes   = 256  // of a message
	acceptClients = 4096 // recipients
	queuedEach    = 100  // messages for one client of a filled store
	queuedBytes   = 64
)

// fillStore makes a store with queued messages for clients that are not part of a
// load, and closes it. Nothing is synced until then.
func fillStore(ctx context.Context, dir string, queued int) (err error) {
	e, err := engine.Open(engine.Options{Dir: dir, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	others := recipients(queued)
	if err := inParallel(others, func(i int) error { return registerOne(ctx, e, otherID(i)) }); err != nil {
		return err
	}
	payload := make([]byte, queuedBytes)
	return inParallel(queued, func(i int) error { return acceptOne(ctx, e, otherID(i%others), payload) })
}

// recipients is the number of clients that queued messages are for.
func recipients(queued int) int { return max(1, queued/queuedEach) }

// otherID names a client that has queued messages and never connects.
func otherID(n int) string { return fmt.Sprintf("o-%06d", n) }

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

// registerClients registers n clients in the store.
func registerClients(ctx context.Context, s gateway.Store, n int) error {
	return inParallel(n, func(i int) error { return registerOne(ctx, s, clientID(i)) })
}

func registerOne(ctx context.Context, s gateway.Store, client string) error {
	_, _, err := s.Register(ctx, gateway.Registration{Client: gateway.ClientID(client), At: time.Now()})
	return err
}

// fillers is the number of goroutines that fill a store: enough for large group
// commits.
const fillers = 512

// inParallel calls do for 0 to n-1 on fillers goroutines and returns the first
// error. After an error it begins no further calls.
func inParallel(n int, do func(int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for range min(fillers, n) {
		callers.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
