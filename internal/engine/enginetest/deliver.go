package enginetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

var nextTests = []test{
	{name: "transmissions come in the order of acceptance", run: func(h *harness) {
		h.register("a", "b")
		var want []string
		for i := range 20 {
			p := fmt.Sprint(i)
			switch i % 3 {
			case 0:
				h.push("a", p)
			case 1:
				h.accept(h.to(gateway.Audience{All: true}, p))
			case 2:
				h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}, p))
			}
			want = append(want, p)
		}
		h.same("queue", h.queue("a"), want)
		var last gateway.Seq
		for _, p := range h.transmissions("a") {
			if p.Seq <= last {
				h.Fatalf("sequence %d after %d", p.Seq, last)
			}
			last = p.Seq
		}
	}},
	{name: "a transmission has the message, its number and its payload", run: func(h *harness) {
		h.register("a", "b")
		one := h.push("a", "x")
		many := h.accept(h.to(gateway.Audience{All: true}, "y"))
		h.same("transmissions", h.transmissions("a"), []gateway.Transmission{
			{Message: one.ID, Seq: one.Seq, ExpiresAt: one.ExpiresAt, Payload: []byte("x")},
			{Message: many.ID, Seq: many.Seq, ExpiresAt: many.ExpiresAt, Payload: []byte("y"), Many: true},
		})
		h.same("the other's", h.transmissions("b")[0].Seq, many.Seq)
	}},
	{name: "only what comes after", run: func(h *harness) {
		h.register("a")
		m := []gateway.Message{h.push("a", "0"), h.push("a", "1"), h.push("a", "2")}
		for i, want := range []string{"1 2", "2", ""} {
			p, last, err := h.store.Next(gateway.TransmissionQuery{Client: "a", After: m[i].Seq, Max: 10, MaxBytes: 1 << 20}, nil)
			h.must(err)
			h.same("last", last, m[2].Seq)
			h.same("after "+fmt.Sprint(i), strings.Join(payloads(p), " "), want)
		}
		h.settle(h.outcome(m[1], "a", gateway.Acked)) // after may be the sequence of a final delivery
		p, _, err := h.store.Next(gateway.TransmissionQuery{Client: "a", After: m[1].Seq, Max: 10, MaxBytes: 1 << 20}, nil)
		h.must(err)
		h.same("after a final one", payloads(p), []string{"2"})
		p, _, err = h.store.Next(gateway.TransmissionQuery{Client: "a", After: ^gateway.Seq(0), Max: 10, MaxBytes: 1 << 20}, nil)
		h.must(err)
		h.same("after all", payloads(p), nil)
	}},
	{name: "at most max", run: func(h *harness) {
		h.register("a")
		for i := range 5 {
			h.push("a", fmt.Sprint(i))
		}
		p, _, err := h.store.Next(gateway.TransmissionQuery{Client: "a", Max: 3, MaxBytes: 1 << 20}, nil)
		h.must(err)
		h.same("transmissions", payloads(p), []string{"0", "1", "2"})
	}},
	{name: "about maxBytes, but at least one", run: func(h *harness) {
		h.register("a")
		for range 10 {
			h.push("a", strings.Repeat("x", 100))
		}
		p, _, err := h.store.Next(gateway.TransmissionQuery{Client: "a", Max: 10, MaxBytes: 1}, nil)
		h.must(err)
		if len(p) != 1 {
			h.Errorf("%d transmissions for a byte, want 1", len(p))
		}
		p, _, err = h.store.Next(gateway.TransmissionQuery{Client: "a", Max: 10, MaxBytes: 350}, nil)
		h.must(err)
		if len(p) < 3 || len(p) > 4 {
			h.Errorf("%d transmissions of 100 bytes for 350, want 3 or 4", len(p))
		}
	}},
	{name: "appends to the buffer", run: func(h *harness) {
		h.register("a")
		h.push("a", "x")
		p, _, err := h.store.Next(gateway.TransmissionQuery{Client: "a", Max: 1, MaxBytes: 1 << 20}, []gateway.Transmission{{Payload: []byte("before")}})
		h.must(err)
		h.same("buffer", payloads(p), []string{"before", "x"})
	}},
	{name: "an unknown client has nothing", run: func(h *harness) {
		h.same("queue", h.queue("nobody"), nil)
	}},
	{name: "expired ones are left out once that is final", run: func(h *harness) {
		h.register("a")
		short := h.to(gateway.Audience{Client: "a"}, "short")
		short.ExpiresAt = short.CreatedAt.Add(time.Minute)
		m := h.accept(short)
		h.push("a", "long")
		h.clock.advance(time.Minute)
		queue := h.queue("a")
		_, ok, err := h.store.Transmission("a", m.Seq)
		h.must(err)
		if h.message(m.ID).Counts.Expired == 0 { // otherwise the store's driver has run
			h.same("before it is final", queue, []string{"short", "long"})
			h.same("Transmission before it is final", ok, true)
		}
		h.advance(0)
		h.awaitNotified(m.ID, "a")
		h.same("when it is final", h.queue("a"), []string{"long"})
	}},
	{name: "Transmission returns one that is queued", run: func(h *harness) {
		h.register("a", "b")
		m := h.push("a", "x")
		p, ok, err := h.store.Transmission("a", m.Seq)
		h.must(err)
		h.same("transmission", p, gateway.Transmission{Message: m.ID, Seq: m.Seq, ExpiresAt: m.ExpiresAt, Payload: []byte("x")})
		if !ok {
			h.Error("ok is false")
		}
		h.settle(h.outcome(m, "a", gateway.Acked))
		for _, c := range []struct {
			client gateway.ClientID
			seq    gateway.Seq
		}{{"a", m.Seq}, {"b", m.Seq}, {"a", m.Seq + 1}, {"nobody", m.Seq}} {
			if _, ok, err := h.store.Transmission(c.client, c.seq); ok || err != nil {
				h.Errorf("Transmission(%s, %d) = %v, %v; want none", c.client, c.seq, ok, err)
			}
		}
	}},
}

