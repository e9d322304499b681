package memstore_test

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// A timer does not see the wall clock step.
func TestAMessageExpiresWhenTheClockIsSetForwards(t *testing.T) {
	var clock clocktest.Clock
	asked := make(chan struct{}, 100)
	s := memstore.New(memstore.Options{Now: func() time.Time { asked <- struct{}{}; return clock.Now() }})
	defer s.Close()
	now := clock.Now().Round(0)
	a := gateway.Acceptance{ID: "msg_a", To: gateway.Audience{Client: "a"}, QueueUnknown: true, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour)}
	if _, err := s.Accept(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	<-asked // to arm the timer
	clock.Step(25 * time.Hour)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m, err := s.Message(a.ID)
		if err == nil && m.Counts.Expired == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("5 s after the step: %+v, %v", m.Counts, err)
		}
	}
}
