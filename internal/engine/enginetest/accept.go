package enginetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

var acceptTests = []test{
	{name: "an online delivery reads as after a restart until it is settled, and is not queued", run: func(h *harness) {
		h.register("a")
		at := h.clock.Now()
		a := keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "s", 1)
		a.Online = true
		m := h.accept(a)
		if !m.Online || !m.Completed() || m.Counts.Unknown != 1 || !m.CompletedAt.Equal(a.CreatedAt) {
			h.Errorf("accepted as %+v", m)
		}
		if c := h.client("a"); c.Queued != 0 || c.QueuedBytes != 0 {
			h.Errorf("%d deliveries of %d bytes are queued", c.Queued, c.QueuedBytes)
		}
		if p, _, err := h.store.Next(gateway.TransmissionQuery{Client: "a", Max: 10, MaxBytes: 1 << 20}, nil); err != nil || len(p) != 0 {
			h.Errorf("to be sent: %v, %v", p, err)
		}
		want := gateway.Delivery{Message: m.ID, Client: "a", Seq: m.Seq, Online: true, State: gateway.Unknown, Reason: gateway.ReasonGatewayRestart,
			CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, FinalAt: a.CreatedAt}
		h.same("before", h.delivery(m.ID, "a"), want)
		_, err := h.store.Cancel(ctx, m.ID, at)
		h.wantCode(err, gateway.CodeAlreadyFinal)
		again := a
		again.ID = h.to(gateway.Audience{Client: "a"}, "x").ID
		r, err := h.store.Accept(ctx, again)
		h.must(err)
		if !r.Replayed || r.Message.ID != m.ID || !r.Message.Online {
			h.Errorf("repeated as %+v", r)
		}
		again.Online = false
		_, err = h.store.Accept(ctx, again)
		h.wantCode(err, gateway.CodeIdempotencyMismatch)

		h.clock.advance(time.Second)
		settle := func(s gateway.State, reason, result string) {
			o := h.outcome(m, "a", s)
			o.Reason, o.Result = reason, []byte(result)
			h.must(h.store.Settle(o, true))
			h.register("b") // the outcome is in the log before
		}
		settle(gateway.Unknown, gateway.ReasonAckTimeout, "")
		if d := h.delivery(m.ID, "a"); d.State != gateway.Unknown || d.Reason != gateway.ReasonAckTimeout || !d.FinalAt.Equal(h.clock.Now()) {
			h.Errorf("without an answer: %+v", d)
		}
		settle(gateway.Failed, gateway.ReasonNotSent, "")
		h.clock.advance(time.Second)
		settle(gateway.Rejected, gateway.ReasonDeviceRejected, "no")
		settle(gateway.Acked, "", "yes")
		d := h.delivery(m.ID, "a")
		if d.State != gateway.Rejected || string(d.Result) != "no" || !d.LateAckAt.IsZero() || !d.Online {
			h.Errorf("after a late answer, and another: %+v", d)
		}
	}},
	{name: "an online delivery needs a known client, and no room in its queue", run: func(h *harness) {
		a := h.to(gateway.Audience{Client: "nobody"}, "x")
		a.Online = true
		_, err := h.store.Accept(ctx, a)
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "the receipt describes the message, without its payload", run: func(h *harness) {
		h.register("a")
		a := h.to(gateway.Audience{Client: "a"}, "hello")
		a.Metadata = map[string]string{"order": "4711"}
		a.Owner = "prefix:acme-"
		got := h.accept(a)
		want := gateway.Message{ID: a.ID, Seq: got.Seq, Encoding: gateway.EncodingText, Metadata: a.Metadata, Owner: a.Owner,
			CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt, Client: "a", Counts: gateway.Counts{Total: 1, Queued: 1}}
		h.same("receipt", got, want)
		if got.Seq == 0 {
			h.Error("the message has no sequence")
		}
		want.Payload = []byte("hello")
		h.same("message", h.message(a.ID), want)
		h.same("delivery", h.delivery(a.ID, "a"), gateway.Delivery{Message: a.ID, Client: "a", Seq: got.Seq,
			State: gateway.Queued, CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt})
	}},
	{name: "sequences rise over the whole store", run: func(h *harness) {
		h.register("a", "b")
		var last gateway.Seq
		for range 5 {
			for _, id := range []gateway.ClientID{"a", "b"} {
				m := h.push(id, "x")
				if m.Seq <= last {
					h.Fatalf("sequence %d after %d", m.Seq, last)
				}
				last = m.Seq
			}
		}
	}},
	{name: "messages that nobody waits for keep the caller's order", run: func(h *harness) {
		h.register("a")
		answers := make(chan gateway.Receipt, 300)
		var want []string
		for i := range cap(answers) {
			a := h.to(gateway.Audience{Client: "a"}, fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			h.store.StartAccept(a, func(r gateway.Receipt, err error) {
				h.must(err)
				answers <- r
			})
			copy(a.Payload, "XXX") // the store must not keep a reference to it
		}
		for range cap(answers) {
			if r := <-answers; h.message(r.Message.ID).Seq != r.Message.Seq {
				h.Errorf("%s was answered and is not stored", r.Message.ID)
			}
		}
		h.same("queue", h.queue("a"), want)
	}},
	{name: "what nobody waits for is refused as well", run: func(h *harness) {
		refused := make(chan error, 1)
		h.store.StartAccept(h.to(gateway.Audience{Client: "stranger"}, "x"), func(_ gateway.Receipt, err error) { refused <- err })
		h.wantCode(<-refused, gateway.CodeClientNotFound)
	}},
	{name: "the payload is not kept by reference", run: func(h *harness) {
		h.register("a")
		a := h.to(gateway.Audience{Client: "a"}, "hello")
		h.accept(a)
		copy(a.Payload, "XXXXX")
		h.same("queue", h.queue("a"), []string{"hello"})
	}},
	{name: "an empty payload is a message", run: func(h *harness) {
		h.register("a")
		h.push("a", "")
		h.same("queue", h.queue("a"), []string{""})
	}},
	{name: "the same id again returns the first message", run: func(h *harness) {
		h.register("a", "b")
		a := h.to(gateway.Audience{Client: "a"}, "first")
		first := h.accept(a)
		a.To.Client, a.Payload = "b", []byte("second")
		r, err := h.store.Accept(ctx, a)
		h.must(err)
		if !r.Replayed {
			h.Error("Replayed is false")
		}
		h.same("receipt", r.Message, first)
		h.same("queue of a", h.queue("a"), []string{"first"})
		h.same("queue of b", h.queue("b"), nil)
	}},
	{name: "the same key and fingerprint return the first message as it now is", run: func(h *harness) {
		h.register("a")
		first := h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		h.settle(h.outcome(first, "a", gateway.Acked))
		r, err := h.repeat(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		h.must(err)
		if !r.Replayed || r.Message.ID != first.ID {
			h.Errorf("replayed %v, id %s; want true, %s", r.Replayed, r.Message.ID, first.ID)
		}
		if r.Message.Counts.Acked != 1 {
			h.Errorf("counts are %+v, want one acked", r.Message.Counts)
		}
		h.same("queue", h.queue("a"), nil)
	}},
	{name: "the same key with another fingerprint is a mismatch", run: func(h *harness) {
		h.register("a")
		h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		_, err := h.repeat(keyed(h.to(gateway.Audience{Client: "a"}, "y"), "k", "me", 2))
		h.wantCode(err, gateway.CodeIdempotencyMismatch)
		h.same("queue", h.queue("a"), []string{"x"})
	}},
	{name: "a key belongs to its scope", run: func(h *harness) {
		h.register("a")
		h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		if _, ok, err := h.store.Repeated(keyed(h.to(gateway.Audience{Client: "a"}, "y"), "k", "you", 2)); ok || err != nil {
			h.Errorf("another's key: %v, %v", ok, err)
		}
		h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "y"), "k", "you", 2))
		// Two pairs of names must not become equal by a separator in one of them.
		h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "z"), "b/c", "a", 3))
		h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "z"), "c", "a/b", 4))
		h.same("queue", h.queue("a"), []string{"x", "y", "z", "z"})
	}},
	{name: "a key is remembered for 24 hours", run: func(h *harness) {
		h.register("a")
		first := h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		h.advance(24*time.Hour - time.Second)
		r, err := h.repeat(keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1))
		h.must(err)
		if r.Message.ID != first.ID {
			h.Error("the key was forgotten within 24 hours")
		}
		h.advance(time.Second)
		second := h.accept(keyed(h.to(gateway.Audience{Client: "a"}, "y"), "k", "me", 2))
		h.advance(time.Hour) // the end of the first key must not touch the second
		r, err = h.repeat(keyed(h.to(gateway.Audience{Client: "a"}, "y"), "k", "me", 2))
		h.must(err)
		if r.Message.ID != second.ID {
			h.Error("the key's second use was forgotten with its first")
		}
	}},
	{name: "a refused message does not use up its key", run: func(h *harness) {
		a := keyed(h.to(gateway.Audience{Client: "a"}, "x"), "k", "me", 1)
		_, err := h.store.Accept(ctx, a)
		h.wantCode(err, gateway.CodeClientNotFound)
		h.register("a")
		h.accept(a)
	}},
	{name: "an unknown recipient is refused", run: func(h *harness) {
		a := h.to(gateway.Audience{Client: "nobody"}, "x")
		_, err := h.store.Accept(ctx, a)
		h.wantCode(err, gateway.CodeClientNotFound)
		_, err = h.store.Message(a.ID)
		h.wantCode(err, gateway.CodeMessageNotFound)
		_, err = h.store.Client("nobody")
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "QueueUnknown makes a known client without a last seen", run: func(h *harness) {
		a := h.to(gateway.Audience{Client: "new"}, "x")
		a.QueueUnknown = true
		h.accept(a)
		h.same("queue", h.queue("new"), []string{"x"})
		h.same("client", h.client("new"), gateway.ClientRecord{ID: "new", CreatedAt: a.CreatedAt, Queued: 1, QueuedBytes: 1})
	}},
	{name: "a full queue by count is refused", opt: Options{QueueLen: 3}, run: func(h *harness) {
		h.register("a", "b")
		for range 3 {
			h.push("a", "x")
		}
		_, err := h.store.Accept(ctx, h.to(gateway.Audience{Client: "a"}, "x"))
		h.wantCode(err, gateway.CodeQueueFull)
		h.push("b", "another client has room")
		first := h.transmissions("a")[0]
		h.settle(gateway.Outcome{Message: first.Message, Client: "a", Seq: first.Seq, State: gateway.Acked, At: h.clock.Now()})
		h.push("a", "room again")
	}},
	{name: "a full queue by bytes is refused", opt: Options{QueueBytes: 100}, run: func(h *harness) {
		h.register("a")
		h.push("a", strings.Repeat("x", 60))
		h.push("a", strings.Repeat("x", 40)) // exactly at the bound
		_, err := h.store.Accept(ctx, h.to(gateway.Audience{Client: "a"}, "x"))
		h.wantCode(err, gateway.CodeQueueFull)
		if got := h.client("a").QueuedBytes; got != 100 {
			h.Errorf("%d bytes queued, want 100", got)
		}
		if _, err := h.store.Purge(ctx, "a", gateway.Span{}, h.clock.Now()); err != nil {
			h.Fatal(err)
		}
		h.push("a", "room again")
	}},
	{name: "a caller who is gone gets no receipt", run: func(h *harness) {
		h.register("a")
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if r, err := h.store.Accept(gone, h.to(gateway.Audience{Client: "a"}, "x")); err == nil {
			h.message(r.Message.ID) // it was accepted before the end of ctx, so it is stored
		} else {
			h.wantUnavailable(err)
		}
	}},
}

// repeat accepts a, whose key is that of a message, and checks that Repeated says
// the same beforehand.
func (h *harness) repeat(a gateway.Acceptance) (gateway.Receipt, error) {
	h.Helper()
	before, ok, refused := h.store.Repeated(a)
	r, err := h.store.Accept(ctx, a)
	h.same("whether it is a repeat", ok, r.Replayed)
	h.same("the code before", gateway.CodeOf(refused), gateway.CodeOf(err))
	h.same("the receipt before", before, r)
	return r, err
}

// keyed adds an idempotency key to a.
func keyed(a gateway.Acceptance, key, scope string, fingerprint byte) gateway.Acceptance {
	a.IdempotencyKey, a.Scope, a.Fingerprint = key, scope, [32]byte{fingerprint}
	return a
}
