package webhook

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/clocktest"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// slowly answers after 10 ms and notes when events come.
func (r *receiver) slowly(a *arrivals) {
	r.answers(func(_ context.Context, b body, _ int) *http.Response {
		time.Sleep(10 * time.Millisecond)
		a.note(b)
		return status(200)
	})
}

// The lag of nine endpoints is the same beside a tenth that takes nothing, in steady
// traffic and in bursts.
func TestADeadEndpointDelaysNoOther(t *testing.T) {
	lag := map[bool]time.Duration{}
	for _, dead := range []bool{false, true} {
		inWorld(t, func(w *world) {
			var came [10]arrivals
			for i := range came {
				r := w.receiver(fmt.Sprint("r", i))
				r.slowly(&came[i])
				if dead && i == 9 {
					r.answers(func(ctx context.Context, _ body, _ int) *http.Response {
						<-ctx.Done()
						return status(500)
					})
				}
				w.create(r, Spec{Filter: acks})
			}
			for i := range 2000 {
				time.Sleep(100 * time.Millisecond)
				w.note(fmt.Sprint("c", i%40))
				if i%200 == 0 {
					for j := range 400 {
						w.note(fmt.Sprint("c", j%40))
					}
				}
			}
			time.Sleep(2 * time.Second)
			for i := range came[:9] {
				lag[dead] = max(lag[dead], w.lag(&came[i], "c"))
			}
		})
	}
	if lag[true]*10 > lag[false]*11 {
		t.Errorf("the lag's p99 is %v beside a dead endpoint, %v without", lag[true], lag[false])
	}
}

// The lag of the other clients of an endpoint is the same while the first event of one
// fails for days.
func TestAPoisonEventDelaysNoOtherClient(t *testing.T) {
	lag := map[bool]time.Duration{}
	for _, poison := range []bool{false, true} {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			var a arrivals
			r.answers(func(_ context.Context, b body, _ int) *http.Response {
				if b.Client == "poison" {
					return status(500)
				}
				time.Sleep(10 * time.Millisecond)
				a.note(b)
				return status(200)
			})
			w.create(r, Spec{Filter: acks})
			for i := range 5000 {
				time.Sleep(50 * time.Second)
				for j := range 3 {
					w.note(fmt.Sprint("c", (i+j)%40))
				}
				if poison {
					w.note("poison")
				}
			}
			time.Sleep(2 * time.Second)
			lag[poison] = w.lag(&a, "c")
		})
	}
	if lag[true]*10 > lag[false]*11 {
		t.Errorf("the lag's p99 is %v beside a poison event, %v without", lag[true], lag[false])
	}
}

// No more than maxParked clients are parked; then the mark waits, memory stays bounded,
// and nothing is lost.
func TestThereAreAtMostSoManyParkedClients(t *testing.T) {
	if testing.Short() {
		t.Skip("many requests")
	}
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		var well atomic.Bool
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if !well.Load() && b.Client != "well" {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{Filter: acks, Concurrency: 64})
		const n = maxParked + 1000
		for i := range n {
			w.note(fmt.Sprint("c", i))
			if i%100 == 0 {
				w.note("well") // the endpoint is not down
			}
			if i%500 == 499 {
				time.Sleep(10 * time.Second)
			}
			if i%50 > 0 {
				continue
			}
			if s := w.status(h); s.Parked > maxParked || s.Waiting > maxWaiting {
				w.Fatalf("after %d events: %+v", i, s)
			}
		}
		time.Sleep(10 * time.Second)
		full := w.status(h)
		if full.Parked != maxParked || full.Lag == 0 {
			w.Errorf("with as many parked clients as there may be: %d, lag %d", full.Parked, full.Lag)
		}
		time.Sleep(time.Hour)
		if s := w.status(h); s.Parked != maxParked || s.Cursor != full.Cursor || s.Waiting > maxWaiting {
			w.Errorf("an hour later %d are parked, %d wait, and the mark has gone on by %d", s.Parked, s.Waiting, s.Cursor-full.Cursor)
		}
		well.Store(true)
		time.Sleep(5 * time.Hour)
		clients := map[string]int{}
		for _, b := range r.all() {
			clients[b.Client]++
		}
		if s := w.status(h); s.Parked != 0 || s.Lag != 0 || len(clients) != n+1 || len(r.all()) != n+n/100 {
			w.Errorf("at the end %d events of %d clients have come: %+v", len(r.all()), len(clients), s)
		}
	})
}

// A long backlog is sent from the log with bounded memory, each event once and those of a
// client in order, also if a client has most of it. LONGWIRE_TORTURE makes it a million.
func TestALongBacklogIsSentFromTheLog(t *testing.T) {
	n := 100_000
	switch {
	case os.Getenv("LONGWIRE_TORTURE") != "":
		n = 1_000_000
	case testing.Short():
		n = 20_000
	}
	inWorldOf(t, memstore.Options{MaxEvents: 2 * n}, gateway.Config{}, func(w *world) {
		r := w.receiver("r")
		last := map[string]uint64{}
		came := 0
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			time.Sleep(time.Millisecond)
			r.mu.Lock()
			defer r.mu.Unlock()
			if b.Seq <= last[b.Client] {
				w.Errorf("event %d of %s after %d", b.Seq, b.Client, last[b.Client])
			}
			last[b.Client] = b.Seq
			came++
			return status(200)
		})
		h := w.create(r, Spec{Filter: acks, Concurrency: 64, State: Paused})
		r.signedWith(Webhook{})
		for i := range n {
			client := "most"
			if i%4 == 0 {
				client = fmt.Sprint("c", i%100)
			}
			w.note(client)
		}
		w.set(h, Active)
		began, most := time.Now(), 0
		for {
			time.Sleep(50 * time.Millisecond)
			s := w.status(h)
			most = max(most, s.Waiting)
			if s.Lag == 0 && s.Parked == 0 || time.Since(began) > time.Hour {
				break
			}
		}
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if came != n || most > maxWaiting {
			w.Errorf("%d of %d events have come, up to %d were in memory", came, n, most)
		}
		// The client with most of it has one request at a time: a millisecond each.
		if took, least := time.Since(began), time.Duration(n*3/4)*time.Millisecond; took > least*11/10 {
			w.Errorf("it took %v, and %v alone for the requests of a client", took, least)
		}
	})
}

// The pause of a parked client is the same although the wall clock is set.
func TestThePauseOfAParkedClientDoesNotNoticeAStep(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		var clock clocktest.Clock
		next := nextTry(clock.Now(), parkAfter)
		clock.Step(step)
		if wait := next.Sub(clock.Now()); wait < 20*time.Second || wait > 40*time.Second {
			t.Errorf("after a step by %v the client is tried in %v, want about 30 s", step, wait)
		}
	}
}
