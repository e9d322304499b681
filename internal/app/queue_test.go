package app

import (
	"errors"
	"strings"
	"testing"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/internal/config"
)

// The bounds of a client's queue reach both stores.
func TestTheBoundsOfAQueueAreSettings(t *testing.T) {
	for _, engine := range []string{config.EnginePebble, config.EngineMemory} {
		for _, b := range []struct {
			name  string
			set   func(*config.Delivery)
			limit int64
			push  string
		}{
			{"messages", func(d *config.Delivery) { d.MaxQueued = 2 }, 2, "x"},
			{"bytes", func(d *config.Delivery) { d.MaxQueuedBytes = 256 * config.KiB }, 256 << 10, strings.Repeat("x", 100<<10)},
		} {
			t.Run(engine+" "+b.name, func(t *testing.T) {
				cfg := testConfig(t.TempDir())
				cfg.Data.Engine = engine
				b.set(&cfg.Delivery)
				a := start(t, cfg)
				push := func() error {
					_, err := backend(t, a).Push(t.Context(), "away", client.Push{Payload: client.Text(b.push), QueueUnknown: true})
					return err
				}
				for range 2 {
					if err := push(); err != nil {
						t.Fatal(err)
					}
				}
				if p, ok := errors.AsType[*client.Problem](push()); !ok || p.Code() != client.CodeQueueFull || p.Status != 409 || p.Limit != b.limit {
					t.Errorf("the third: %+v, want 409 queue-full with limit %d", p, b.limit)
				}
			})
		}
	}
}
