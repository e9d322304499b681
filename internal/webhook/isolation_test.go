package webhook

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// note puts an event of a client into the log.
func (w *world) note(client string) {
	w.Helper()
	if err := w.g.Note(w.Context(), gateway.Event{Type: gateway.EventMessageAcked, At: time.Now(), Client: gateway.ClientID(client), Message: "msg_x"}); err != nil {
		w.Fatal(err)
	}
}

var acks = feed.Filter{Types: []string{"message.acked"}}

// held returns how many events an endpoint keeps in memory.
func (w *world) held(h Webhook) int {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.m.endpoints[h.ID].waitingLocked()
}

// arrivals notes when an endpoint takes events.
type arrivals struct {
	mu sync.Mutex
	at map[uint64]time.Time
}

func (a *arrivals) note(b body) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[uint64]time.Time{}
	}
	a.at[b.Seq] = time.Now()
}

// lag returns the 99th percentile of the time between an event and its arrival, for the
// clients whose id starts with prefix.
func (w *world) lag(a *arrivals, prefix string) time.Duration {
	w.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []time.Duration
	for after := uint64(0); ; {
		events, through, err := w.store.Events(after, 1000, nil)
		if err != nil {
			w.Fatal(err)
		}
		for _, ev := range events {
			if ev.Type != gateway.EventMessageAcked || len(ev.Client) < len(prefix) || string(ev.Client[:len(prefix)]) != prefix {
				continue
			}
			at, ok := a.at[ev.Seq]
			if !ok {
				w.Errorf("event %d of %s has not come", ev.Seq, ev.Client)
				return 0
			}
			list = append(list, at.Sub(ev.At))
		}
		if len(events) == 0 {
			break
		}
		after = through
	}
	slices.Sort(list)
	return list[len(list)*99/100]
}

// A slow request keeps the mark, and no more than maxWaiting events in memory: not those
// that are done behind it.
func TestMemoryBehindASlowRequestIsBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "slow" {
				time.Sleep(25 * time.Second)
			}
			return status(200)
		})
		h := w.create(r, Spec{Timeout: 30 * time.Second, Filter: acks})
		w.note("slow")
		most := 0
		for i := range 5000 {
			w.note(fmt.Sprint("c", i%50))
			if i%100 == 99 {
				synctest.Wait()
				most = max(most, w.held(h))
			}
		}
		if n := len(r.all()); n != 5000 {
			w.Errorf("%d of 5,000 events of others came beside the slow request", n)
		}
		if most > maxWaiting {
			w.Errorf("%d events were in memory, want at most %d", most, maxWaiting)
		}
		time.Sleep(time.Minute)
		if s := w.status(h); s.Lag != 0 || s.Waiting != 0 || len(r.all()) != 5001 {
			w.Errorf("at the end %d events and %+v", len(r.all()), s)
		}
	})
}

// The webhooks of a tenant whose endpoint hangs leave sockets and memory to all others, and
// none of them stops.
func TestATenantLeavesRequestsToOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		hangs, other := w.receiver("hangs"), w.receiver("other")
		hang := func(ctx context.Context, _ body, _ int) *http.Response {
			<-ctx.Done()
			return status(500)
		}
		hangs.answers(hang)
		other.answers(hang)
		var ids []string
		for range 100 {
			spec := Spec{URL: "https://hangs", Concurrency: MaxConcurrency, Timeout: MaxTimeout, Filter: acks}
			h, err := w.m.Create(w.Context(), spec, apikey.Limit{Prefix: "a-"}, true, w.g.LastEvent())
			if err != nil {
				w.Fatal(err)
			}
			ids = append(ids, h.ID)
		}
		w.create(other, Spec{Concurrency: MaxConcurrency, Timeout: MaxTimeout, Filter: acks})
		for i := range MaxConcurrency {
			w.note(fmt.Sprint("a-", i))
		}
		synctest.Wait()
		hangs.mu.Lock()
		most := hangs.most
		hangs.mu.Unlock()
		if most > 2048+len(ids) {
			w.Errorf("a tenant has %d requests under way, want at most half of 4096 and one of each webhook", most)
		}
		other.mu.Lock()
		if other.most != MaxConcurrency {
			w.Errorf("beside it another webhook has %d under way, want %d", other.most, MaxConcurrency)
		}
		other.mu.Unlock()
		hangs.answers(nil)
		time.Sleep(5 * time.Minute)
		for _, id := range ids {
			if s, err := w.m.Get(id, apikey.Limit{}); err != nil || s.Waiting != 0 || s.Parked != 0 {
				w.Fatalf("when the endpoint answers: %d events wait, %d clients are parked, %v", s.Waiting, s.Parked, err)
			}
		}
	})
}

