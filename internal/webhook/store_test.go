package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/feed"
)

// restart kills the manager and starts another one over a store that is whole again.
func (w *world) restart() {
	w.Helper()
	w.kill()
	w.store.puts.Store(0)
	w.store.mute.Store(false)
	w.start()
}

// entriesOf returns the keys of the store that name a webhook.
func (w *world) entriesOf(id string) (keys []string) {
	w.Helper()
	err := w.g.EachEntry("webhook", func(rest string, _ []byte) error {
		if strings.Contains(rest, id) {
			keys = append(keys, rest)
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return keys
}

// A save of many webhooks takes several records. A crash between two of them loses no event,
// of webhooks that followed the log and now wait, and of those that follow it for the first time.
func TestACrashBetweenTheRecordsOfASaveLosesNothing(t *testing.T) {
	for _, first := range []bool{false, true} {
		inWorld(t, func(w *world) {
			var all []*receiver
			for i := range entriesOfARecord + 50 {
				r := w.receiver(fmt.Sprint("r", i))
				r.answers(func(context.Context, body, int) *http.Response { return status(500) })
				w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.received"}}})
				all = append(all, r)
			}
			if !first {
				time.Sleep(3 * saveEvery) // all follow, and the store says so
			}
			a := w.connect("a")
			w.store.puts.Store(1 + 1)
			if first {
				time.Sleep(2 * saveEvery)
			}
			w.send(a, 1, 1)
			time.Sleep(2 * saveEvery)
			for _, r := range all {
				r.answers(nil)
			}
			w.restart()
			time.Sleep(time.Minute)
			lost := 0
			for _, r := range all {
				if len(r.all()) == 0 {
					lost++
				}
			}
			if lost > 0 {
				w.Errorf("at the first save: %v; %d of %d webhooks have lost the event", first, lost, len(all))
			}
		})
	}
}

// A deletion of which a part fails is either done or not, and leaves nothing behind.
func TestADeletionIsWhole(t *testing.T) {
	for puts := range int64(4) {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			h := w.create(r, Spec{})
			var letters []gateway.Entry
			for n := range uint64(2 * entriesOfARecord) {
				letters = append(letters, entry(deadKey(h.ID, n+1), DeadLetter{Event: n + 1, Error: "no"}))
			}
			if err := w.store.Store.Put(w.Context(), letters); err != nil {
				w.Fatal(err)
			}
			time.Sleep(2 * saveEvery)
			w.store.puts.Store(puts + 1)
			err := w.m.Delete(w.Context(), h.ID, apikey.Limit{})
			there := len(w.m.List(apikey.Limit{})) > 0
			if there != (err != nil) {
				w.Errorf("after %d writes: there %v, and the deletion returned %v", puts, there, err)
			}
			w.restart()
			time.Sleep(3 * saveEvery)
			if again := len(w.m.List(apikey.Limit{})) > 0; again != there {
				w.Errorf("after %d writes: there before the restart %v, after it %v", puts, there, again)
			}
			if keys := w.entriesOf(h.ID); !there && len(keys) > 0 {
				w.Errorf("after %d writes: the webhook is gone, and the store has %d of its entries", puts, len(keys))
			}
		})
	}
}

// A webhook whose deletion has an unknown outcome stays, with its place in the log.
func TestADeletionInDoubtKeepsThePlace(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{})
		a := w.connect("a")
		w.send(a, 1, 5)
		time.Sleep(3 * saveEvery)
		w.store.unsure.Store(true)
		if err := w.m.Delete(w.Context(), h.ID, apikey.Limit{}); err == nil {
			w.Fatal("the deletion returned no error")
		}
		w.store.unsure.Store(false)
		if err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.Name = "kept"; return nil }); err != nil {
			w.Fatal(err)
		}
		time.Sleep(3 * saveEvery)
		got := len(r.all())
		w.restart()
		time.Sleep(time.Minute)
		if n := len(w.m.List(apikey.Limit{})); n != 1 {
			w.Fatalf("%d webhooks, want it kept", n)
		}
		if again := len(r.all()) - got; again > 0 {
			w.Errorf("after a restart %d events came again", again)
		}
	})
}