var settleTests = []test{
	{name: "each outcome is kept with what it brought", run: func(h *harness) {
		h.register("a")
		for _, o := range []gateway.Outcome{
			{State: gateway.Acked, Result: []byte("42")},
			{State: gateway.Rejected, Reason: "no paper", Result: []byte{0, 255}},
			{State: gateway.Failed, Reason: gateway.ReasonAttemptsUsedUp},
		} {
			m := h.push("a", "x")
			o.Message, o.Client, o.Seq, o.Attempts = m.ID, "a", m.Seq, 3
			o.SentAt = h.clock.Now().Add(time.Second)
			o.At = h.clock.Now().Add(2 * time.Second)
			h.settle(o)
			want := gateway.Delivery{Message: m.ID, Client: "a", Seq: m.Seq, State: o.State, Reason: o.Reason,
				Attempts: 3, CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt, SentAt: o.SentAt, FinalAt: o.At, Result: o.Result}
			h.same("delivery", h.delivery(m.ID, "a"), want)
			st := h.awaitNotified(m.ID, "a")
			h.same("notification", st.Delivery, want)
			if st.Completed == nil {
				h.Fatal("the message is not said to be completed")
			}
			got := h.message(m.ID)
			if !got.CompletedAt.Equal(o.At) || got.Counts.Queued != 0 || *got.Counts.Of(o.State) != 1 {
				h.Errorf("message completed at %v with %+v", got.CompletedAt, got.Counts)
			}
		}
		h.same("queue", h.queue("a"), nil)
		if c := h.client("a"); c.Queued != 0 || c.QueuedBytes != 0 {
			h.Errorf("%d queued with %d bytes, want none", c.Queued, c.QueuedBytes)
		}
	}},
	{name: "without urgent it becomes final all the same", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), false))
		h.awaitNotified(m.ID, "a")
		h.wantState(m.ID, "a", gateway.Acked)
	}},
	{name: "what cannot wait becomes final too", run: func(h *harness) {
		h.register("a")
		for _, urgent := range []bool{false, true} {
			m := h.push("a", "x")
			o := h.outcome(m, "a", gateway.Acked)
			o.Result = []byte("result")
			h.eventually("there is room", func() bool { return h.store.TrySettle(o, urgent) })
			o.Result[0] = '?' // the caller may use it again
			h.awaitNotified(m.ID, "a")
			h.wantState(m.ID, "a", gateway.Acked)
			if got := h.delivery(m.ID, "a").Result; string(got) != "result" {
				h.Errorf("the result is %q", got)
			}
		}
	}},
	{name: "the first final state wins", run: func(h *harness) {
		h.register("a")
		for _, second := range []gateway.State{gateway.Acked, gateway.Rejected, gateway.Failed} {
			m := h.push("a", "x")
			h.must(h.store.Settle(h.outcome(m, "a", gateway.Rejected), false))
			h.must(h.store.Settle(h.outcome(m, "a", second), true))
			h.awaitNotified(m.ID, "a")
			h.barrier("a")
			h.wantState(m.ID, "a", gateway.Rejected)
			if got := h.message(m.ID).Counts; got != (gateway.Counts{Total: 1, Rejected: 1}) {
				h.Errorf("counts are %+v", got)
			}
		}
	}},
	{name: "a late ack is kept and reported once", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
		h.must(err)
		h.clock.advance(time.Second)
		o := h.outcome(m, "a", gateway.Acked)
		o.Result = []byte("done anyway")
		h.must(h.store.Settle(o, true))
		h.eventually("the late ack is reported", func() bool { _, ok := h.rec.late(m.ID, "a"); return ok })
		again := o
		again.At, again.Result = o.At.Add(time.Second), []byte("again")
		h.must(h.store.Settle(again, true))
		h.barrier("a")
		d := h.delivery(m.ID, "a")
		if d.State != gateway.Canceled || !d.LateAckAt.Equal(o.At) || string(d.LateResult) != "done anyway" {
			h.Errorf("the delivery is %v with a late ack at %v: %q", d.State, d.LateAckAt, d.LateResult)
		}
		n := 0
		for _, x := range h.rec.all() {
			if x.Late {
				n++
			}
		}
		if n != 1 {
			h.Errorf("notified of %d late acks, want 1", n)
		}
	}},
	{name: "an ack after an ack is not late", run: func(h *harness) {
		h.register("a", "b")
		one := h.push("a", "x")
		many := h.accept(h.to(gateway.Audience{All: true}, "x"))
		for _, m := range []gateway.Message{one, many} {
			h.settle(h.outcome(m, "a", gateway.Acked))
			h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), true))
			h.barrier("a")
			if d := h.delivery(m.ID, "a"); !d.LateAckAt.IsZero() {
				h.Errorf("a late ack at %v", d.LateAckAt)
			}
		}
	}},
	{name: "a final state that no device has given keeps the first late answer", run: func(h *harness) {
		h.register("a", "b")
		reject := func(o *gateway.Outcome) { o.State, o.Reason = gateway.Rejected, gateway.ReasonDeviceRejected }
		ack := func(o *gateway.Outcome) { o.State, o.Reason = gateway.Acked, "" }
		notKept := func(o *gateway.Outcome) { o.State, o.Reason = gateway.Acked, gateway.ReasonVerdictNotKept }
		usedUp := func(o *gateway.Outcome) { o.State, o.Reason = gateway.Failed, gateway.ReasonAttemptsUsedUp }
		tooLarge := func(o *gateway.Outcome) { o.State, o.Reason = gateway.Rejected, gateway.ReasonTooLargeForProtocol }
		for _, c := range []struct {
			name        string
			first, then func(o *gateway.Outcome)
			late        bool
		}{
			{"ack after ack", ack, ack, false},
			{"reject after ack", ack, reject, false},
			{"ack after reject", reject, ack, false},
			{"reject after reject", reject, reject, false},
			{"not kept after reject", reject, notKept, false},
			{"ack after not kept", notKept, ack, false},
			{"reject after not kept", notKept, reject, false},
			{"ack after failed", usedUp, ack, true},
			{"reject after failed", usedUp, reject, true},
			{"not kept after failed", usedUp, notKept, false},
			{"too large after failed", usedUp, tooLarge, false},
			{"ack after too large", tooLarge, ack, true},
			{"reject after too large", tooLarge, reject, true},
			{"failed after too large", tooLarge, usedUp, false},
		} {
			for _, to := range []gateway.Audience{{Client: "a"}, {All: true}} {
				m := h.accept(h.to(to, c.name))
				o := h.outcome(m, "a", 0)
				c.first(&o)
				h.settle(o)
				first := o
				h.clock.advance(time.Second)
				o = h.outcome(m, "a", 0)
				o.Result = []byte(c.name)
				c.then(&o)
				h.must(h.store.Settle(o, true))
				h.barrier("b")
				d := h.delivery(m.ID, "a")
				if d.State != first.State || d.Reason != first.Reason || d.Result != nil {
					h.Errorf("%s: the delivery is %v, %q, %q", c.name, d.State, d.Reason, d.Result)
				}
				if !c.late {
					if _, notified := h.rec.late(m.ID, "a"); notified || !d.LateAckAt.IsZero() || d.LateResult != nil {
						h.Errorf("%s: a late ack at %v: %q", c.name, d.LateAckAt, d.LateResult)
					}
					continue
				}
				code, _ := o.Verdict()
				if !d.LateAckAt.Equal(o.At) || d.LateCode != code || string(d.LateResult) != c.name {
					h.Errorf("%s: late ack %d at %v: %q", c.name, d.LateCode, d.LateAckAt, d.LateResult)
				}
				if late, ok := h.rec.late(m.ID, "a"); !ok || late.Delivery.LateCode != code {
					h.Errorf("%s: notified %v of code %d", c.name, ok, late.Delivery.LateCode)
				}
			}
		}
	}},
	{name: "a verdict that was not kept is acked with that reason", run: func(h *harness) {
		h.register("a", "b")
		for _, to := range []gateway.Audience{{Client: "a"}, {All: true}} {
			m := h.accept(h.to(to, "x"))
			o := h.outcome(m, "a", gateway.Acked)
			o.Reason = gateway.ReasonVerdictNotKept
			h.settle(o)
			if d := h.delivery(m.ID, "a"); d.State != gateway.Acked || d.Reason != gateway.ReasonVerdictNotKept || d.Attempts != 1 {
				h.Errorf("the delivery is %v, %q after %d attempts", d.State, d.Reason, d.Attempts)
			}
		}
	}},
	{name: "a late answer to a canceled or expired delivery brings its transmissions", run: func(h *harness) {
		h.register("a", "b")
		cancel := func(m gateway.Message) {
			_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
			h.must(err)
		}
		expire := func(m gateway.Message) {
			h.clock.advance(m.ExpiresAt.Sub(h.clock.Now()))
			h.must(h.store.ProposeExpiry(m.ID, h.clock.Now()))
		}
		for _, c := range []struct {
			end func(m gateway.Message)
			is  gateway.State
		}{{cancel, gateway.Canceled}, {expire, gateway.Expired}} {
			for _, to := range []gateway.Audience{{Client: "a"}, {All: true}} {
				m := h.accept(h.to(to, "x"))
				o := h.outcome(m, "a", gateway.Acked)
				o.Attempts, o.SentAt = 2, h.clock.Now()
				c.end(m)
				h.must(h.store.Settle(o, true))
				h.eventually("the late ack is reported", func() bool { _, ok := h.rec.late(m.ID, "a"); return ok })
				d := h.delivery(m.ID, "a")
				if d.State != c.is || d.Attempts != 2 || !d.SentAt.Equal(o.SentAt) {
					h.Errorf("%v after %d transmissions, the last at %v, want %v after 2 at %v", d.State, d.Attempts, d.SentAt, c.is, o.SentAt)
				}
				if late, _ := h.rec.late(m.ID, "a"); late.Delivery.Attempts != 2 {
					h.Errorf("notified of %d transmissions", late.Delivery.Attempts)
				}
			}
		}
	}},
	{name: "the transmissions of a canceled or expired delivery are kept", run: func(h *harness) {
		h.register("a")
		for _, is := range []gateway.State{gateway.Canceled, gateway.Expired, gateway.Acked} {
			m := h.accept(h.to(gateway.Audience{Client: "a"}, "x"))
			report := gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Canceled, Attempts: 2, SentAt: h.clock.Now(), At: h.clock.Now()}
			h.must(h.store.Settle(report, true)) // it ends nothing
			switch is {
			case gateway.Acked:
				o := h.outcome(m, "a", is)
				o.SentAt = time.Time{}
				h.settle(o)
			case gateway.Canceled:
				_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
				h.must(err)
			default:
				h.clock.advance(m.ExpiresAt.Sub(h.clock.Now()))
				h.must(h.store.ProposeExpiry(m.ID, h.clock.Now()))
				h.eventually("it has expired", func() bool { return h.delivery(m.ID, "a").State == is })
			}
			h.must(h.store.Settle(report, true))
			other := report
			other.Attempts, other.SentAt = 7, h.clock.Now().Add(time.Second)
			h.must(h.store.Settle(other, true))
			h.settle(h.outcome(h.accept(h.to(gateway.Audience{Client: "a"}, "y")), "a", gateway.Acked)) // they are written
			d := h.delivery(m.ID, "a")
			if kept := d.Attempts == 2 && d.SentAt.Equal(report.SentAt); d.State != is || kept != (is != gateway.Acked) {
				h.Errorf("%v after %d transmissions, the last at %v, want %v", d.State, d.Attempts, d.SentAt, is)
			}
		}
	}},
	{name: "the transmissions of a delivery are kept although its client was forgotten", run: func(h *harness) {
		for _, back := range []bool{false, true} {
			h.register("a")
			m := h.accept(h.to(gateway.Audience{Client: "a"}, "x"))
			h.forget("a")
			if back {
				h.register("a")
			}
			report := gateway.Outcome{Message: m.ID, Client: "a", Seq: m.Seq, State: gateway.Canceled, Attempts: 2, SentAt: h.clock.Now(), At: h.clock.Now()}
			h.must(h.store.Settle(report, true))
			h.register("b") // it is in the log before
			if d := h.delivery(m.ID, "a"); d.State != gateway.Canceled || d.Attempts != 2 || !d.SentAt.Equal(report.SentAt) {
				h.Errorf("back %v: %v after %d transmissions, the last at %v, want canceled after 2 at %v", back, d.State, d.Attempts, d.SentAt, report.SentAt)
			}
		}
	}},
	{name: "a late ack within a message to many", run: func(h *harness) {
		h.register("a", "b")
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
		h.must(err)
		h.clock.advance(time.Second)
		h.must(h.store.Settle(h.outcome(m, "a", gateway.Acked), true))
		h.eventually("the late ack is reported", func() bool { _, ok := h.rec.late(m.ID, "a"); return ok })
		if d := h.delivery(m.ID, "a"); d.State != gateway.Canceled || !d.LateAckAt.Equal(h.clock.Now()) {
			h.Errorf("the delivery is %v with a late ack at %v", d.State, d.LateAckAt)
		}
		if d := h.delivery(m.ID, "b"); !d.LateAckAt.IsZero() {
			h.Error("the other delivery has a late ack")
		}
	}},
	{name: "a proposal for what is not there is dropped", run: func(h *harness) {
		h.register("a")
		m := h.push("a", "x")
		ghost := gateway.Message{ID: h.id(), Seq: m.Seq + 1000}
		h.must(h.store.Settle(h.outcome(ghost, "a", gateway.Acked), true))
		h.must(h.store.Settle(h.outcome(m, "nobody", gateway.Acked), true))
		h.barrier("a")
		h.wantState(m.ID, "a", gateway.Queued)
	}},
	{name: "the states of a message to many are counted one by one", run: func(h *harness) {
		h.register("a", "b", "c", "d")
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		h.settle(h.outcome(m, "a", gateway.Acked))
		o := h.outcome(m, "b", gateway.Acked)
		o.Result = []byte("result")
		h.settle(o)
		o = h.outcome(m, "c", gateway.Rejected)
		o.Reason = "no"
		h.settle(o)
		h.same("counts", h.message(m.ID).Counts, gateway.Counts{Total: 4, Queued: 1, Acked: 2, Rejected: 1})
		if d := h.delivery(m.ID, "b"); string(d.Result) != "result" {
			h.Errorf("the result is %q", d.Result)
		}
		if d := h.delivery(m.ID, "c"); d.Reason != "no" || !d.FinalAt.Equal(o.At) {
			h.Errorf("rejected with %q at %v", d.Reason, d.FinalAt)
		}
		if h.completions(m.ID) != 0 {
			h.Error("notified that it is completed")
		}
		h.settle(h.outcome(m, "d", gateway.Acked))
		if h.completions(m.ID) != 1 || h.awaitNotified(m.ID, "d").Completed == nil {
			h.Error("not notified with the last delivery that it is completed")
		}
		if m := h.message(m.ID); !m.Completed() || m.CompletedAt.IsZero() {
			h.Errorf("completed %v at %v", m.Completed(), m.CompletedAt)
		}
	}},
}

// barrier returns when all outcomes settled so far are applied.
func (h *harness) barrier(client gateway.ClientID) {
	h.Helper()
	m := h.push(client, "barrier")
	h.settle(h.outcome(m, client, gateway.Acked))
}