// Tests and redeliveries of an endpoint that hangs take one socket of each webhook, however
// many there are at once.
func TestManyTestsOfAnEndpointThatHangs(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(ctx context.Context, _ body, _ int) *http.Response {
			<-ctx.Done()
			return status(500)
		})
		h := w.create(r, Spec{Timeout: MaxTimeout})
		attempts := make(chan Attempt, 100)
		for range cap(attempts) {
			go func() {
				a, err := w.m.Test(w.Context(), h.ID, apikey.Limit{})
				if err != nil {
					w.Error(err)
				}
				attempts <- a
			}()
		}
		synctest.Wait()
		if _, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); err != nil || failed != "another test or redelivery of the webhook is under way" {
			w.Errorf("a redelivery beside them: %q, %v", failed, err)
		}
		refused := 0
		for range cap(attempts) {
			if a := <-attempts; a.Error == "another test or redelivery of the webhook is under way" && !a.At.IsZero() && a.Client == "test" {
				refused++
			}
		}
		r.mu.Lock()
		most := r.most
		r.mu.Unlock()
		if most != 1 || refused != cap(attempts)-1 {
			w.Errorf("%d requests were under way, and %d tests say that there is another one", most, refused)
		}
		r.answers(nil)
		if a, err := w.m.Test(w.Context(), h.ID, apikey.Limit{}); err != nil || a.Error != "" {
			w.Errorf("later: %q, %v", a.Error, err)
		}
	})
}

// A burst of a client, or of several, whose events all fail, by an error or by the timeout,
// delays no other client's events at the same endpoint.
func TestOthersAreNotDelayedByABurstOfAPoisonClient(t *testing.T) {
	for name, c := range map[string]struct {
		clients int
		hangs   bool
	}{"errors": {1, false}, "timeouts": {1, true}, "errors of many": {30, false}} {
		t.Run(name, func(t *testing.T) {
			lag := map[int]time.Duration{}
			for _, burst := range []int{0, 5000} {
				inWorld(t, func(w *world) {
					r := w.receiver("r")
					var a arrivals
					r.answers(func(ctx context.Context, b body, _ int) *http.Response {
						if strings.HasPrefix(b.Client, "poison") {
							if c.hangs {
								<-ctx.Done()
							}
							return status(500)
						}
						time.Sleep(10 * time.Millisecond)
						a.note(b)
						return status(200)
					})
					h := w.create(r, Spec{Filter: acks})
					for i := range burst {
						w.note(fmt.Sprint("poison", i%c.clients))
					}
					most := 0
					for i := range 3000 {
						time.Sleep(100 * time.Millisecond)
						w.note(fmt.Sprint("c", i%20))
						if i%5 == 0 && burst > 0 {
							w.note(fmt.Sprint("poison", i/5%c.clients))
						}
						most = max(most, w.held(h))
					}
					time.Sleep(time.Second)
					lag[burst] = w.lag(&a, "c")
					if most > maxWaiting {
						w.Errorf("%d events were in memory", most)
					}
					if s := w.status(h); s.Lag != 0 || s.Parked != min(burst, c.clients) {
						w.Errorf("at the end: %+v", s)
					}
				})
			}
			if lag[5000]*10 > lag[0]*11 {
				t.Errorf("the lag's p99 is %v beside the burst, %v without", lag[5000], lag[0])
			}
		})
	}
}

