package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
)

type world struct {
	*testing.T
	g *gateway.Gateway
	m *Manager
}

// inWorld runs a test in virtual time, over a store with room for most events.
func inWorld(t *testing.T, most int, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{MaxEvents: most})
		t.Cleanup(func() { s.Close() })
		w := &world{T: t, g: gatewaytest.New(t, s, gateway.Config{})}
		w.start()
		f(w)
	})
}

func (w *world) start() {
	w.Helper()
	m, err := New(Config{Gateway: w.g, Lookup: feed.NewLookup(w.g)})
	if err != nil {
		w.Fatal(err)
	}
	w.m = m
}

var uplinks = feed.Filter{Types: []string{"message.received"}}

func (w *world) put(name string, f feed.Filter, limit apikey.Limit) {
	w.Helper()
	if _, created, err := w.m.Put(w.Context(), name, f, limit, w.g.LastEvent(), false); err != nil || !created {
		w.Fatal(created, err)
	}
}

func (w *world) send(l *gatewaytest.Link, from, to int) {
	w.Helper()
	for i := from; i <= to; i++ {
		if err := l.Session.Received(w.Context(), uint64(i), fmt.Append(nil, i)); err != nil {
			w.Fatal(err)
		}
	}
	synctest.Wait()
}

func (w *world) pull(lease string, most int, wait time.Duration, want string) Batch {
	w.Helper()
	b, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{Lease: lease, From: "here", Most: most, Wait: wait})
	if err != nil {
		w.Fatal(err)
	}
	var texts []string
	for _, e := range b.Events {
		texts = append(texts, string(e.Uplink.Payload))
	}
	if got := strings.Join(texts, " "); got != want {
		w.Errorf("pulled %q, want %q", got, want)
	}
	return b
}

func (w *world) ack(b Batch, through uint64) {
	w.Helper()
	if _, err := w.m.Ack(w.Context(), "c", apikey.Limit{}, b.Lease, through, false); err != nil {
		w.Fatal(err)
	}
}

// unreadable is a store whose events cannot be read.
type unreadable struct{ gateway.Store }

func (unreadable) Events(uint64, int, []gateway.Event) ([]gateway.Event, uint64, error) {
	return nil, 0, errors.New("the disk cannot be read")
}

// A pull from a log that cannot be read fails, also without a wait: an answer without
// events would say that there are none. The next pull need not wait for a lease that
// nobody knows.
func TestAPullThatCannotRead(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := memstore.New(memstore.Options{})
			t.Cleanup(func() { s.Close() })
			w := &world{T: t, g: gatewaytest.New(t, unreadable{s}, gateway.Config{EventBuffer: 1})}
			w.start()
			w.put("c", uplinks, apikey.Limit{})
			w.send(gatewaytest.Connect(t, w.g, "a", gatewaytest.Options{}), 1, 9)
			if b, err := w.m.Pull(t.Context(), "c", apikey.Limit{}, Query{From: "here", Most: 10, Wait: wait}); err == nil {
				t.Errorf("with a wait of %v: %d events and no error", wait, len(b.Events))
			}
			var other *HeldError
			if _, err := w.m.Pull(t.Context(), "c", apikey.Limit{}, Query{From: "here", Most: 10, Wait: wait}); err == nil || errors.As(err, &other) {
				t.Errorf("the next pull, with a wait of %v: %v; want the error of the store", wait, err)
			}
		})
	}
}

// A consumer that begins with the oldest event is behind the kept events, and not behind
// those that the log does not have.
func TestLagCountsKeptEvents(t *testing.T) {
	inWorld(t, 100, func(w *world) {
		l := gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{})
		w.send(l, 1, 1000)
		if s, _, err := w.m.Put(w.Context(), "c", uplinks, apikey.Limit{}, 0, false); err != nil || s.Lag < 100 || s.Lag > 125 {
			w.Errorf("%d behind, %v, want the kept 100 to 125 events", s.Lag, err)
		}
		if all := w.m.All(); len(all) != 1 || all[0].Lag > 125 {
			w.Errorf("%+v", all)
		}
	})
}

