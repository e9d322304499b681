package bench

import (
	"context"
	"errors"
	"fmt"
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
	fillers       = 512 // calls at once that fill a store: enough for large group commits
)

// fillStore makes a store with queued messages for clients that are not part of a
// load, and closes it. Nothing is synced until then.
func fillStore(ctx context.Context, dir string, queued int) error {
	e, err := engine.Open(engine.Options{Dir: dir, NoSync: true})
	if err != nil {
		return fmt.Errorf("fill a store: %w", err)
	}
	others := recipients(queued)
	err = inParallel(fillers, others, func(i int) error { return registerOne(ctx, e, otherID(i)) })
	if err == nil {
		payload := make([]byte, queuedBytes)
		err = inParallel(fillers, queued, func(i int) error { return acceptOne(ctx, e, otherID(i%others), payload) })
	}
	return errors.Join(err, e.Close())
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

func registerOne(ctx context.Context, s gateway.Store, client string) error {
	_, _, err := s.Register(ctx, gateway.Registration{Client: gateway.ClientID(client), At: time.Now()})
	return err
}
