package state

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Bits that a view has no room to keep are read anew each time.
func TestBitsBeyondTheBoundAreRead(t *testing.T) {
	db := openDB(t)
	m, err := NewMachine(db, CachesFull)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1, 0).UTC()
	bounds := record.DefaultBounds()
	bounds.SmallAudience = 0
	r := &record.Commit{Writer: 1, Boot: 1, N: 1, At: at.UnixNano(), Events: []record.Event{&record.Opened{}, &record.Bounded{Bounds: bounds}}}
	for _, id := range []gateway.ClientID{"a", "b"} {
		r.Events = append(r.Events, &record.Register{Registration: gateway.Registration{Client: id, At: at}})
	}
	for _, id := range []gateway.MessageID{"1", "2", "3"} {
		r.Events = append(r.Events, &record.Accept{Acceptance: gateway.Acceptance{ID: id, To: gateway.Audience{All: true},
			CreatedAt: at, ExpiresAt: at.Add(time.Hour)}})
	}
	a, err := m.ApplyAll(r, 1, make([]Result, len(r.Events)))
	if err != nil {
		t.Fatal(err)
	}
	db.apply(t, &a.Changes)
	shared, err := NewShared(db)
	if err != nil {
		t.Fatal(err)
	}
	v := &View{Rows: db, State: m.State, Shared: shared}
	v.broadcasts.kept = maxKeptBits
	ps, err := v.Next(gateway.TransmissionQuery{Client: "b", After: 1, Max: 10, MaxBytes: 1 << 20}, nil)
	if err != nil || len(ps) != 2 || ps[0].Seq != 2 || ps[1].Seq != 3 {
		t.Errorf("got %v, %v, want the last two messages", ps, err)
	}
	if n := len(v.broadcasts.chunks); n != 0 {
		t.Errorf("%d chunks are kept beyond the bound", n)
	}
}