// Events come again until they are acked, then the next ones do, also after a restart.
func TestEventsComeUntilTheyAreAcked(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		l := gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{})
		w.send(l, 1, 5)
		b := w.pull("", 3, 0, "1 2") // among the three events is the connection
		b = w.pull(b.Lease, 4, 0, "1 2 3")
		w.ack(b, b.Events[1].Seq)
		b = w.pull(b.Lease, 10, 0, "3 4 5")
		w.ack(b, b.Through)
		if s, err := w.m.Get("c", apikey.Limit{}); err != nil || s.Lag != 0 || s.Holder != "here" {
			w.Errorf("%+v, %v", s, err)
		}
		w.start()
		w.send(l, 6, 6)
		b = w.pull("", 10, 0, "6")
		if _, err := w.m.Ack(w.Context(), "c", apikey.Limit{}, b.Lease, b.Through+1, false); err != ErrPosition {
			w.Errorf("an ack of what was not pulled: %v", err)
		}
		w.ack(b, b.Through)
		w.ack(b, 1) // an old one changes nothing
		w.pull(b.Lease, 10, 0, "")
	})
}

// A pull that waits while the consumer gets another filter moves nothing: it has passed over
// events that the new filter selects. The same filter again disturbs no puller.
func TestAnotherFilterMissesNothing(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.put("c", feed.Filter{Types: []string{"client.*"}, Labels: map[string]string{}}, apikey.Limit{})
		l := gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{})
		b, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{From: "here", Most: 10, Wait: time.Second})
		if err != nil || len(b.Events) != 1 {
			w.Fatalf("%+v, %v", b, err)
		}
		set := func(types ...string) {
			if _, created, err := w.m.Put(w.Context(), "c", feed.Filter{Types: types}, apikey.Limit{}, 0, false); created || err != nil {
				w.Fatal(created, err)
			}
		}
		set("client.*")
		w.ack(b, b.Through)
		pulled := make(chan Batch)
		go func() {
			b, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{Lease: b.Lease, From: "here", Most: 10, Wait: 10 * time.Second})
			if err != nil {
				w.Error(err)
			}
			pulled <- b
		}()
		synctest.Wait()
		set("message.received")
		w.send(l, 1, 1)
		if b = <-pulled; len(b.Events) != 0 {
			w.Fatalf("by the filter before: %+v", b)
		}
		if _, err := w.m.Ack(w.Context(), "c", apikey.Limit{}, b.Lease, b.Through, false); err != ErrNoLease {
			w.Errorf("an ack of a pull by the filter before: %v", err)
		}
		w.pull("", 10, 0, "1")
	})
}

// A pull waits for the first event, and passes over those that it does not want.
func TestPullsWait(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		begun := time.Now()
		b := w.pull("", 10, 20*time.Second, "")
		if d := time.Since(begun); d != 20*time.Second {
			w.Errorf("an empty pull took %v", d)
		}
		l := gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{})
		time.AfterFunc(5*time.Second, func() { gatewaytest.Connect(w.T, w.g, "b", gatewaytest.Options{}) })
		time.AfterFunc(7*time.Second, func() { w.send(l, 1, 1) })
		begun = time.Now()
		w.pull(b.Lease, 10, 20*time.Second, "1")
		if d := time.Since(begun); d != 7*time.Second {
			w.Errorf("it took %v", d)
		}
	})
}

// One puller has the consumer until 30 s after its last call; then another one starts
// behind the last ack, and the first can ack no more.
func TestOnePullerAtATime(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		w.send(gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{}), 1, 3)
		first := w.pull("", 10, 0, "1 2 3")
		time.Sleep(20 * time.Second)
		w.ack(first, first.Events[0].Seq) // it renews the lease
		time.Sleep(20 * time.Second)
		_, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{From: "there", Most: 10})
		if held, ok := errors.AsType[*HeldError](err); !ok || held.By != "here" || held.Until != 10*time.Second {
			w.Errorf("another puller gets %v", err)
		}
		time.Sleep(11 * time.Second)
		second := w.pull("", 10, 0, "2 3")
		if _, err := w.m.Ack(w.Context(), "c", apikey.Limit{}, first.Lease, first.Through, false); err != ErrNoLease {
			w.Errorf("an ack under the old lease: %v", err)
		}
		w.ack(second, second.Through)
		if st, err := w.m.Ack(w.Context(), "c", apikey.Limit{}, second.Lease, 0, true); err != nil || st.Holder != "" {
			w.Errorf("the lease is given back: %+v, %v", st, err)
		}
		w.pull("", 10, 0, "") // at once
	})
}

