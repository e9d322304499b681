package api

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Each reader learns that the store was repaired, whatever it selects and may see: the lost
// events may have been its own. The event names no client.
func TestEveryReaderLearnsOfARepair(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 11, 29, 22, 0, 0, 0, time.UTC)
	ev := gateway.Event{Type: gateway.EventStoreRepaired, At: at.Add(time.Hour), Reason: gateway.DamageLog, Detail: "cut",
		Repair: &gateway.StoreRepair{After: 7, Since: at}}
	if err := w.gateway.Note(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"unlimited", "a", "b", "events:read"} {
		for _, filter := range []string{`{"start":"earliest","types":["store.*"]}`, `{"start":"earliest","client":"nobody"}`,
			`{"start":"earliest","prefix":"no-"}`, `{"start":"earliest","group":"none"}`, `{"start":"earliest","labels":{"no":"body"}}`} {
			w.as(key, "PUT", "/v1/consumers/c", filter)
			b := decode[ConsumerBatch](w.as(key, "GET", "/v1/consumers/c/events?wait=10s", "").want(200))
			if len(b.Items) != 1 || b.Items[0].Type != "store.repaired" {
				t.Fatalf("%s with %s reads %+v", key, filter, b.Items)
			}
			e := b.Items[0]
			if d := e.Data; e.Subject != "" || d.Reason != "log_damaged" || d.LostAfter != "7" || d.LostSince != "2026-11-29T22:00:00.000Z" || d.Detail != "cut" || d.PayloadGone {
				t.Errorf("%s reads %+v", key, e)
			}
			w.as(key, "GET", "/v1/events/"+e.ID, "").want(200)
			w.as(key, "DELETE", "/v1/consumers/c", "").want(204)
		}
		w.as(key, "PUT", "/v1/consumers/c", `{"start":"earliest","types":["message.failed"]}`)
		if b := decode[ConsumerBatch](w.as(key, "GET", "/v1/consumers/c/events", "").want(200)); len(b.Items) != 0 {
			t.Errorf("%s did not ask for it: %+v", key, b.Items)
		}
		w.as(key, "DELETE", "/v1/consumers/c", "").want(204)
	}
}
