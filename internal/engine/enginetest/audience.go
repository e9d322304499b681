package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/longwire/longwire/gateway"
)

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
			for i := range 60 {
				if _, _, err := h.store.Register(ctx, gateway.Registration{Client: gateway.ClientID(fmt.Sprint("c", i)), At: h.clock.Now()}); err != nil {
					h.Error(err)
					return
				}
			}
		}()
		for refused := 0; refused == 0 && !h.Failed(); {
			a := h.to(gateway.Audience{All: true}, "x")
			a.MaxRecipients = 30
			r, err := h.store.Accept(ctx, a)
			switch {
			case gateway.CodeOf(err) == gateway.CodeTooManyRecipients:
				refused++
			case err != nil || r.Message.Counts.Total > 30:
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
