package enginetest

import (
	"context"
	"fmt"
	"slices"
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
		if _, err := h.store.Purge(ctx, "a", h.clock.Now()); err != nil {
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

var audienceTests = []test{
	{name: "a list counts each client once and fails the unknown", run: func(h *harness) {
		h.register("a", "b")
		m := h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"b", "a", "ghost", "b"}}, "x"))
		h.same("counts", m.Counts, gateway.Counts{Total: 3, Queued: 2, Failed: 1})
		if m.Client != "" {
			h.Errorf("a message to many names the client %q", m.Client)
		}
		d := h.delivery(m.ID, "ghost")
		if d.State != gateway.Failed || d.Reason != gateway.ReasonUnknownClient {
			h.Errorf("the unknown client's delivery is %v, %q", d.State, d.Reason)
		}
		st := h.awaitNotified(m.ID, "ghost")
		if st.Completed != nil {
			h.Error("the message is said to be completed")
		}
	}},
	{name: "a list of unknown clients is completed at once", run: func(h *harness) {
		m := h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"x", "y"}}, "x"))
		h.same("counts", m.Counts, gateway.Counts{Total: 2, Failed: 2})
		if !m.Completed() || m.CompletedAt.IsZero() {
			h.Errorf("completed %v at %v", m.Completed(), m.CompletedAt)
		}
		h.awaitNotified(m.ID, "x")
		h.awaitNotified(m.ID, "y")
		if got := h.completions(m.ID); got != 1 {
			h.Errorf("%d notifications of the completion, want one", got)
		}
	}},
	{name: "a list with QueueUnknown makes clients known", run: func(h *harness) {
		a := h.to(gateway.Audience{Clients: []gateway.ClientID{"x", "y"}}, "x")
		a.QueueUnknown = true
		h.same("counts", h.accept(a).Counts, gateway.Counts{Total: 2, Queued: 2})
		h.same("queue", h.queue("y"), []string{"x"})
	}},
	{name: "a full queue fails one delivery of a message to many", opt: Options{QueueLen: 1}, run: func(h *harness) {
		h.register("a", "b")
		h.push("a", "x")
		m := h.accept(h.to(gateway.Audience{All: true}, "y"))
		h.same("counts", m.Counts, gateway.Counts{Total: 2, Queued: 1, Failed: 1})
		if d := h.delivery(m.ID, "a"); d.State != gateway.Failed || d.Reason != gateway.ReasonQueueFull {
			h.Errorf("the full client's delivery is %v, %q", d.State, d.Reason)
		}
		h.awaitNotified(m.ID, "a")
	}},
	{name: "a message to many does not count in a queue's bytes", opt: Options{QueueBytes: 10}, run: func(h *harness) {
		h.register("a")
		h.accept(h.to(gateway.Audience{All: true}, strings.Repeat("x", 100)))
		if c := h.client("a"); c.Queued != 1 || c.QueuedBytes != 0 {
			h.Errorf("%d queued with %d bytes, want 1 with 0", c.Queued, c.QueuedBytes)
		}
		h.push("a", "room")
	}},
	{name: "a group is its members at acceptance", run: func(h *harness) {
		h.member("a", "red")
		h.member("b", "red", "blue")
		h.member("c", "blue")
		m := h.accept(h.to(gateway.Audience{Group: "red"}, "x"))
		h.member("c", "red") // too late
		h.member("a")        // too late to leave
		h.same("audience", h.recipients(m.ID), []gateway.ClientID{"a", "b"})
		h.same("queue of a", h.queue("a"), []string{"x"})
		h.same("queue of c", h.queue("c"), nil)
	}},
	{name: "labels select who has all of them", run: func(h *harness) {
		h.labeled("a", map[string]string{"site": "hel", "hw": "1"})
		h.labeled("b", map[string]string{"site": "hel", "hw": "2"})
		h.labeled("c", map[string]string{"hw": "1"})
		m := h.accept(h.to(gateway.Audience{Labels: map[string]string{"site": "hel", "hw": "1"}}, "x"))
		h.same("audience", h.recipients(m.ID), []gateway.ClientID{"a"})
		m = h.accept(h.to(gateway.Audience{Labels: map[string]string{"site": "hel"}}, "x"))
		h.same("audience", h.recipients(m.ID), []gateway.ClientID{"a", "b"})
	}},
	{name: "all is every known client at acceptance", run: func(h *harness) {
		h.register("a", "b")
		h.disconnect("b", gateway.ReasonConnectionLost)
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		h.register("c")
		h.same("audience", h.recipients(m.ID), []gateway.ClientID{"a", "b"})
	}},
	{name: "a message to nobody is completed at once", run: func(h *harness) {
		h.register("a")
		m := h.accept(h.to(gateway.Audience{Group: "empty"}, "x"))
		if !m.Completed() || m.Counts.Total != 0 {
			h.Errorf("completed %v, counts %+v", m.Completed(), m.Counts)
		}
	}},
	{name: "Only narrows and is asked once for each member", run: func(h *harness) {
		h.member("a", "g")
		h.member("b", "g")
		h.member("c")
		for _, to := range []gateway.Audience{{Group: "g"}, {All: true}} {
			var asked []gateway.ClientID
			a := h.to(to, "x")
			a.Only = func(id gateway.ClientID) bool {
				asked = append(asked, id)
				return id == "b"
			}
			m := h.accept(a)
			h.same("audience", h.recipients(m.ID), []gateway.ClientID{"b"})
			slices.Sort(asked)
			want := []gateway.ClientID{"a", "b", "c"}
			if to.Group != "" {
				want = want[:2]
			}
			h.same("asked", asked, want)
		}
	}},
	{name: "Among narrows to whom it names", run: func(h *harness) {
		ref := map[gateway.ClientID]uint32{}
		for _, id := range []gateway.ClientID{"a", "b", "c", "d"} {
			h.register(id)
			ref[id] = h.client(id).Ref
		}
		h.member("a", "g")
		h.member("b", "g")
		h.member("d", "g")
		for _, refs := range []bool{true, false} {
			among := func(yield func(gateway.ClientID, uint32) bool) {
				for _, id := range []gateway.ClientID{"d", "stranger", "c", "b"} {
					n := ref[id]
					if !refs {
						n = 0
					}
					if !yield(id, n) {
						return
					}
				}
			}
			for _, c := range []struct {
				to   gateway.Audience
				only func(gateway.ClientID) bool
				want []gateway.ClientID
			}{
				{to: gateway.Audience{All: true}, want: []gateway.ClientID{"b", "c", "d"}},
				{to: gateway.Audience{Group: "g"}, want: []gateway.ClientID{"b", "d"}},
				{to: gateway.Audience{Group: "g"}, only: func(id gateway.ClientID) bool { return id != "b" }, want: []gateway.ClientID{"d"}},
			} {
				a := h.to(c.to, "x")
				a.Among, a.Only = among, c.only
				h.same("audience", h.recipients(h.accept(a).ID), c.want)
			}
		}
	}},
	{name: "an audience beyond its bound is refused, and nothing is stored", run: func(h *harness) {
		h.member("a", "g")
		h.member("b", "g")
		h.labeled("c", map[string]string{"hw": "1"})
		for _, to := range []gateway.Audience{{Group: "g"}, {All: true}, {Clients: []gateway.ClientID{"a", "b", "a", "stranger"}}} {
			a := keyed(h.to(to, "x"), "key", "scope", 1)
			a.QueueUnknown = true
			a.MaxRecipients = 1
			_, err := h.store.Accept(ctx, a)
			h.wantCode(err, gateway.CodeTooManyRecipients)
			_, err = h.store.Message(a.ID)
			h.wantCode(err, gateway.CodeMessageNotFound)
			if _, used, err := h.store.Repeated(a); used || err != nil {
				h.Errorf("the key of a refused message is used %v, %v", used, err)
			}
		}
		h.same("queue of a", h.queue("a"), nil)
		_, err := h.store.Client("stranger")
		h.wantCode(err, gateway.CodeClientNotFound)
		for _, c := range []struct {
			to   gateway.Audience
			most int
		}{{gateway.Audience{Group: "g"}, 2}, {gateway.Audience{All: true}, 3}, {gateway.Audience{Labels: map[string]string{"hw": "1"}}, 1}, {gateway.Audience{Client: "a"}, 1}} {
			a := h.to(c.to, "x")
			a.MaxRecipients = c.most
			h.accept(a)
		}
		a := keyed(h.to(gateway.Audience{Group: "g"}, "y"), "repeated", "scope", 1)
		a.MaxRecipients = 2
		first := h.accept(a)
		h.member("c", "g")
		r, err := h.store.Accept(ctx, a) // the audience was fixed before
		h.must(err)
		if !r.Replayed || r.Message.ID != first.ID {
			h.Errorf("a repeat returns %+v, want the first message", r)
		}
	}},
	{name: "no registration slips past the bound of an audience", run: func(h *harness) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 200 {
				if _, _, err := h.store.Register(ctx, gateway.Registration{Client: gateway.ClientID(fmt.Sprint("c", i)), At: h.clock.Now()}); err != nil {
					h.Error(err)
					return
				}
			}
		}()
		for refused := 0; refused == 0 && !h.Failed(); {
			a := h.to(gateway.Audience{All: true}, "x")
			a.MaxRecipients = 100
			r, err := h.store.Accept(ctx, a)
			switch {
			case gateway.CodeOf(err) == gateway.CodeTooManyRecipients:
				refused++
			case err != nil || r.Message.Counts.Total > 100:
				h.Fatalf("a message to %d clients was accepted, %v", r.Message.Counts.Total, err)
			}
		}
		<-done
	}},
	{name: "Recipients is the audience that Accept fixes", run: func(h *harness) {
		h.member("a", "g")
		h.member("b", "g")
		h.labeled("c", map[string]string{"hw": "1"})
		for _, to := range []gateway.Audience{{Client: "a"}, {Group: "g"}, {All: true}, {Labels: map[string]string{"hw": "1"}}, {Group: "none"},
			{Clients: []gateway.ClientID{"b", "stranger", "b"}}} {
			a := keyed(h.to(to, "x"), fmt.Sprint(to), "scope", 1)
			got, err := h.store.Recipients(a)
			h.must(err)
			if _, used, _ := h.store.Repeated(a); used {
				h.Errorf("%v: the key is used up", to)
			}
			m := h.accept(a)
			if got.Total != m.Counts.Total || got.Failed != m.Counts.Failed {
				h.Errorf("%v: %+v, and then %+v", to, got, m.Counts)
			}
			slices.Sort(got.Sample)
			want := slices.DeleteFunc(h.recipients(m.ID), func(id gateway.ClientID) bool { return id == "stranger" })
			h.same("sample", got.Sample, want)
		}
		a := h.to(gateway.Audience{Group: "g"}, "x")
		a.Only = func(id gateway.ClientID) bool { return id == "b" }
		got, err := h.store.Recipients(a)
		h.must(err)
		h.same("narrowed", got, gateway.Recipients{Total: 1, Sample: []gateway.ClientID{"b"}})
		a.Only, a.MaxRecipients = nil, 1
		_, err = h.store.Recipients(a)
		h.wantCode(err, gateway.CodeTooManyRecipients)
		_, err = h.store.Recipients(h.to(gateway.Audience{Client: "nobody"}, "x"))
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "a client that registers next is in no audience before", run: func(h *harness) {
		for _, id := range []gateway.ClientID{"a", "b", "c"} {
			h.register(id)
			m := h.accept(h.to(gateway.Audience{All: true}, "x"))
			if rs := h.recipients(m.ID); rs[len(rs)-1] != id {
				h.Errorf("a message to all accepted after %s registered is for %v", id, rs)
			}
		}
	}},
}

