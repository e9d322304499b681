package state

import (
	"testing"

	"github.com/longwire/longwire/gateway"
)

// The bounds of a queue are on the messages to its client alone.
func TestADryRunAsksTheQueueThatThePushMeets(t *testing.T) {
	w := newWorld(t)
	all, one := gateway.Audience{All: true}, gateway.Audience{Client: "a"}
	w.record(1, 1, bounded(2), w.register("a"), w.accept("1", all), w.accept("2", all), w.accept("3", all))
	look := func(what string, to gateway.Audience, failed int, code gateway.Code) {
		t.Helper()
		e := w.accept("new", to)
		r, err := w.view().Recipients(&e.Acceptance, &bounded(2).Bounds)
		if gateway.CodeOf(err) != code || r.Failed != failed {
			t.Errorf("%s: %+v, %v, want %d failed and the error %q", what, r, err, failed, code)
		}
	}
	look("three messages to many", one, 0, "")
	look("named, with three messages to many", gateway.Audience{Clients: []gateway.ClientID{"a"}}, 0, "")
	w.record(1, 1, w.accept("4", one), w.accept("5", one))
	look("a full queue", one, 0, gateway.CodeQueueFull)
	look("a full queue, named", gateway.Audience{Clients: []gateway.ClientID{"a"}}, 1, "")
	look("a stranger", gateway.Audience{Client: "b"}, 0, "")
}
