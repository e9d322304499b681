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
	ours := callers(acceptCallers, func() error {
		return acceptOne(ctx, e, clientID(int(next.Add(1)%acceptClients)), payload)
	})
	theirs := callers(acceptCallers, func() error { return floor.append(payload) })
	m, err := b.takeTurns(ctx, ours.play, theirs.play)
	if err != nil {
		return r, err
	}
	return reading{
		value:  m.ratio(1, (*sample).perSecond),
		detail: fmt.Sprintf("%d callers, %d B: %s; floor %s", acceptCallers, acceptBytes, describe(m[0]), describe(m[1])),
	}, nil
}

// callers is n callers in this process that all do the same.
func callers(n int, call callerFunc) *load {
	l := &load{}
	for range n {
		l.callers = append(l.callers, call)
	}
	return l
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
		_, _, err := s.Register(ctx, gateway.Registration{Client: gateway.ClientID(clientID(i)), At: time.Now()})
		return err
	})
}

// fillers fill a store: enough for large group commits.
const fillers = 512

// inParallel calls do for 0 to n-1, fillers of them at a time, and returns the
// first error. After an error it begins no more.
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