// member registers a client in groups.
func (h *harness) member(id gateway.ClientID, groups ...string) {
	h.Helper()
	if groups == nil {
		groups = []string{}
	}
	_, _, err := h.store.Register(ctx, gateway.Registration{Client: id, Groups: groups, At: h.clock.Now()})
	h.must(err)
}

// labeled registers a client with labels.
func (h *harness) labeled(id gateway.ClientID, labels map[string]string) {
	h.Helper()
	h.register(id)
	change := gateway.ClientChange{Labels: map[string]*string{}}
	for k, v := range labels {
		change.Labels[k] = &v
	}
	_, err := h.store.UpdateClient(ctx, id, change)
	h.must(err)
}

// recipients returns the recipients of a message, sorted.
func (h *harness) recipients(id gateway.MessageID) []gateway.ClientID {
	h.Helper()
	var ids []gateway.ClientID
	for _, d := range allDeliveries(h, h.store, gateway.DeliveryQuery{Message: id}) {
		ids = append(ids, d.Client)
	}
	slices.Sort(ids)
	return ids
}

// transmissions returns the queued transmissions of a client.
func (h *harness) transmissions(client gateway.ClientID) []gateway.Transmission {
	h.Helper()
	p, _, err := h.store.Next(gateway.TransmissionQuery{Client: client, Max: 1 << 20, MaxBytes: 1 << 30}, nil)
	h.must(err)
	return p
}

// completions returns how often the observer was notified that a message is
// completed.
func (h *harness) completions(id gateway.MessageID) int {
	n := 0
	for _, x := range h.rec.all() {
		if (x.all != nil && x.all.ID == id) || (x.all == nil && x.Completed != nil && x.Completed.ID == id) {
			n++
		}
	}
	return n
}
