package enginetest

import (
	"fmt"
	"time"

	"github.com/longwire/longwire/gateway"
)

var observerTests = []test{
	{name: "each final state is reported once and in log order", run: func(h *harness) {
		h.register("a")
		var ids []gateway.MessageID
		for i := range 200 {
			m := h.push("a", fmt.Sprint(i))
			h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), i%7 == 0))
			ids = append(ids, m.ID)
		}
		h.awaitNotified(ids[len(ids)-1], "a")
		var got []gateway.MessageID
		for _, x := range h.rec.all() {
			got = append(got, x.Delivery.Message)
		}
		h.same("order", got, ids)
	}},
	{name: "every final state is reported before Close returns", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), false))
		if !h.reopen() {
			h.must(h.store.Close())
			if _, ok := h.rec.settlement(m.ID, "a"); !ok {
				h.Error("Close returned, and the observer was not notified")
			}
			return
		}
		h.wantState(m.ID, "a", gateway.Acked)
	}},
}

var cancelTests = []test{
	{name: "a message to one is withdrawn", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.clock.advance(time.Second)
		got, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
		h.must(err)
		if _, notified := h.rec.settlement(m.ID, "a"); !notified {
			h.Errorf("the cancel is answered before the observer is notified")
		}
		h.same("counts", got.Counts, gateway.Counts{Total: 1, Canceled: 1})
		if !got.CompletedAt.Equal(h.clock.Now()) {
			h.Errorf("completed at %v, want %v", got.CompletedAt, h.clock.Now())
		}
		h.same("queue", h.queue("a"), nil)
		d := h.delivery(m.ID, "a")
		if d.State != gateway.Canceled || !d.FinalAt.Equal(h.clock.Now()) {
			h.Errorf("delivery is %v at %v", d.State, d.FinalAt)
		}
		if st := h.awaitNotified(m.ID, "a"); st.Delivery.State != gateway.Canceled || st.Completed == nil {
			h.Errorf("notified of %v, completed %v", st.Delivery.State, st.Completed)
		}
		if c := h.client("a"); c.Queued != 0 || c.QueuedBytes != 0 {
			h.Errorf("%d queued with %d bytes", c.Queued, c.QueuedBytes)
		}
	}},
	{name: "a message to many is withdrawn from who has not got it", run: func(h *harness) {
		h.register("a", "b", "c")
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		h.settle(h.outcome(m, "a", gateway.Acked))
		got, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
		h.must(err)
		h.same("counts", got.Counts, gateway.Counts{Total: 3, Acked: 1, Canceled: 2})
		h.wantState(m.ID, "a", gateway.Acked)
		h.wantState(m.ID, "b", gateway.Canceled)
		h.same("queue", h.queue("c"), nil)
		if c := h.client("c"); c.Queued != 0 {
			h.Errorf("%d queued, want 0", c.Queued)
		}
		h.wantAll(m.ID, gateway.Canceled, 2)
	}},
	{name: "what is final cannot be withdrawn", run: func(h *harness) {
		h.register("a", "b")
		one := h.push("a", "x")
		many := h.accept(h.to(gateway.Audience{All: true}, "x"))
		h.settle(h.outcome(one, "a", gateway.Acked))
		_, err := h.store.Cancel(ctx, many.ID, h.clock.Now())
		h.must(err)
		for _, m := range []gateway.Message{one, many} {
			_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
			h.wantCode(err, gateway.CodeAlreadyFinal)
		}
		_, err = h.store.Cancel(ctx, h.id(), h.clock.Now())
		h.wantCode(err, gateway.CodeMessageNotFound)
	}},
	{name: "Purge cancels one client's queue", run: func(h *harness) {
		h.register("a", "b")
		one, many, other := h.push("a", "1"), h.accept(h.to(gateway.Audience{All: true}, "2")), h.push("b", "3")
		n, err := h.store.Purge(ctx, "a", gateway.Span{}, h.clock.Now())
		h.must(err)
		if n != 2 {
			h.Errorf("purged %d, want 2", n)
		}
		for _, m := range []gateway.Message{one, many} {
			if _, notified := h.rec.settlement(m.ID, "a"); !notified {
				h.Errorf("the purge is answered before the observer is notified")
			}
		}
		h.same("queue", h.queue("a"), nil)
		h.same("the other's queue", h.queue("b"), []string{"2", "3"})
		for _, m := range []gateway.Message{one, many} {
			if d := h.delivery(m.ID, "a"); d.State != gateway.Canceled || d.Reason != gateway.ReasonPurged {
				h.Errorf("delivery is %v, %q", d.State, d.Reason)
			}
			h.awaitNotified(m.ID, "a")
		}
		h.wantState(other.ID, "b", gateway.Queued)
		h.wantState(many.ID, "b", gateway.Queued)
		for _, id := range []gateway.ClientID{"a", "nobody"} {
			if n, err := h.store.Purge(ctx, id, gateway.Span{}, h.clock.Now()); n != 0 || err != nil {
				h.Errorf("purge of an empty queue: %d, %v", n, err)
			}
		}
	}},
	{name: "Purge cancels one client's queue within a span", run: func(h *harness) {
		h.register("a", "b")
		h.push("a", "0")
		one, many := h.push("a", "1"), h.accept(h.to(gateway.Audience{All: true}, "2"))
		h.push("b", "3")
		last := h.push("a", "4")
		n, err := h.store.Purge(ctx, "a", gateway.Span{After: one.Seq, Through: many.Seq}, h.clock.Now())
		h.must(err)
		if n != 1 {
			h.Errorf("purged %d, want 1", n)
		}
		h.same("queue", h.queue("a"), []string{"0", "1", "4"})
		h.same("the other's queue", h.queue("b"), []string{"2", "3"})
		h.wantState(one.ID, "a", gateway.Queued)
		h.wantState(many.ID, "a", gateway.Canceled)
		h.wantState(last.ID, "a", gateway.Queued)
		h.wantState(many.ID, "b", gateway.Queued)
		if n, err := h.store.Purge(ctx, "a", gateway.Span{After: one.Seq, Through: many.Seq}, h.clock.Now()); n != 0 || err != nil {
			h.Errorf("the same purge again: %d, %v", n, err)
		}
	}},
}