// The event of a disabled webhook comes also if the process ends, or the secret is rotated,
// before the log has it.
func TestTheEventOfADisablingIsNotLost(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			r.answers(func(context.Context, body, int) *http.Response { return status(410) })
			h := w.create(r, Spec{})
			after := w.g.LastEvent()
			w.store.mute.Store(true)
			w.send(w.connect("a"), 1, 1)
			time.Sleep(10 * saveEvery)
			if rotate {
				if _, err := w.m.Rotate(w.Context(), h.ID, apikey.Limit{}); err != nil {
					w.Fatal(err)
				}
				w.store.mute.Store(false)
			} else {
				w.restart()
			}
			time.Sleep(5 * time.Minute)
			events, _, err := w.store.Store.Events(after, 1000, nil)
			if err != nil {
				w.Fatal(err)
			}
			n := 0
			for _, e := range events {
				if e.Type == gateway.EventWebhookDisabled {
					n++
				}
			}
			if s := w.status(h); n != 1 || s.Condition() != Disabled {
				w.Errorf("rotated %v: it is %s, and the log has %d events of it, want disabled and 1", rotate, s.Condition(), n)
			}
		})
	}
}

// A dead letter has the whole event also if that is as large as one can be, and keeps no
// webhook's place from being stored.
func TestALargeDeadLetter(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "big" {
				return status(422)
			}
			return status(200)
		})
		h := w.create(r, Spec{RetryFor: time.Minute, Filter: feed.Filter{Types: []string{"message.received", "message.acked"}}})
		small := w.connect("small")
		payload := bytes.Repeat([]byte("<"), gateway.MaxPayload) // in JSON six times as long
		if err := w.g.Note(w.Context(), gateway.Event{Type: gateway.EventMessageAcked, At: time.Now(), Client: "big", Result: payload}); err != nil {
			w.Fatal(err)
		}
		for i := range 30 { // the endpoint is not down
			w.send(small, i+1, i+1)
			time.Sleep(30 * time.Second)
		}
		dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10)
		if err != nil || len(dead) != 1 || len(dead[0].Body) < 6*len(payload) {
			w.Fatalf("%d dead letters, %v, want the large one; %+v", len(dead), err, w.status(h))

		}
		got := len(r.all())
		w.restart()
		time.Sleep(time.Minute)
		if again := len(r.all()) - got; again > 0 {
			w.Errorf("after a restart %d events came again", again)
		}
	})
}

// Redelivered dead letters leave their room to others.
func TestRedeliveredLettersAreNotCounted(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{})
		w.m.mu.Lock()
		e := w.m.endpoints[h.ID]
		for n := range uint64(10) {
			e.dead = append(e.dead, DeadLetter{Event: n + 1, ID: fmt.Sprint("evt_", n+1), Body: fmt.Appendf(nil, `{"Seq":%d}`, n+1), Error: "no"})
		}
		w.m.mu.Unlock()
		if n, failed, err := w.m.Redeliver(w.Context(), h.ID, apikey.Limit{}); n != 10 || err != nil {
			w.Fatalf("%d, %q, %v, want 10", n, failed, err)
		}
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		if len(e.buried) > 0 {
			w.Errorf("%d dead letters are counted, want none", len(e.buried))
		}
	})
}

