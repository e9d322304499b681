package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// A log that holds 5 hours of 256 KiB, and a sixth one that begins.
const (
	hoardedHours = 5
	hoardedLog   = hoardedHours * 256 << 10
)

// numbers returns those of the last event and of the last one that is forgotten.
func numbers(t *testing.T, e *Engine) (last, gone uint64) {
	t.Helper()
	err := e.read(func(v *view) error {
		last, gone = v.State.Event, v.State.EventsGone
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return last, gone
}

// TestNobodyWipesTheEventsOfOthers: beside an attacker who writes as fast as the store
// takes it for five hours of the clock, each event of another tenant's device is accepted
// and stays for the whole retention; the attacker gets a code.
func TestNobodyWipesTheEventsOfOthers(t *testing.T) {
	alone(t)
	const tenant = gateway.PrefixAccount + "a-"
	uplink := func(e *Engine, id gateway.ClientID) error {
		_, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: id, Session: "ses_1", At: time.Now(), Payload: []byte("x")})
		return err
	}
	flap := func(e *Engine, id gateway.ClientID) error {
		c, _, err := e.Register(t.Context(), gateway.Registration{Client: id, Account: tenant, At: time.Now(), Session: "ses_1",
			Dialect: "v2", Remote: "192.0.2.1:40000"})
		if err == nil {
			e.Disconnected(gateway.Disconnection{Client: id, Epoch: c.Epoch, Session: "ses_1", At: time.Now(), Reason: gateway.ReasonConnectionLost})
		}
		return err
	}
	for name, attack := range map[string]func(e *Engine, i int) error{
		"the uplinks of a device":               func(e *Engine, _ int) error { return uplink(e, "noisy") },
		"the connections of a device":           func(e *Engine, _ int) error { return flap(e, "flaps") },
		"the uplinks of a tenant's devices":     func(e *Engine, i int) error { return uplink(e, gateway.ClientID(fmt.Sprint("a-", i%20))) },
		"the connections of a tenant's devices": func(e *Engine, i int) error { return flap(e, gateway.ClientID(fmt.Sprint("a-", i%20))) },
		"the pushes of a tenant": func(e *Engine, i int) error {
			now := time.Now()
			id := gateway.ClientID(fmt.Sprint("a-", i%20))
			_, err := e.Accept(t.Context(), gateway.Acceptance{ID: loadID(uint64(i)), To: gateway.Audience{Client: id}, Owner: tenant,
				Account: tenant, Payload: []byte("x"), CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
			return err
		},
		"the changes of a tenant": func(e *Engine, i int) error {
			_, err := e.UpdateClient(t.Context(), "a-0", gateway.ClientChange{Groups: &[]string{fmt.Sprint("group-", i)}, Account: tenant, Owner: tenant})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var clock atomic.Int64
			clock.Store(time.Date(2031, 2, 3, 4, 50, 0, 0, time.UTC).UnixNano())
			now := func() time.Time { return time.Unix(0, clock.Load()) }
			o := powerOptions(vfs.NewMem())
			o.Now = now
			o.EventRetention, o.MaxEventBytes = hoardedHours*time.Hour, hoardedLog
			e := openTest(t, o)
			for i := range 20 {
				if _, err := e.CreateClient(t.Context(), gateway.ClientID(fmt.Sprint("a-", i)), now(), tenant, gateway.ClientChange{}); err != nil {
					t.Fatal(err)
				}
			}
			registered(t, e, "victim")
			first, refused := uint64(0), 0
			for step := range 2 * (hoardedHours - 1) {
				if err := uplink(e, "victim"); err != nil {
					t.Fatalf("the other device's uplink: %v", err)
				}
				if step == 0 {
					first, _ = numbers(t, e)
				}
				for i := range 4000 {
					err := attack(e, step*4000+i)
					if gateway.CodeOf(err) == gateway.CodeEventsFull {
						refused++
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				clock.Add(int64(30 * time.Minute))
				if err := e.Expire(now()); err != nil {
					t.Fatal(err)
				}
			}
			if refused == 0 {
				t.Error("nothing was refused")
			}
			if _, gone := numbers(t, e); gone >= first {
				t.Errorf("the events up to %d are gone, the first one of the other device is %d", gone, first)
			}
			verifyView(t, e)
		})
	}
}