// A crash while most events of a client are not in memory loses none, and repeats those of
// about a second.
func TestACrashDuringABurstLosesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response {
			time.Sleep(10 * time.Millisecond)
			return status(200)
		})
		h := w.create(r, Spec{Filter: acks})
		const n = 5000
		for i := range n {
			w.note("burst")
			if i%50 == 0 {
				w.note("other")
			}
		}
		for range 3 {
			time.Sleep(7300 * time.Millisecond)
			if s := w.status(h); s.Parked != 1 || s.Lag != 0 || time.Since(s.Oldest) < 7*time.Second {
				w.Errorf("during the burst: %+v", s)
			}
			w.kill()
			w.start()
		}
		time.Sleep(time.Minute)
		var last uint64
		seen := map[uint64]bool{}
		for _, b := range r.all() {
			if b.Client == "burst" && b.Seq < last && !seen[b.Seq] {
				w.Errorf("event %d comes first after %d", b.Seq, last)
			}
			if seen[b.Seq] = true; b.Client == "burst" {
				last = max(last, b.Seq)
			}
		}
		if repeats := len(r.all()) - len(seen); len(seen) != n+n/50 || repeats > 3*130 {
			w.Errorf("%d events, %d repeats", len(seen), repeats)
		}
		if s := w.status(h); s.Parked != 0 || s.Lag != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// Events that retention has removed while nothing read them are counted and told,
// whether the webhook or the process had stopped, and still after a restart.
func TestMissedEventsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name        string
		stop, start func(w *world, h Webhook)
	}{
		{"a paused webhook", func(w *world, h Webhook) { w.set(h, Paused) }, func(w *world, h Webhook) { w.set(h, Active) }},
		{"a webhook that was paused for long", func(w *world, h Webhook) { w.set(h, Paused) }, func(w *world, h Webhook) {
			time.Sleep(time.Minute)
			w.set(h, Active)
		}},
		{"a stopped process", func(w *world, h Webhook) {
			if err := w.m.Close(); err != nil {
				w.Fatal(err)
			}
		}, func(w *world, _ Webhook) { w.start() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorldOf(t, memstore.Options{MaxEvents: 100}, gateway.Config{}, func(w *world) {
				r := w.receiver("r")
				h := w.create(r, Spec{Filter: acks})
				w.note("a")
				time.Sleep(2 * time.Second)
				before := w.status(h).Cursor
				c.stop(w, h)
				for range 1000 {
					w.note("a")
				}
				c.start(w, h)
				time.Sleep(2 * time.Second)
				forgotten, _, err := w.store.EventSpan()
				if err != nil {
					w.Fatal(err)
				}
				s := w.status(h)
				if want := forgotten - before; s.Missed != want || want < 800 {
					w.Errorf("missed: %d, want %d", s.Missed, want)
				}
				w.kill()
				w.start()
				if again := w.status(h).Missed; again != s.Missed {
					w.Errorf("missed after a restart: %d, before it %d", again, s.Missed)
				}
			})
		})
	}
}

func (w *world) set(h Webhook, to State) {
	w.Helper()
	if err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.State = to; return nil }); err != nil {
		w.Fatal(err)
	}
}

// A webhook that starts with the oldest event has missed none, and does not lag behind a
// log without events.
func TestAStartWithTheOldestEvent(t *testing.T) {
	inWorldOf(t, memstore.Options{MaxEvents: 100}, gateway.Config{}, func(w *world) {
		create := func(host string) (*receiver, Webhook) {
			r := w.receiver(host)
			h, err := w.m.Create(w.Context(), Spec{URL: "https://" + host, Filter: acks}, apikey.Limit{}, true, 0)
			if err != nil {
				w.Fatal(err)
			}
			synctest.Wait()
			return r, h
		}
		_, h := create("new")
		if s := w.status(h); s.Lag != 0 || s.Missed != 0 {
			w.Errorf("without events: lag %d, missed %d", s.Lag, s.Missed)
		}
		for range 1000 {
			w.note("a")
			synctest.Wait()
		}
		r, h := create("later")
		time.Sleep(time.Second)
		if s := w.status(h); s.Lag != 0 || s.Missed != 0 || len(r.all()) < 100 || len(r.all()) > 125 {
			w.Errorf("after 1,000 events, of which 100 are kept: %d came, lag %d, missed %d", len(r.all()), s.Lag, s.Missed)
		}
	})
}

