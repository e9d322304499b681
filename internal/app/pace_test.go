package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
	"github.com/longwire/longwire/device"
)

// What is more than tcp.delivery_rate waits and is lost for nobody: messages keep
// their order, and a caller that waits for an online one has an answer when its
// time is over.
func TestDeliveriesBeyondTheRateWait(t *testing.T) {
	drivers := []string{"portable"}
	if runtime.GOOS == "linux" {
		drivers = append(drivers, "epoll")
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel() // waits for the rate
			cfg := testConfig(t.TempDir())
			cfg.TCP.Driver, cfg.TCP.DeliveryRate = driver, 1
			a := start(t, cfg)
			c := backend(t, a)
			var want []string
			for i := range 12 { // 10 at once, the 11th soon, the 12th a second later
				want = append(want, fmt.Sprint("m", i))
				if _, err := c.Push(t.Context(), "meter-1", client.Push{Payload: client.Text(want[i]), QueueUnknown: true}); err != nil {
					t.Fatal(err)
				}
			}
			got, began := &inbox{}, time.Now()
			connect(t, a, "meter-1", got.take)
			waitFor(t, func() bool { return len(got.list()) >= 11 })

			_, err := c.Push(t.Context(), "meter-1", client.Push{Payload: client.Text("now"), Mode: client.Online, Wait: 100 * time.Millisecond})
			if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusGatewayTimeout || !strings.Contains(p.Detail, "could not be sent in time") {
				t.Errorf("an online message with no time to wait: %v", err)
			}
			m, err := c.Push(t.Context(), "meter-1", client.Push{Payload: client.Text("soon"), Mode: client.Online, Wait: 10 * time.Second})
			if err != nil || m.Status != client.Acked {
				t.Errorf("an online message with time to wait: %+v, %v", m, err)
			}
			waitFor(t, func() bool { return len(got.list()) >= 13 })
			if took := time.Since(began); took < 1900*time.Millisecond {
				t.Errorf("13 messages took %v, want two seconds for the last two", took)
			}
			queued := slices.DeleteFunc(got.list(), func(text string) bool { return text == "soon" })
			if !slices.Equal(queued, want) {
				t.Errorf("the device got %q, want %q", queued, want)
			}
		})
	}
}

// inbox is what a device has got.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (b *inbox) take(_ context.Context, m device.Message) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, string(m.Payload))
	return nil, nil
}

func (b *inbox) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}
