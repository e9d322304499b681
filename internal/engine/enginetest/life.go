package enginetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/gateway"
)

var lifeTests = []test{
	{name: "a store is healthy and has a log", run: func(h *harness) {
		h.must(h.store.Health())
		if h.store.Log() == "" {
			h.Error("the log has no name")
		}
	}},
	{name: "a closed store accepts nothing", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		if h.reopen() { // the store that was closed is gone: use the new one
			h.register("a")
		}
		h.must(h.store.Close())
		_, err := h.store.Accept(ctx, h.to(gateway.Audience{Client: "a"}, "x"))
		h.wantUnavailable(err)
		h.wantUnavailable(h.store.Settle(h.outcome(m, "a", gateway.Acked), true))
		if h.store.TrySettle(h.outcome(m, "a", gateway.Acked), true) {
			h.Error("a closed store takes an outcome")
		}
		_, err = h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", At: h.clock.Now()})
		h.wantUnavailable(err)
		if h.store.Health() == nil {
			h.Error("a closed store is healthy")
		}
		h.must(h.store.Close())
		h.store = closed{h.store}
	}},
	{name: "everything goes on after a reopen", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		h.member("b", "g")
		h.disconnect("b", gateway.ReasonClientClosed)
		h.eventually("the reason is noted", func() bool { return h.client("b").LastClose != "" })
		acked := h.push("a", "acked")
		queued := h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "queued"), "k", "me", 1))
		many := h.accept(h.to(gateway.Audience{All: true}, "many"))
		h.settle(h.outcome(acked, "a", gateway.Acked))
		h.settle(h.outcome(many, "b", gateway.Acked))
		up, err := h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", At: h.clock.Now(), Payload: []byte("u")})
		h.must(err)
		if !h.reopen() {
			return // the data of this store does not survive, and it says so
		}
		if got := h.client("b").LastClose; got != gateway.ReasonClientClosed {
			h.Errorf("the last close of b is %q", got)
		}
		r, err := h.store.Accept(ctx, keyed(h.to(gateway.Audience{Client: "a"}, "queued"), "k", "me", 1))
		h.must(err)
		if !r.Replayed || r.Message.ID != queued.ID {
			h.Error("the idempotency key is forgotten")
		}
		if m := h.push("a", "new"); m.Seq <= many.Seq {
			h.Errorf("sequence %d after %d", m.Seq, many.Seq)
		}
		if seq, err := h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", At: h.clock.Now()}); err != nil || seq <= up {
			h.Errorf("uplink sequence %d after %d, error %v", seq, up, err)
		}
		h.same("queue", h.queue("a"), []string{"queued", "many", "new"})
		h.settle(h.outcome(queued, "a", gateway.Acked))
		h.advance(time.Hour)
		h.wantAll(many.ID, gateway.Expired, 1)
		h.wantState(many.ID, "a", gateway.Expired)
		h.wantState(many.ID, "b", gateway.Acked)
	}},
}

// closed hides Reopen, so that finish does not reopen a store that the test has
// closed.
type closed struct{ gateway.Store }

var concurrentTests = []test{
	{name: "callers with one key get one message", run: func(h *harness) {
		h.register("a")
		var wg sync.WaitGroup
		var fresh atomic.Int32
		ids := make([]gateway.MessageID, 16)
		for i := range ids {
			a := keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1)
			wg.Go(func() {
				r, err := h.store.Accept(ctx, a)
				if err != nil {
					h.Error(err)
				}
				if !r.Replayed {
					fresh.Add(1)
				}
				ids[i] = r.Message.ID
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				h.Errorf("%s beside %s", id, ids[0])
			}
		}
		if fresh.Load() != 1 || len(h.transmissions("a")) != 1 {
			h.Errorf("%d callers have the first message, %d are queued; want 1 and 1", fresh.Load(), len(h.transmissions("a")))
		}
	}},
	{name: "an ack and a cancel that meet leave one final state", run: func(h *harness) {
		h.register("a")
		for range 50 {
			m := h.push("a", "x")
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := h.store.Settle(h.outcome(m, "a", gateway.Acked), true); err != nil {
					h.Error(err)
				}
			})
			wg.Go(func() {
				_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
				if c := gateway.CodeOf(err); err != nil && c != gateway.CodeAlreadyFinal {
					h.Error(err)
				}
			})
			wg.Wait()
			first := h.awaitNotified(m.ID, "a").Delivery.State
			h.wantState(m.ID, "a", first)
			if got := h.message(m.ID).Counts; got.Total != 1 || *got.Of(first) != 1 {
				h.Errorf("counts are %+v", got)
			}
		}
	}},
	{name: "a limit holds against many callers", opt: Options{QueueLen: 10}, run: func(h *harness) {
		h.register("a")
		var ok atomic.Int32
		var wg sync.WaitGroup
		for range 40 {
			a := h.to(gateway.Audience{Client: "a"}, "x")
			wg.Go(func() {
				switch _, err := h.store.Accept(ctx, a); {
				case err == nil:
					ok.Add(1)
				case gateway.CodeOf(err) != gateway.CodeQueueFull:
					h.Error(err)
				}
			})
		}
		wg.Wait()
		if ok.Load() != 10 || h.client("a").Queued != 10 {
			h.Errorf("%d accepted, %d queued; want 10", ok.Load(), h.client("a").Queued)
		}
	}},
	{name: "one final state for each delivery, in order for each client", run: manyAtOnce},
}