// A consumer says that events are gone.
func TestGap(t *testing.T) {
	inWorld(t, 10, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		w.send(gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{}), 1, 100)
		b, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{From: "here", Most: 100})
		if err != nil || !b.Gap || len(b.Events) < 10 || string(b.Events[len(b.Events)-1].Uplink.Payload) != "100" {
			w.Errorf("gap %t, %d events, %v", b.Gap, len(b.Events), err)
		}
	})
}

// Each limit has its own consumers, and a name can be given again.
func TestConsumersOfTenants(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		a, b := apikey.Limit{Prefix: "a-"}, apikey.Limit{Group: "b"}
		w.put("c", feed.Filter{}, a)
		w.put("c", feed.Filter{}, b)
		gatewaytest.Connect(w.T, w.g, "a-1", gatewaytest.Options{})
		synctest.Wait()
		for limit, n := range map[apikey.Limit]int{a: 1, b: 0} {
			got, err := w.m.Pull(w.Context(), "c", limit, Query{From: "here", Most: 10})
			if err != nil || len(got.Events) != n {
				w.Errorf("%+v pulls %d events, %v, want %d", limit, len(got.Events), err, n)
			}
		}
		if _, err := w.m.Get("c", apikey.Limit{}); err != ErrNotFound {
			w.Errorf("the operator's consumer: %v", err)
		}
		for i := range maxOfTenant - 1 {
			w.put(fmt.Sprint("n", i), feed.Filter{}, a)
		}
		if _, _, err := w.m.Put(w.Context(), "more", feed.Filter{}, a, 0, false); err != ErrTooMany {
			w.Errorf("one more than a tenant may have: %v", err)
		}
		if s, created, err := w.m.Put(w.Context(), "c", uplinks, a, 0, true); err != nil || created || s.Cursor != 0 {
			w.Errorf("moved: %+v, %t, %v", s, created, err)
		}
		if err := w.m.Delete(w.Context(), "c", a); err != nil {
			w.Error(err)
		}
		w.start()
		if n := len(w.m.List(a)); n != maxOfTenant-1 {
			w.Errorf("%d consumers are left", n)
		}
		for _, name := range []string{"", ".", "a b", "a:b", strings.Repeat("x", 65)} {
			if _, _, err := w.m.Put(w.Context(), name, feed.Filter{}, a, 0, false); err != ErrBadName {
				w.Errorf("%q: %v", name, err)
			}
		}
	})
}

// youngLog is a log that has forgotten nothing, as that of a new data directory. Its
// numbers begin high, so that no event is behind the position 0.
type youngLog struct{ *memstore.Store }

func (s youngLog) EventSpan() (forgotten, last uint64, err error) {
	_, last, err = s.Store.EventSpan()
	return 0, last, err
}

// A pull from a log whose last numbers have no events ends with its wait.
func TestAPullFromALogWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(memstore.Options{})
		t.Cleanup(func() { s.Close() })
		w := &world{T: t, g: gatewaytest.New(t, youngLog{s}, gateway.Config{})}
		w.start()
		if _, _, err := w.m.Put(t.Context(), "c", feed.Filter{}, apikey.Limit{}, 0, false); err != nil {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{0, 3 * time.Second} {
			begun := time.Now()
			done := make(chan Batch, 1)
			go func() {
				b, err := w.m.Pull(t.Context(), "c", apikey.Limit{}, Query{From: "here", Most: 10, Wait: wait})
				if err != nil {
					t.Error(err)
				}
				done <- b
			}()
			select {
			case b := <-done:
				if d := time.Since(begun); d != wait || len(b.Events) > 0 || b.Through != w.g.LastEvent() {
					t.Errorf("a wait of %v took %v, with %d events up to %d", wait, d, len(b.Events), b.Through)
				}
			case <-time.After(time.Hour):
				t.Errorf("a pull with a wait of %v has not ended after an hour", wait)
				gatewaytest.Connect(t, w.g, "a", gatewaytest.Options{}) // whose event ends it
				<-done
			}
			time.Sleep(2 * LeaseTime)
		}
	})
}

