package state

import (
	"fmt"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// A page has a bound on its payloads, and the next one goes on behind it.
func TestAPageOfLargePayloadsEnds(t *testing.T) {
	const n = 100 // 25 MiB
	w := newWorld(t)
	payload := make([]byte, gateway.MaxPayload)
	b := bounded(n)
	b.MaxQueuedBytes = 1 << 30
	events := []record.Event{b, w.register("a")}
	for i := range n {
		m := w.accept(gateway.MessageID(fmt.Sprintf("%03d", i)), gateway.Audience{Client: "a"})
		m.Payload = payload
		events = append(events, m, &record.Uplink{Uplink: gateway.Uplink{Client: "a", At: w.at, Payload: payload}})
	}
	w.record(1, 1, events...)
	v, messages, uplinks := w.view(), 0, 0
	for q := (gateway.MessageQuery{Limit: gateway.MaxListLimit}); ; {
		p, err := v.Messages(q)
		if err != nil || len(p.Items) > maxPageBytes/gateway.MaxPayload {
			t.Fatalf("a page of %d messages of %d bytes each, %v", len(p.Items), gateway.MaxPayload, err)
		}
		if messages += len(p.Items); !p.More {
			break
		}
		q.Before = p.Next
	}
	for after := uint64(0); ; {
		p, err := v.Uplinks("a", after, gateway.MaxListLimit)
		if err != nil || len(p.Items) > maxPageBytes/gateway.MaxPayload {
			t.Fatalf("a page of %d uplinks of %d bytes each, %v", len(p.Items), gateway.MaxPayload, err)
		}
		if uplinks += len(p.Items); !p.More {
			break
		}
		after = p.Next
	}
	if messages != n || uplinks != n {
		t.Errorf("all pages have %d messages and %d uplinks, want %d", messages, uplinks, n)
	}
}