// wantAll waits until the observer was notified that the rest of a message became
// final in one step.
func (h *harness) wantAll(id gateway.MessageID, state gateway.State, n int) {
	h.Helper()
	var x notification
	h.eventually("the observer is notified of all", func() (ok bool) {
		x, ok = h.rec.settledAll(id)
		return ok
	})
	if x.state != state || x.n != n {
		h.Errorf("notified that %d became %v, want %d %v", x.n, x.state, n, state)
	}
	if !x.all.Completed() || *x.all.Counts.Of(state) < n {
		h.Errorf("notified of the counts %+v", x.all.Counts)
	}
	if got := h.completions(id); got != 1 {
		h.Errorf("%d notifications of the completion, want one", got)
	}
}

var expiryTests = []test{
	{name: "a message to one expires at its time", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.advance(time.Hour - time.Millisecond)
		h.wantState(m.ID, "a", gateway.Queued)
		h.advance(time.Millisecond)
		st := h.awaitNotified(m.ID, "a")
		if st.Delivery.State != gateway.Expired || st.Completed == nil {
			h.Errorf("notified of %v, completed %v", st.Delivery.State, st.Completed)
		}
		d := h.delivery(m.ID, "a")
		if d.State != gateway.Expired || d.FinalAt.Before(m.ExpiresAt) {
			h.Errorf("delivery is %v since %v", d.State, d.FinalAt)
		}
		if c := h.client("a"); c.Queued != 0 || c.QueuedBytes != 0 {
			h.Errorf("%d queued with %d bytes", c.Queued, c.QueuedBytes)
		}
	}},
	{name: "a message to many expires in one step", run: func(h *harness) {
		h.register("a", "b", "c")
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		h.settle(h.outcome(m, "a", gateway.Acked))
		h.advance(time.Hour)
		h.wantAll(m.ID, gateway.Expired, 2)
		h.same("counts", h.message(m.ID).Counts, gateway.Counts{Total: 3, Acked: 1, Expired: 2})
		h.wantState(m.ID, "a", gateway.Acked)
		h.wantState(m.ID, "b", gateway.Expired)
		for _, id := range []gateway.ClientID{"a", "b", "c"} {
			if c := h.client(id); c.Queued != 0 {
				h.Errorf("%s has %d queued", id, c.Queued)
			}
		}
	}},
	{name: "what is final does not expire", run: func(h *harness) {
		h.register("a", "b")
		one, many := h.push("a", "x"), h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}, "x"))
		h.settle(h.outcome(one, "a", gateway.Acked))
		h.settle(h.outcome(many, "a", gateway.Acked))
		h.settle(h.outcome(many, "b", gateway.Acked))
		h.advance(2 * time.Hour)
		h.barrier("a")
		h.wantState(one.ID, "a", gateway.Acked)
		h.wantState(many.ID, "b", gateway.Acked)
		if _, ok := h.rec.settledAll(many.ID); ok {
			h.Error("notified that a completed message expired")
		}
	}},
	{name: "each at its own time", run: func(h *harness) {
		h.register("a")
		ms := make([]gateway.Message, 10)
		for i := range ms { // the later accepted, the earlier due
			a := h.to(gateway.Audience{Client: "a"}, "x")
			a.ExpiresAt = a.CreatedAt.Add(time.Duration(10-i) * time.Minute)
			ms[i] = h.accept(a)
		}
		for i := range ms {
			h.advance(time.Minute)
			h.awaitNotified(ms[9-i].ID, "a")
			if got := len(h.transmissions("a")); got != 9-i {
				h.Fatalf("%d queued after %d minutes, want %d", got, i+1, 9-i)
			}
		}
	}},
	{name: "an expiry is proposed with the time it was judged by", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.must(h.store.ProposeExpiry(m.ID, m.ExpiresAt.Add(-time.Millisecond))) // not due then
		h.must(h.store.ProposeExpiry("msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11", m.ExpiresAt))
		h.barrier("a")
		h.wantState(m.ID, "a", gateway.Queued)
		h.must(h.store.ProposeExpiry(m.ID, m.ExpiresAt)) // the store's own clock is behind
		h.must(h.store.ProposeExpiry(m.ID, m.ExpiresAt.Add(time.Second)))
		if d := h.awaitNotified(m.ID, "a").Delivery; d.State != gateway.Expired || !d.FinalAt.Equal(m.ExpiresAt) {
			h.Errorf("notified that it is %s at %v, want %s at %v", d.State, d.FinalAt, gateway.Expired, m.ExpiresAt)
		}
		h.wantState(m.ID, "a", gateway.Expired)
	}},
	{name: "an ack after expiry is late", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.advance(time.Hour)
		h.awaitNotified(m.ID, "a")
		h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), true))
		h.eventually("the late ack is reported", func() bool { _, ok := h.rec.late(m.ID, "a"); return ok })
		h.wantState(m.ID, "a", gateway.Expired)
	}},
	{name: "a completed message is kept for the retention and then gone", opt: Options{StatusRetention: 48 * time.Hour}, run: func(h *harness) {
		h.register("a", "b")
		one := h.push("a", "x")
		many := h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "b", "ghost"}}, "x"))
		h.settle(h.outcome(one, "a", gateway.Acked))
		h.settle(h.outcome(many, "a", gateway.Acked))
		h.settle(h.outcome(many, "b", gateway.Acked))
		h.advance(48*time.Hour - time.Minute)
		h.message(one.ID)
		h.message(many.ID)
		queued := h.push("a", "still queued")
		h.advance(2 * time.Minute)
		for _, id := range []gateway.MessageID{one.ID, many.ID} {
			h.eventually("the message is gone", func() bool {
				_, err := h.store.Message(id)
				return gateway.CodeOf(err) == gateway.CodeMessageNotFound
			})
			_, err := h.store.Delivery(id, "a")
			h.wantCode(err, gateway.CodeMessageNotFound)
			_, err = h.store.Deliveries(gateway.DeliveryQuery{Message: id, Limit: 10})
			h.wantCode(err, gateway.CodeMessageNotFound)
		}
		var left []gateway.MessageID
		for _, d := range allClientDeliveries(h, h.store, gateway.ClientDeliveryQuery{Client: "a"}) {
			left = append(left, d.Message)
		}
		h.same("history", left, []gateway.MessageID{queued.ID})
		if got := h.store.Stats().Messages; got != 1 {
			h.Errorf("%d messages kept, want 1", got)
		}
	}},
	{name: "a client is forgotten when unseen and with nothing queued", opt: Options{ForgetAfter: 48 * time.Hour}, run: func(h *harness) {
		h.register("gone", "busy")
		h.disconnect("gone", gateway.ReasonConnectionLost)
		h.disconnect("busy", gateway.ReasonConnectionLost)
		h.advance(47 * time.Hour)
		h.client("gone")
		a := h.to(gateway.Audience{Client: "busy"}, "x")
		a.ExpiresAt = a.CreatedAt.Add(1000 * time.Hour)
		m := h.accept(a)
		h.advance(5 * time.Hour)
		h.eventually("the client is forgotten", func() bool {
			_, err := h.store.Client("gone")
			return gateway.CodeOf(err) == gateway.CodeClientNotFound
		})
		h.client("busy")
		if got := h.accept(h.to(gateway.Audience{All: true}, "x")).Counts.Total; got != 1 {
			h.Errorf("all is %d clients, want 1", got)
		}
		_, err := h.store.Purge(ctx, "busy", gateway.Span{}, h.clock.Now())
		h.must(err)
		h.advance(100 * time.Hour)
		h.eventually("the other client is forgotten, too", func() bool {
			_, err := h.store.Client("busy")
			return gateway.CodeOf(err) == gateway.CodeClientNotFound
		})
		h.message(m.ID) // its messages are kept by their own rule
		h.register("gone")
		if c := h.client("gone"); !c.CreatedAt.Equal(h.clock.Now()) {
			h.Errorf("a forgotten client comes back as created at %v", c.CreatedAt)
		}
	}},
}