// A read error in the middle of a scan for a parked client has no event sent twice.
func TestAScanThatFailsSendsNothingTwice(t *testing.T) {
	inWorldOf(t, memstore.Options{}, gateway.Config{EventBuffer: 1}, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			switch {
			case b.Client != "a":
			case b.Text == "1" && n < 4:
				return status(500)
			default:
				time.Sleep(time.Second)
			}
			return status(200)
		})
		h := w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.*"}}})
		a := w.connect("a")
		for i := range 100 {
			w.send(a, i+1, i+1)
			for range 20 { // a part of a scan has few of a
				w.note("b")
			}
		}
		time.Sleep(10 * time.Second)
		if s := w.status(h); s.Parked != 1 {
			w.Fatalf("after three failures: %+v", s)
		}
		w.store.failAfter.Store(3) // the second part of the second scan
		time.Sleep(time.Minute)
		if w.store.failAfter.Load() != 1 {
			w.Error("no scan has failed")
		}
		w.store.failAfter.Store(0)
		time.Sleep(5 * time.Minute)
		w.want(r, "a", count(100))
		if s := w.status(h); s.Parked != 0 || s.Lag != 0 {
			w.Errorf("at the end: %+v", s)
		}
	})
}

// An event beside 1,000 webhooks with a filter each is judged by those few whose filters
// name its client, prefix, group or label, and not at all by those of other types.
func TestTheIndexLeavesFewFiltersToJudge(t *testing.T) {
	inWorld(t, func(w *world) {
		groups, labels := []string{"g7"}, map[string]*string{"site": new("s7")}
		w.connect("tenant7-a")
		if _, err := w.g.UpdateClient(w.Context(), "tenant7-a", gateway.ClientChange{Groups: &groups, Labels: labels}); err != nil {
			w.Fatal(err)
		}
		for i := range 1000 {
			s, limit := Spec{URL: "https://r", State: Active, Filter: filterOf(i)}, apikey.Limit{}
			switch i % 7 {
			case 5:
				limit.Prefix = fmt.Sprint("tenant", i/7, "-")
			case 6:
				limit.Group = fmt.Sprint("g", i/7)
			}
			if _, err := w.m.Create(w.Context(), s, limit, true, w.g.LastEvent()); err != nil {
				w.Fatal(err)
			}
		}
		w.note("tenant7-a")
		synctest.Wait()
		events, _, err := w.store.Events(w.g.LastEvent()-1, 1, nil)
		if err != nil {
			w.Fatal(err)
		}
		judged, wanted := 0, 0
		w.m.mu.Lock()
		x := w.m.indexLocked()
		w.m.mu.Unlock()
		x.each(&events[0], func(t *target) {
			judged++
			if ok, err := t.filter.Wants(&events[0]); err != nil {
				w.Error(err)
			} else if ok {
				wanted++
			}
		})
		if judged > 8 || wanted != 6 {
			w.Errorf("%d filters were judged and %d want the event, want at most 8 and 6", judged, wanted)
		}
	})
}

// filterOf is the filter of webhook i: of one client, prefix, group, label or type.
func filterOf(i int) feed.Filter {
	n := i / 7
	switch i % 7 {
	case 0:
		return feed.Filter{Client: gateway.ClientID(fmt.Sprint("tenant", n, "-a"))}
	case 1:
		return feed.Filter{Prefix: fmt.Sprint("tenant", n, "-")}
	case 2:
		return feed.Filter{Group: fmt.Sprint("g", n)}
	case 3:
		return feed.Filter{Labels: map[string]string{"site": fmt.Sprint("s", n)}}
	case 4:
		return feed.Filter{Types: []string{"message.received", "message.failed"}}
	}
	return feed.Filter{Types: []string{"message.*"}}
}

