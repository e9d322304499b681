package gateway_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// lazyVerdicts is a store that takes verdicts and has none durable yet.
type lazyVerdicts struct{ gateway.Store }

func (lazyVerdicts) Settle(gateway.Outcome, bool) error   { return nil }
func (lazyVerdicts) TrySettle(gateway.Outcome, bool) bool { return true }

// quickLink is a connection whose device answers before Deliver returns.
type quickLink struct {
	*gatewaytest.Link
	session *gateway.Session
	resume  chan struct{}
}

func (l *quickLink) Deliver(p gateway.Transmission) error {
	go func() {
		l.session.Sent(p.Seq, false, time.Now())
		l.session.Acked(p.Seq, false, gateway.AckOK, nil, time.Now())
	}()
	<-l.resume
	return nil
}

// TestATakeoverKnowsOfAnAnswerBeforeTheEndOfDeliver: a payload that was handed to the
// connection before comes as a repeat, also if its answer and the takeover came before
// Deliver had returned.
func TestATakeoverKnowsOfAnAnswerBeforeTheEndOfDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, lazyVerdicts{store}, gateway.Config{})
		first := &quickLink{Link: gatewaytest.NewLink(gatewaytest.Options{}), resume: make(chan struct{})}
		t.Cleanup(func() { close(first.resume) })
		s, _, err := g.Connect(context.Background(), gateway.Hello{Client: "a", Dialect: "v2"}, first)
		if err != nil {
			t.Fatal(err)
		}
		first.session = s
		s.Start()
		push(t, g, "a", "one")
		synctest.Wait()
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
		synctest.Wait()
		wantTexts(t, l, "one again")
	})
}
