package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// A log leads to the same rows whatever the caches hold, and after a restart behind
// every record too.
func TestCachesAreInvisible(t *testing.T) {
	for _, small := range []int{0, 3} {
		worlds := []*world{newWorld(t), newWorld(t), newWorld(t), newWorld(t)}
		for i, size := range []Caches{CachesFull, 1, CachesEmpty, CachesFull} {
			worlds[i].size = size
			worlds[i].restart()
		}
		bounds := record.DefaultBounds()
		bounds.SmallAudience, bounds.MaxQueued = small, 20
		rng := rand.New(rand.NewPCG(1, uint64(small)))
		boots := map[uint64]uint64{}
		for pos := range uint64(600) {
			writer := 1 + rng.Uint64N(2)
			boots[writer] = max(1, boots[writer])
			if rng.IntN(20) == 0 {
				boots[writer]++
			}
			events := []record.Event{&record.Bounded{Bounds: bounds}}
			if pos > 0 {
				events = randomEvents(rng, worlds[0])
			}
			var want []byte
			for i, w := range worlds {
				if i == 3 {
					w.restart()
				}
				w.record(writer, boots[writer], events...)
				got, err := w.testDB.Get(keyState)
				if err != nil || want != nil && !bytes.Equal(got, want) {
					t.Fatalf("record %d leads to another state in world %d; %v", pos+1, i, err)
				}
				want = got
			}
			worlds[0].at = worlds[0].at.Add(time.Duration(rng.IntN(3000)-500) * time.Millisecond)
			for _, w := range worlds {
				w.at = worlds[0].at
			}
		}
		if f := worlds[0].verify(); f.Clients < 5 || worlds[0].Machine.State.Event < 500 {
			t.Errorf("only %d clients and %d events", f.Clients, worlds[0].Machine.State.Event)
		}
	}
}

// randomEvents returns the events of a record: few clients and messages, so that they
// meet each other.
func randomEvents(rng *rand.Rand, w *world) (events []record.Event) {
	client := func() gateway.ClientID { return gateway.ClientID(fmt.Sprint("c", rng.IntN(12))) }
	message := func() gateway.MessageID { return gateway.MessageID(fmt.Sprint("m", rng.IntN(60))) }
	for range 1 + rng.IntN(5) {
		var e record.Event
		switch rng.IntN(14) {
		case 0, 1:
			r := w.register(client())
			r.Groups = []string{"g"}
			e = r
		case 2:
			e = w.ends(client(), 1+rng.Uint64N(9))
		case 3, 4:
			e = w.accept(message(), gateway.Audience{Client: client()})
		case 5:
			e = w.accept(message(), gateway.Audience{Clients: []gateway.ClientID{client(), client(), client()}})
		case 6:
			e = w.accept(message(), gateway.Audience{Group: "g"})
		case 7, 8:
			e = w.settle(message(), client(), []gateway.State{gateway.Acked, gateway.Rejected, gateway.Failed}[rng.IntN(3)], "")
		case 9:
			e = &record.Cancel{ID: message(), At: w.at}
		case 10:
			e = &record.Purge{Client: client(), At: w.at, Span: gateway.Span{After: gateway.Seq(rng.IntN(2) * rng.IntN(50)), Through: gateway.Seq(rng.IntN(2) * rng.IntN(100))}}
		case 11:
			e = &record.ForgetMessage{ID: message(), Through: w.at.Add(time.Hour)}
		case 12:
			e = &record.ForgetClient{Client: client(), Before: w.at, At: w.at}
		case 13:
			e = &record.ForgetEvents{Through: max(30, w.Machine.State.Event) - 30, Max: 2}
		}
		events = append(events, e)
	}
	return events
}