// manyAtOnce runs clients that ack their queues and callers that push, cancel and
// purge, all at once, and then checks the sums.
func manyAtOnce(h *harness) {
	const clients, callers, pushes = 6, 4, 40
	var ids []gateway.ClientID
	for i := range clients {
		ids = append(ids, gateway.ClientID(fmt.Sprint("c", i)))
	}
	h.register(ids...)

	var pushing, draining sync.WaitGroup
	var owed atomic.Int64 // deliveries that must become final
	pushed := make(chan struct{})
	for g := range callers {
		pushing.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range pushes {
				a := gateway.Acceptance{ID: messageID(h.clock.Now(), 1+g*pushes+i), Payload: []byte{byte(g), byte(i)},
					To:        gateway.Audience{Client: ids[rnd.IntN(clients)]},
					CreatedAt: h.clock.Now(), ExpiresAt: h.clock.Now().Add(time.Hour)}
				if i%10 == 0 {
					a.To = gateway.Audience{All: true}
				}
				r, err := h.store.Accept(ctx, a)
				if err != nil {
					h.Error(err)
					return
				}
				owed.Add(int64(r.Message.Counts.Total))
				switch i % 13 {
				case 5:
					if _, err := h.store.Cancel(ctx, a.ID, h.clock.Now()); err != nil && gateway.CodeOf(err) != gateway.CodeAlreadyFinal {
						h.Error(err)
					}
				case 9:
					if _, err := h.store.Purge(ctx, ids[rnd.IntN(clients)], gateway.Span{}, h.clock.Now()); err != nil {
						h.Error(err)
					}
				}
			}
		})
	}
	for _, id := range ids {
		draining.Go(func() { drain(h, id, pushed) })
	}
	pushing.Wait()
	close(pushed)
	draining.Wait()

	final := func() (n int64) {
		for _, x := range h.rec.all() {
			if x.all != nil {
				n += int64(x.n)
			} else if !x.Late {
				n++
			}
		}
		return n
	}
	h.eventually("every delivery became final", func() bool { return final() >= owed.Load() })
	if got := final(); got != owed.Load() {
		h.Errorf("notified of %d final states for %d deliveries", got, owed.Load())
	}
	for _, m := range allMessages(h, h.store, gateway.MessageQuery{Limit: 50}) {
		if !m.Completed() || h.completions(m.ID) != 1 {
			h.Errorf("%s has %+v, %d notifications of the completion", m.ID, m.Counts, h.completions(m.ID))
		}
	}
	if st := h.store.Stats(); st.Queued != 0 {
		h.Errorf("%d still queued", st.Queued)
	}
}

// drain acts as a client: it acks its queue, in which sequences must rise, until
// the queue is empty after the last push.
func drain(h *harness, id gateway.ClientID, pushed <-chan struct{}) {
	var last gateway.Seq
	for {
		over := false
		select {
		case <-pushed:
			over = true
		case <-time.After(time.Millisecond):
		}
		transmissions, _, err := h.store.Next(gateway.TransmissionQuery{Client: id, After: last, Max: 8, MaxBytes: 1 << 20}, nil)
		if err != nil {
			h.Error(err)
			return
		}
		for _, p := range transmissions {
			if p.Seq <= last {
				h.Errorf("%s: sequence %d after %d", id, p.Seq, last)
			}
			last = p.Seq
			o := gateway.Outcome{Message: p.Message, Client: id, Seq: p.Seq, State: gateway.Acked, At: h.clock.Now()}
			if err := h.store.Settle(o, p.Seq%2 == 0); err != nil {
				h.Error(err)
				return
			}
		}
		if over && len(transmissions) == 0 {
			return
		}
	}
}
