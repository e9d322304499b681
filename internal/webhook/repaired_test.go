package webhook

import (
	"testing"
	"testing/synctest"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/feed"
)

// An endpoint that selects one client, or a prefix, is told of a repair of the store.
func TestEveryEndpointLearnsOfARepair(t *testing.T) {
	inWorld(t, func(w *world) {
		filters := map[string]feed.Filter{"all": {}, "client": {Client: "a"}, "prefix": {Prefix: "a-"}, "group": {Group: "g"}, "types": {Types: []string{"store.*"}}}
		for host, f := range filters {
			if f.Types == nil {
				f.Types = []string{"*"}
			}
			w.create(w.receiver(host), Spec{Filter: f})
		}
		if err := w.g.Note(w.Context(), gateway.Event{Type: gateway.EventStoreRepaired, Reason: gateway.DamageMark, Repair: &gateway.StoreRepair{}}); err != nil {
			w.Fatal(err)
		}
		synctest.Wait()
		for host := range filters {
			if got := w.receivers[host].all(); len(got) != 1 || got[0].Type != "store.repaired" {
				w.Errorf("%s got %+v", host, got)
			}
		}
	})
}