// Clients that are away and may come back delay no other client, however many there are. Each
// is reported after Settle, and those that come back in time are not.
func TestAMassDisconnectionDelaysNoOther(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		const settle, many = 5 * time.Minute, 3 * maxTaken
		h := w.create(r, Spec{Settle: settle, Filter: feed.Filter{Types: []string{"client.*", "message.received"}}})
		healthy := w.connect("healthy")
		var links []*gatewaytest.Link
		for i := range many {
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		time.Sleep(time.Second)
		began, before := time.Now(), len(r.all())
		for _, l := range links {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		for i := 1; i <= 10; i++ {
			w.send(healthy, i, i)
			time.Sleep(time.Second)
			w.want(r, "healthy", " "+count(i)) // its connection has no text
		}
		var back []*gatewaytest.Link
		for i := range many / 2 { // some of them are parked, and some are not
			back = append(back, w.connect(gateway.ClientID(fmt.Sprint("c", 2*i))))
		}
		for _, l := range back {
			w.send(l, 1, 1)
		}
		time.Sleep(5 * time.Second)
		for i := range many / 2 {
			if id := fmt.Sprint("c", 2*i); r.texts(id) != " 1" {
				t.Fatalf("of %s, which is back, came %q", id, r.texts(id))
			}
		}
		if err := w.m.Close(); err != nil { // who waits for Settle does so over a restart
			w.Fatal(err)
		}
		w.start()
		for _, id := range []gateway.ClientID{"c1", "c1949"} {
			w.send(w.connect(id), 1, 1)
			time.Sleep(time.Second)
			w.want(r, string(id), " 1")
		}
		time.Sleep(settle - time.Second - time.Since(began))
		if n := len(r.all()) - before; n != 10+many/2+2 {
			t.Errorf("before the time is over %d events came, want %d", n, 10+many/2+2)
		}
		time.Sleep(settle/10 + 3*time.Second)
		ended := map[string]int{}
		for _, b := range r.all() {
			if b.Type == "client.disconnected" {
				ended[b.Client]++
			}
		}
		for i := range many {
			want := i % 2
			if i == 1 || i == many-1 {
				want = 0
			}
			if got := ended[fmt.Sprint("c", i)]; got != want {
				t.Fatalf("c%d was reported %d times, want %d", i, got, want)
			}
		}
		if s := w.status(h); s.Parked != 0 || s.Waiting != 0 || s.Lag != 0 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

// A client that is back within Settle is not delayed: neither its end nor its return is
// reported, and what it sends comes at once.
func TestAClientThatIsBackIsNotDelayed(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		w.create(r, Spec{Settle: 10 * time.Minute, Filter: feed.Filter{Types: []string{"client.*", "message.received"}}})
		for n := range 3 {
			a := w.connect("a")
			w.send(a, 1, 2)
			if got, want := r.texts("a"), strings.Repeat(" 1 2", n+1); got != want {
				t.Errorf("after %d returns: %q, want %q", n, got, want)
			}
			a.Disconnect(gateway.ReasonConnectionLost)
			synctest.Wait()
			time.Sleep(time.Second)
		}
	})
}

// Beyond the bound of parked clients those that are away are reported without Settle. The
// others wait for it.
func TestADisconnectionOfMoreThanCanBeParked(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		const settle, many = 5 * time.Minute, maxParked + 3*maxTaken
		h := w.create(r, Spec{Settle: settle, Filter: feed.Filter{Types: []string{"client.disconnected", "message.received"}}})
		healthy := w.connect("healthy")
		var links []*gatewaytest.Link
		for i := range many {
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		for _, l := range links {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		w.send(healthy, 1, 3)
		time.Sleep(time.Second)
		w.want(r, "healthy", count(3))
		if n := len(r.all()) - 3; n < maxTaken || n > many-maxParked {
			t.Errorf("%d ends were reported at once, want at least %d and at most %d", n, maxTaken, many-maxParked)
		}
		time.Sleep(settle + settle/10 + time.Minute)
		ended := map[string]int{}
		for _, b := range r.all() {
			ended[b.Client]++
		}
		for i := range many {
			if got := ended[fmt.Sprint("c", i)]; got != 1 {
				t.Fatalf("c%d was reported %d times, want once", i, got)
			}
		}
		if s := w.status(h); s.Parked != 0 || s.Waiting != 0 || s.Lag != 0 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

// Clients that come back and leave again within Settle, many at once, do not delay one that
// is back for good.
func TestClientsThatFlapDelayNoOther(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		const settle, many = 5 * time.Minute, 3 * maxTaken
		h := w.create(r, Spec{Settle: settle, Filter: feed.Filter{Types: []string{"client.*", "message.received"}}})
		var links []*gatewaytest.Link
		for i := range many {
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		for _, l := range links {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		for i := 10; i < many; i++ { // they are back for a moment
			w.connect(gateway.ClientID(fmt.Sprint("c", i))).Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		time.Sleep(30 * time.Second)
		for i := range 10 {
			id := gateway.ClientID(fmt.Sprint("c", i))
			w.send(w.connect(id), 1, 1)
			time.Sleep(time.Second)
			w.want(r, string(id), " 1")
		}
		time.Sleep(settle + settle/10 + time.Minute)
		ended := map[string]int{}
		for _, b := range r.all() {
			if b.Type == "client.disconnected" {
				ended[b.Client]++
			}
		}
		if len(ended) != many-10 {
			t.Errorf("%d clients were reported, want %d", len(ended), many-10)
		}
		for id, n := range ended {
			if n != 1 {
				t.Errorf("%s was reported %d times", id, n)
			}
		}
		if s := w.status(h); s.Parked != 0 || s.Waiting != 0 || s.Lag != 0 {
			t.Errorf("at the end: %+v", s)
		}
	})
}

// The return of a client that is back within Settle is not reported either if an event of the
// time between fails.
func TestAReturnBehindAnEventThatFails(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, n int) *http.Response {
			if b.Type == "message.acked" && n <= 2 {
				return status(500)
			}
			return status(204)
		})
		w.create(r, Spec{Settle: 5 * time.Minute, Filter: feed.Filter{Types: []string{"client.*", "message.acked"}}})
		links := []*gatewaytest.Link{w.connect("a")}
		for i := range 2 * maxTaken { // so many that they are parked
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		time.Sleep(time.Second)
		before := len(r.all())
		for _, l := range links {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		w.note("a")
		w.connect("a")
		time.Sleep(time.Minute)
		var list []string
		for _, b := range r.all()[before:] {
			list = append(list, b.Client+" "+b.Type)
		}
		if got := strings.Join(list, ", "); got != "a message.acked" {
			t.Errorf("reported: %s; want the event between alone", got)
		}
	})
}

// A webhook that asks for disconnections alone does not report a client that is back within
// Settle either: it need not ask for the returns.
func TestSettleOfDisconnectionsAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{Settle: 30 * time.Second, Filter: feed.Filter{Types: []string{"client.disconnected"}}})
		back, late, gone := w.connect("back"), w.connect("late"), w.connect("gone")
		for _, l := range []*gatewaytest.Link{back, late, gone} {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		w.connect("back")
		time.Sleep(27 * time.Second)
		if all := r.all(); len(all) > 0 {
			t.Errorf("before the time is over: %+v", all)
		}
		time.Sleep(5 * time.Second)
		w.connect("late")
		time.Sleep(time.Minute)
		var list []string
		for _, b := range r.all() {
			list = append(list, b.Client)
		}
		slices.Sort(list)
		if got := strings.Join(list, " "); got != "gone late" {
			t.Errorf("reported: %s, want gone late", got)
		}
		if s := w.status(h); s.Lag != 0 || s.Waiting != 0 {
			t.Errorf("at the end: %+v", s)
		}
		if all, err := w.m.Attempts(h.ID, apikey.Limit{}); err != nil || len(all) != 2 {
			t.Errorf("%d attempts, %v; want 2", len(all), err)
		}
	})
}

