package enginetest

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// A device may answer after the gateway has reported an online push as unknown, and before
// the observer reads it. No other final state changes.
func TestRecorderAllowsAnAnswerToAnUnknownPush(t *testing.T) {
	store := memstore.New(memstore.Options{})
	defer store.Close()
	now := time.Now()
	if _, _, err := store.Register(ctx, gateway.Registration{Client: "a", At: now}); err != nil {
		t.Fatal(err)
	}
	id := messageID(now, 1)
	a := gateway.Acceptance{ID: id, To: gateway.Audience{Client: "a"}, Online: true, CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
	if _, err := store.Accept(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := store.Settle(gateway.Outcome{Message: id, Client: "a", Seq: 1, State: gateway.Acked, At: now}, true); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[gateway.State]int{gateway.Unknown: 0, gateway.Acked: 0, gateway.Rejected: 1} {
		r := newRecorder(store)
		r.Changed([]gateway.Change{&gateway.Settlement{Delivery: gateway.Delivery{Message: id, Client: "a", State: state}}})
		if bad := r.complaints(); len(bad) != want {
			t.Errorf("notified of %v, which reads acked: %q", state, bad)
		}
	}
}
