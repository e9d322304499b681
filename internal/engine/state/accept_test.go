package state

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// A refused message leaves the row behind by which its expired key is found.
func TestRefusalKeepsAnExpiredKeyFindable(t *testing.T) {
	db := openDB(t)
	m, err := NewMachine(db, CachesFull)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1, 0).UTC()
	bounds := record.DefaultBounds()
	bounds.MaxQueued, bounds.KeyAge = 1, time.Minute
	push := func(id gateway.MessageID, at time.Time) record.Event {
		return &record.Accept{Acceptance: gateway.Acceptance{ID: id, To: gateway.Audience{Client: "c"}, QueueUnknown: true,
			CreatedAt: at, ExpiresAt: at.Add(time.Hour), IdempotencyKey: "k"}}
	}
	later := at.Add(2 * time.Minute)
	r := &record.Commit{Writer: 1, Boot: 1, N: 1, At: at.UnixNano(), Events: []record.Event{&record.Opened{}, &record.Bounded{Bounds: bounds},
		push("1", at), push("2", later)}}
	results := make([]Result, len(r.Events))
	a, err := m.ApplyAll(r, 1, results)
	if err != nil {
		t.Fatal(err)
	}
	if got := gateway.CodeOf(results[3].Err); got != gateway.CodeQueueFull {
		t.Fatalf("the second message is answered with %q, want %q", got, gateway.CodeQueueFull)
	}
	db.apply(t, &a.Changes)
	v := &View{Rows: db, State: m.State}
	keys, err := v.OldKeys(later, 10)
	if err != nil || len(keys) != 1 {
		t.Errorf("the sweeper finds %d keys, %v, want the expired one", len(keys), err)
	}
}