// An event that cannot be read is no failure of its endpoint: without a request it is not
// down, and a webhook without other events is not disabled.
func TestAnEventThatCannotBeReadIsNoFailureOfItsEndpoint(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{RetryFor: time.Hour})
		text := "1"
		w.unread.Store(&text)
		w.send(w.connect("a"), 1, 2)
		time.Sleep(10 * time.Minute)
		if s := w.status(h); s.Down || !s.Failing.IsZero() {
			w.Errorf("after ten minutes: down %v, failing since %v", s.Down, s.Failing)
		}
		time.Sleep(6 * 24 * time.Hour)
		dead, _, err := w.m.Dead(h.ID, apikey.Limit{}, 0, 10)
		if s := w.status(h); s.Condition() != Active || len(dead) != 1 || err != nil {
			w.Errorf("after six days: %s, %d dead letters, %v", s.Condition(), len(dead), err)
		}
		w.want(r, "a", "2")
	})
}

// An event that was sent and failed is sent again although its client has left the group, or
// the store, in the meantime: the webhook has selected it.
func TestARetryIsNotJudgedAgain(t *testing.T) {
	for _, forget := range []bool{false, true} {
		inWorld(t, func(w *world) {
			r := w.receiver("r")
			h := w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.acked"}, Group: "g"}})
			groups := []string{"g"}
			if _, err := w.g.CreateClient(w.Context(), "a", gateway.ClientChange{Groups: &groups}); err != nil {
				w.Fatal(err)
			}
			r.answers(func(context.Context, body, int) *http.Response { return status(500) })
			w.note("a")
			w.note("a")
			time.Sleep(10 * time.Second)
			if s := w.status(h); s.Parked != 1 {
				w.Fatalf("%d parked clients, want 1", s.Parked)
			}
			var err error
			if forget {
				_, err = w.g.Forget(w.Context(), "a")
			} else {
				groups = nil
				_, err = w.g.UpdateClient(w.Context(), "a", gateway.ClientChange{Groups: &groups})
			}
			if err != nil {
				w.Fatal(err)
			}
			r.answers(nil)
			w.restart()
			time.Sleep(5 * time.Minute)
			if got := r.all(); len(got) != 1 {
				w.Errorf("forgotten %v: %d events, want the one that had failed", forget, len(got))
			}
			if s := w.status(h); s.Parked > 0 {
				w.Errorf("forgotten %v: %d parked clients", forget, s.Parked)
			}
		})
	}
}

// A change of the filter holds for the events that had failed before, too.
func TestARetryIsJudgedByANewFilter(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.acked"}, Group: "g"}})
		groups := []string{"g"}
		if _, err := w.g.CreateClient(w.Context(), "a", gateway.ClientChange{Groups: &groups}); err != nil {
			w.Fatal(err)
		}
		r.answers(func(context.Context, body, int) *http.Response { return status(500) })
		w.note("a")
		time.Sleep(10 * time.Second)
		if s := w.status(h); s.Parked != 1 {
			w.Fatalf("%d parked clients, want 1", s.Parked)
		}
		r.answers(nil)
		if err := w.m.Update(w.Context(), h.ID, apikey.Limit{}, func(s *Spec) error { s.Filter.Group = "other"; return nil }); err != nil {
			w.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if got := r.all(); len(got) > 0 {
			w.Errorf("%d events that the filter does not select", len(got))
		}
		if s := w.status(h); s.Parked > 0 {
			w.Errorf("%d parked clients", s.Parked)
		}
	})
}

// A change, a rotation or a creation whose outcome is unknown has not happened, also after a
// restart: nobody knows the new secret.
func TestAChangeInDoubtHasNotHappened(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{})
		r.signedWith(h)
		w.store.unsure.Store(true)
		if _, err := w.m.Rotate(w.Context(), h.ID, apikey.Limit{}); err == nil {
			w.Fatal("the rotation returned no error")
		}
		if _, err := w.m.Create(w.Context(), Spec{URL: "https://r"}, apikey.Limit{}, true, w.g.LastEvent()); err == nil {
			w.Fatal("the creation returned no error")
		}
		w.store.unsure.Store(false)
		time.Sleep(3 * saveEvery)
		w.restart()
		time.Sleep(oldSecretFor + time.Hour)
		w.send(w.connect("a"), 1, 1)
		w.want(r, "a", "1")
		if n := len(w.m.List(apikey.Limit{})); n != 1 {
			w.Errorf("%d webhooks, want 1", n)
		}
	})
}

