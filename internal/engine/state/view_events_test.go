package state

import (
	"fmt"
	"slices"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// countingRows counts the rows that are looked up.
type countingRows struct {
	Reader
	gets *int
}

func (r countingRows) Get(key []byte) ([]byte, error) {
	*r.gets++
	return r.Reader.Get(key)
}

// A message that ends for many clients at once is one entry of the log. Its readers take it
// in pages, and a page costs as much at the end of it as at its beginning.
func TestPagesOfAnEntryCostTheSame(t *testing.T) {
	const clients, page = 6000, 50 // in two chunks
	w := newWorld(t)
	events := []record.Event{bounded(10)}
	for i := range clients {
		events = append(events, w.register(gateway.ClientID(fmt.Sprint("c", i))))
	}
	w.record(1, 1, events...)
	w.record(1, 1, w.accept("canceled", gateway.Audience{All: true}), w.accept("expired", gateway.Audience{All: true}))
	w.record(1, 1, w.settle("canceled", "c7", gateway.Acked, ""), &record.Purge{Client: "c5000", At: w.at, Span: gateway.Span{Through: 1}})
	for _, end := range []struct {
		id    gateway.MessageID
		event record.Event
		want  int
	}{{"canceled", &record.Cancel{ID: "canceled", At: w.at}, clients - 2}, {"expired", &record.Expire{ID: "expired", At: w.at.Add(1e18)}, clients}} {
		before := w.Machine.State.Event
		w.record(1, 1, end.event)
		v, gets := w.view(), 0
		v.Rows = countingRows{v.Rows, &gets}
		all, last, err := v.Events(before, 1<<20, nil)
		if err != nil || len(all) != end.want+1 || last != w.Machine.State.Event { // the message is completed, too
			t.Fatalf("%s: %d events up to %d, %v, want %d", end.id, len(all), last, err, end.want+1)
		}
		gets = 0
		var paged []gateway.Event
		for after := before; after < last; {
			if paged, after, err = v.Events(after, page, paged); err != nil {
				t.Fatal(err)
			}
		}
		same := func(a, b gateway.Event) bool { return a.Seq == b.Seq && a.Client == b.Client && a.Type == b.Type }
		if !slices.EqualFunc(all, paged, same) {
			t.Errorf("%s: the pages have other events than one read: %d and %d", end.id, len(paged), len(all))
		}
		if gets > 2*end.want {
			t.Errorf("%s: %d rows were looked up for %d events", end.id, gets, end.want)
		}
	}
}

// A read of events ends when their results have the bytes of a page, and the next one goes
// on there.
func TestAReadOfLargeResultsIsBounded(t *testing.T) {
	const n = 2*maxPageBytes/gateway.MaxPayload + 1
	w := newWorld(t)
	b := bounded(n)
	b.MaxQueuedBytes = 1 << 30
	events := []record.Event{b, w.register("a")}
	for i := range n {
		id := gateway.MessageID(fmt.Sprintf("%03d", i))
		s := w.settle(id, "a", gateway.Acked, "")
		s.Result = make([]byte, gateway.MaxPayload)
		events = append(events, w.accept(id, gateway.Audience{Client: "a"}), s)
	}
	w.record(1, 1, events...)
	v, results := w.view(), 0
	for after := uint64(0); after < w.Machine.State.Event; {
		some, through, err := v.Events(after, 1000, nil)
		if err != nil || len(some) == 0 || through <= after {
			t.Fatalf("%d events up to %d behind %d, %v", len(some), through, after, err)
		}
		size := 0
		for _, e := range some {
			if size += len(e.Result); e.Result != nil {
				results++
			}
		}
		if size > maxPageBytes {
			t.Errorf("one read has %d bytes of results", size)
		}
		after = through
	}
	if results != n {
		t.Errorf("%d results, want %d", results, n)
	}
}
