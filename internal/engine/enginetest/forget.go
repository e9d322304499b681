package enginetest

import (
	"fmt"
	"time"

	"github.com/longwire/longwire/gateway"
)

// forgetTests are about clients that are forgotten, and what stays of them.
var forgetTests = []test{
	{name: "ForgetClient cancels the queue and removes the client", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		h.member("a", "g")
		h.register("b")
		one, list := h.push("a", "1"), h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}, "2"))
		many, acked := h.accept(h.to(gateway.Audience{All: true}, "3")), h.push("a", "4")
		h.settle(h.outcome(acked, "a", gateway.Acked))
		before := h.client("a")
		n, err := h.store.ForgetClient(ctx, "a", h.clock.Now())
		h.must(err)
		if n != 3 {
			h.Errorf("canceled %d, want 3", n)
		}
		h.wantState(acked.ID, "a", gateway.Acked)
		for _, m := range []gateway.Message{one, list, many} {
			if _, notified := h.rec.settlement(m.ID, "a"); !notified {
				h.Errorf("the answer comes before the observer is notified")
			}
			if d := h.delivery(m.ID, "a"); d.State != gateway.Canceled || d.Reason != gateway.ReasonClientForgotten {
				h.Errorf("delivery is %v, %q", d.State, d.Reason)
			}
		}
		_, err = h.store.Client("a")
		h.wantCode(err, gateway.CodeClientNotFound)
		_, err = h.store.ForgetClient(ctx, "a", h.clock.Now())
		h.wantCode(err, gateway.CodeClientNotFound)
		h.same("queue", h.queue("a"), nil)
		h.same("the other's queue", h.queue("b"), []string{"2", "3"})
		for what, to := range map[string]gateway.Audience{"group": {Group: "g"}, "labels": {Labels: map[string]string{"k": "v"}}} {
			if m := h.accept(h.to(to, "x")); m.Counts.Total != 0 {
				h.Errorf("the %s selects %d clients, want none", what, m.Counts.Total)
			}
		}

		// An answer of the session that was ended changes nothing, nor does its end.
		for _, m := range []gateway.Message{one, list, many} {
			o := h.outcome(m, "a", gateway.Acked)
			o.Ref = before.Ref
			h.settle(o)
		}
		h.store.Disconnected(gateway.Disconnection{Client: "a", Epoch: before.Epoch, At: h.clock.Now(), Reason: gateway.ReasonClientForgotten})
		after := h.push("b", "5")
		h.settle(h.outcome(after, "b", gateway.Acked)) // behind the others in the log
		h.awaitNotified(after.ID, "b")
		for _, m := range []gateway.Message{one, list, many} {
			if d := h.delivery(m.ID, "a"); d.State != gateway.Canceled || !d.LateAckAt.IsZero() {
				h.Errorf("after the answer the delivery is %v, with a late ack at %v", d.State, d.LateAckAt)
			}
		}
	}},
	{name: "the outcome of an online call counts although its client was forgotten during the call", run: func(h *harness) {
		for _, back := range []bool{false, true} {
			h.register("a")
			a, b := h.to(gateway.Audience{Client: "a"}, "x"), h.to(gateway.Audience{Client: "a"}, "y")
			a.Online, b.Online = true, true
			cut, acked := h.accept(a), h.accept(b)
			h.forget("a")
			if back {
				h.register("a")
			}
			h.clock.advance(time.Second)
			o := h.outcome(cut, "a", gateway.Unknown)
			o.Reason = gateway.ReasonConnectionLost
			h.settle(o)
			want := gateway.Delivery{Message: cut.ID, Client: "a", Seq: cut.Seq, Online: true, State: gateway.Unknown, Reason: gateway.ReasonConnectionLost,
				Attempts: 1, CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, SentAt: o.SentAt, FinalAt: o.At}
			h.same("the outcome", h.delivery(cut.ID, "a"), want)
			if m := h.message(cut.ID); m.Counts.Unknown != 1 || !m.CompletedAt.Equal(o.At) {
				h.Errorf("the message is %+v", m)
			}
			o = h.outcome(acked, "a", gateway.Acked)
			o.Result = []byte("42")
			h.settle(o)
			if d := h.delivery(acked.ID, "a"); d.State != gateway.Acked || string(d.Result) != "42" {
				h.Errorf("the answer that came before: %+v", d)
			}

			// An answer after the outcome is one of the session that has ended.
			h.clock.advance(time.Second)
			h.must(h.store.Settle(h.outcome(cut, "a", gateway.Acked), true))
			h.register("b") // it is in the log before
			h.same("after an answer", h.delivery(cut.ID, "a"), want)
		}
	}},
	{name: "a delivery that failed because its client was unknown is none of a later client that was forgotten", run: func(h *harness) {
		m := h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a"}}, "x"))
		h.register("a")
		h.forget("a")
		h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), true))
		h.register("b") // it is in the log before
		if d := h.delivery(m.ID, "a"); d.State != gateway.Failed || d.LateAckAt.IsZero() {
			h.Errorf("after an ack: %+v", d)
		}
	}},
	{name: "a forgotten client comes back as a new one, and its epoch rises", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		h.register("a", "a")
		m, before := h.push("a", "1"), h.client("a")
		h.forget("a")
		h.clock.advance(time.Minute)
		h.register("a")
		h.store.Disconnected(gateway.Disconnection{Client: "a", Epoch: before.Epoch, At: h.clock.Now(), Reason: gateway.ReasonClientForgotten})
		h.same("record", h.client("a"), gateway.ClientRecord{ID: "a", CreatedAt: h.clock.Now(), LastSeenAt: h.clock.Now(), Epoch: before.Epoch + 1})
		h.same("queue", h.queue("a"), nil)
		page, err := h.store.ClientDeliveries(gateway.ClientDeliveryQuery{Client: "a"})
		h.must(err)
		if len(page.Items) != 0 {
			h.Errorf("the new client has %d deliveries, want none", len(page.Items))
		}
		h.wantState(m.ID, "a", gateway.Canceled)
	}},
	{name: "the events of a forgotten client keep their results, also when it is back", run: func(h *harness) {
		h.register("a", "b")
		results := map[gateway.MessageID]string{}
		for _, to := range []gateway.Audience{{Client: "a"}, {Clients: []gateway.ClientID{"a", "b"}}, {All: true}} {
			m := h.accept(h.to(to, "x"))
			o := h.outcome(m, "a", gateway.Acked)
			o.Result = []byte("result of " + string(m.ID))
			h.settle(o)
			results[m.ID] = string(o.Result)

			m = h.accept(h.to(to, "late"))
			h.settle(h.outcome(m, "a", gateway.Failed))
			o = h.outcome(m, "a", gateway.Acked)
			o.Result = []byte("late result of " + string(m.ID))
			h.must(h.store.Settle(o, true))
			results[m.ID] = string(o.Result)
		}
		h.barrier("b")
		check := func(when string) {
			h.Helper()
			events, _, err := h.store.Events(0, 1000, nil)
			h.must(err)
			got := map[gateway.MessageID]string{}
			for _, e := range events {
				if e.Gone {
					h.Errorf("%s: the %s event of %s has lost its result", when, e.Type, e.Message)
				}
				if len(e.Result) > 0 && e.Client == "a" {
					got[e.Message] = string(e.Result)
				}
			}
			h.same(when, got, results)
		}
		check("before")
		h.forget("a")
		check("forgotten")
		h.register("a")
		check("back")
	}},
	{name: "pages of deliveries go on behind a client that was forgotten, also when it is back", run: func(h *harness) {
		ids := []gateway.ClientID{"a", "b", "c", "d", "e", "f"}
		h.register(ids...)
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		for _, back := range []int{0, 1, 2} { // times that it came back
			for _, state := range []gateway.State{0, gateway.Queued} {
				q := gateway.DeliveryQuery{Message: m.ID, State: state, Limit: 1}
				got := map[gateway.ClientID]int{}
				for {
					page, err := h.store.Deliveries(q)
					h.must(err)
					for _, d := range page.Items {
						got[d.Client]++
					}
					if !page.More {
						break
					}
					q.After = page.Next
				}
				want := map[gateway.ClientID]int{}
				for _, id := range ids {
					if state == 0 || h.delivery(m.ID, id).State == state {
						want[id] = 1
					}
				}
				h.same(fmt.Sprintf("back %d times, state %v", back, state), got, want)
			}
			h.forget("c")
			h.register("c")
		}
	}},
	{name: "a message keeps its recipients, also those forgotten long before its end", run: func(h *harness) {
		h.register("a", "b", "c")
		h.disconnect("a", gateway.ReasonShutdown)
		var ids []gateway.MessageID
		for _, to := range []gateway.Audience{{Client: "b"}, {Clients: []gateway.ClientID{"a", "b"}}, {All: true}} {
			a := h.to(to, "x")
			a.ExpiresAt = a.CreatedAt.Add(gateway.MaxTTL)
			ids = append(ids, h.accept(a).ID)
		}
		_, err := h.store.ForgetClient(ctx, "b", h.clock.Now())
		h.must(err)
		later := h.accept(h.to(gateway.Audience{All: true}, "y"))
		h.advance(gateway.MaxTTL + 10*24*time.Hour) // at once: a step of the clock, or a long stop
		check := func(gone int) {
			h.Helper()
			for i, id := range ids {
				if i < gone {
					_, err := h.store.Message(id)
					h.wantCode(err, gateway.CodeMessageNotFound)
					continue
				}
				m := h.message(id)
				page, err := h.store.Deliveries(gateway.DeliveryQuery{Message: id})
				h.must(err)
				got := map[gateway.ClientID]gateway.State{}
				for _, d := range page.Items {
					got[d.Client] = d.State
				}
				if len(got) != m.Counts.Total || got["b"] != gateway.Canceled || h.delivery(id, "b").State != gateway.Canceled {
					h.Errorf("message %d has %d recipients, the list has %v", i, m.Counts.Total, got)
				}
			}
		}
		check(1) // it ended when b was forgotten
		h.advance(6 * 24 * time.Hour)
		check(1)
		h.advance(2 * 24 * time.Hour)
		check(len(ids))
		_, err = h.store.Message(later.ID)
		h.wantCode(err, gateway.CodeMessageNotFound)
	}},
}