// A client that was back within Settle, and has left again in that time, is reported once,
// also to a webhook that asks for disconnections alone.
func TestSettleOfDisconnectionsOfAClientThatFlaps(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		w.create(r, Spec{Settle: 30 * time.Second, Filter: feed.Filter{Types: []string{"client.disconnected"}}})
		for range 4 {
			a := w.connect("a")
			time.Sleep(5 * time.Second)
			a.Disconnect(gateway.ReasonConnectionLost)
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		time.Sleep(time.Minute)
		if all := r.all(); len(all) != 1 {
			t.Errorf("%d ends were reported, want the last one: %+v", len(all), all)
		}
	})
}

// A client that was parked for Settle does not wait for it after a change of the types that no
// longer asks for the ends of connections.
func TestAChangeOfTypesWakesThoseParkedForSettle(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{Settle: 10 * time.Minute, Filter: feed.Filter{Types: []string{"client.disconnected", "message.received"}}})
		links := []*gatewaytest.Link{w.connect("a")}
		for i := range 2 * maxTaken {
			links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
		}
		for _, l := range links {
			l.Disconnect(gateway.ReasonConnectionLost)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if s := w.status(h); s.Parked == 0 {
			t.Fatal("no client is parked")
		}
		if err := w.m.Update(t.Context(), h.ID, apikey.Limit{}, func(s *Spec) error {
			s.Filter.Types = []string{"message.received"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.send(w.connect("a"), 1, 2)
		time.Sleep(5 * time.Second)
		if got := r.texts("a"); got != "1 2" {
			t.Errorf("after the change %q came, want both uplinks", got)
		}
		if s := w.status(h); s.Parked != 0 || len(r.all()) != 2 {
			t.Errorf("%d clients are parked, and %d events came; want 0 and 2", s.Parked, len(r.all()))
		}
	})
}

// What a client sends that is back within Settle comes at once, also to a webhook that does
// not ask for its return: if few clients are away, and if so many are that they are parked.
func TestAReturnThatIsNotAskedFor(t *testing.T) {
	for _, others := range []int{0, 2 * maxTaken} {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			h := w.create(r, Spec{Settle: 10 * time.Minute, Filter: feed.Filter{Types: []string{"client.disconnected", "message.received"}}})
			links := []*gatewaytest.Link{w.connect("a")}
			for i := range others {
				links = append(links, w.connect(gateway.ClientID(fmt.Sprint("c", i))))
			}
			for _, l := range links {
				l.Disconnect(gateway.ReasonConnectionLost)
			}
			synctest.Wait()
			time.Sleep(time.Second)
			a := w.connect("a")
			w.send(a, 1, 2)
			time.Sleep(time.Second)
			if got := r.texts("a"); got != "1 2" {
				t.Errorf("with %d others away: %q came, want the uplinks alone", others, got)
			}
			time.Sleep(20 * time.Minute)
			if n := len(r.all()); n != 2+others {
				t.Errorf("at the end %d events came, want 2 and the ends of %d", n, others)
			}
			if err := w.m.Replay(h.ID, apikey.Limit{}, 0, w.g.LastEvent()); err != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Minute)
			for _, b := range r.all() {
				if b.Type == "client.connected" {
					w.Fatalf("%s %s came, which is not asked for", b.Client, b.Type)
				}
			}
			if s := w.status(h); s.Parked != 0 || s.Waiting != 0 || s.Lag != 0 {
				t.Errorf("at the end: %+v", s)
			}
		})
	}
}