// counting counts the reads of the log.
type counting struct {
	gateway.Store
	reads atomic.Int64
}

func (s *counting) Events(after uint64, limit int, buf []gateway.Event) ([]gateway.Event, uint64, error) {
	s.reads.Add(1)
	return s.Store.Events(after, limit, buf)
}

// A pull for one event passes over others in large steps, and returns one.
func TestAPullForOneEventPassesOverManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Store: memstore.New(memstore.Options{MaxEvents: 10_000})}
		t.Cleanup(func() { s.Close() })
		w := &world{T: t, g: gatewaytest.New(t, s, gateway.Config{EventBuffer: 1})}
		w.start()
		w.put("c", feed.Filter{Types: []string{"message.received"}, Client: "b"}, apikey.Limit{})
		w.send(gatewaytest.Connect(t, w.g, "a", gatewaytest.Options{}), 1, 5000)
		w.send(gatewaytest.Connect(t, w.g, "b", gatewaytest.Options{}), 1, 3)
		before := s.reads.Load()
		b := w.pull("", 1, 0, "1")
		if n := s.reads.Load() - before; n > 50 {
			t.Errorf("the pull has read the log %d times", n)
		}
		w.ack(b, b.Through)
		w.pull(b.Lease, 1, 0, "2")
	})
}

// A lease lasts as long as a pull waits, also if its holder acks in the meantime.
func TestAnAckDoesNotShortenAWait(t *testing.T) {
	inWorld(t, 100, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		first := w.pull("", 10, 0, "")
		done := make(chan Batch)
		go func() { done <- w.pull(first.Lease, 10, time.Minute, "1") }()
		time.Sleep(time.Second)
		w.ack(first, first.Through)
		time.Sleep(LeaseTime + time.Second)
		var other *HeldError
		if _, err := w.m.Pull(w.Context(), "c", apikey.Limit{}, Query{From: "there", Most: 10}); !errors.As(err, &other) {
			w.Errorf("another puller during the wait: %v, want %T", err, other)
		}
		w.send(gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{}), 1, 1)
		b := <-done
		w.ack(b, b.Through)
		time.Sleep(LeaseTime + time.Second)
		w.pull("", 10, 0, "")
	})
}

// A pull far behind the end of the log waits for its turn, and one that has hung up does not.
func TestAPullWaitsForItsTurn(t *testing.T) {
	inWorld(t, 100, func(w *world) {
		w.put("c", uplinks, apikey.Limit{})
		w.send(gatewaytest.Connect(w.T, w.g, "a", gatewaytest.Options{}), 1, 3)
		turns, under := make(chan struct{}, 1), 0
		q := Query{From: "here", Most: 10, Turn: func(ctx context.Context, behind uint64) (func(), error) {
			select {
			case turns <- struct{}{}:
				under++
				return func() { <-turns }, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		turns <- struct{}{}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		b, err := w.m.Pull(ctx, "c", apikey.Limit{}, q)
		if err != nil || len(b.Events) > 0 || under > 0 {
			w.Fatalf("without a turn: %d events, %v", len(b.Events), err)
		}
		<-turns
		q.Lease = b.Lease
		if b, err = w.m.Pull(w.Context(), "c", apikey.Limit{}, q); err != nil || len(b.Events) != 3 || under == 0 {
			w.Errorf("with a turn: %d events after %d turns, %v", len(b.Events), under, err)
		}
	})
}