// A replay of more than the log has kept is no loss of the webhook.
func TestAReplayMissesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		h := w.create(r, Spec{})
		w.send(w.connect("a"), 1, 3)
		if err := w.m.Replay(h.ID, apikey.Limit{}, 0, w.g.LastEvent()); err != nil {
			w.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.want(r, "a", "1 2 3 1 2 3")
		if s := w.status(h); s.Missed > 0 {
			w.Errorf("after a replay the webhook has missed %d", s.Missed)
		}
	})
}

// The events of parked clients are read again in turn, as those of webhooks that are behind: a
// webhook with parked clients does not take more processors.
func TestParkedClientsAreReadInTurn(t *testing.T) {
	inWorldOf(t, memstore.Options{}, gateway.Config{EventBuffer: 1}, func(w *world) {
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response { return status(500) })
		h := w.create(r, Spec{})
		w.send(w.connect("a"), 1, 9)
		time.Sleep(10 * time.Second)
		if s := w.status(h); s.Parked != 1 {
			w.Fatalf("%d parked clients, want 1", s.Parked)
		}
		for range cap(w.m.slots) {
			w.m.slots <- struct{}{}
		}
		r.answers(nil)
		before := w.store.reads.Load()
		time.Sleep(5 * time.Minute)
		if n := w.store.reads.Load() - before; n > 0 {
			w.Errorf("%d reads of the log without a turn", n)
		}
		for range cap(w.m.slots) {
			<-w.m.slots
		}
		synctest.Wait()
		w.want(r, "a", count(9))
	})
}

// A write of the position in the log whose outcome is unknown is repeated, also if the webhook
// is by then where it was before: otherwise a restart would begin behind the event that waits.
func TestAPositionInDoubtIsWrittenAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.connect("a")
		synctest.Wait()
		r := w.receiver("r")
		r.answers(func(context.Context, body, int) *http.Response { return status(500) })
		w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.received"}}})
		w.store.unsure.Store(true)
		time.Sleep(saveEvery + saveEvery/2) // the store has that the webhook follows the log
		w.store.unsure.Store(false)
		w.send(a, 1, 1)
		time.Sleep(2 * saveEvery)
		r.answers(nil)
		w.restart()
		time.Sleep(time.Minute)
		w.want(r, "a", "1")
	})
}

// A parked client is tried again after a pause of its failures at most, also if the process was
// started again on a clock that was set back meanwhile.
func TestAParkedClientOnAClockThatWasSetBack(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.receiver("r")
		r.answers(func(_ context.Context, b body, _ int) *http.Response {
			if b.Client == "a" {
				return status(500)
			}
			return status(200)
		})
		h := w.create(r, Spec{Filter: feed.Filter{Types: []string{"message.received"}}})
		a := w.connect("a")
		w.send(a, 1, 1)
		for w.status(h).Parked == 0 {
			time.Sleep(time.Second)
		}
		time.Sleep(2 * saveEvery)
		r.answers(nil)
		w.kill()
		var parked []gateway.Entry
		err := w.g.EachEntry(keyParked, func(rest string, v []byte) error {
			var p parking
			if err := json.Unmarshal(v, &p); err != nil {
				return err
			}
			p.Next = p.Next.Add(time.Hour) // as a clock that is an hour behind shows it
			parked = append(parked, entry(keyParked+rest, p))
			return nil
		})
		if err != nil || len(parked) != 1 {
			w.Fatal(len(parked), err)
		}
		if err := w.store.Put(w.Context(), parked); err != nil {
			w.Fatal(err)
		}
		w.start()
		time.Sleep(time.Minute) // three failures have a pause of 36 s at most
		w.want(r, "a", "1")
	})
}
