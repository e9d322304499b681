package enginetest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// tb is the common part of *testing.T and *rapid.T.
type tb interface {
	Helper()
	Fatal(args ...any)
}

// collect follows a list to its end and fails if it does not end.
func collect[T, K any](t tb, next func(after K) (gateway.Page[T, K], error)) []T {
	t.Helper()
	var items []T
	var at K
	for range 100_000 {
		p, err := next(at)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p.Items...)
		if !p.More {
			return items
		}
		at = p.Next
	}
	t.Fatal("a list without an end")
	return nil
}

func allClients(t tb, s gateway.Store, q gateway.ClientQuery) []gateway.ClientRecord {
	t.Helper()
	return collect(t, func(after gateway.ClientID) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
		if after != "" {
			q.After = after
		}
		return s.Clients(q)
	})
}

// listed returns the ids of the clients of a list.
func (h *harness) listed(q gateway.ClientQuery) (ids []gateway.ClientID) {
	h.Helper()
	for _, c := range allClients(h, h.store, q) {
		ids = append(ids, c.ID)
	}
	return ids
}

func allMessages(t tb, s gateway.Store, q gateway.MessageQuery) []gateway.Message {
	t.Helper()
	return collect(t, func(last gateway.MessageID) (gateway.Page[gateway.Message, gateway.MessageID], error) {
		switch {
		case last == "":
		case q.Ascending:
			q.After = last
		default:
			q.Before = last
		}
		return s.Messages(q)
	})
}

func allDeliveries(t tb, s gateway.Store, q gateway.DeliveryQuery) []gateway.Delivery {
	t.Helper()
	return collect(t, func(after gateway.ClientID) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
		q.After = after
		return s.Deliveries(q)
	})
}

func allClientDeliveries(t tb, s gateway.Store, q gateway.ClientDeliveryQuery) []gateway.Delivery {
	t.Helper()
	return collect(t, func(before gateway.Seq) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
		if before != 0 {
			q.Before = before
		}
		return s.ClientDeliveries(q)
	})
}

func allUplinks(t tb, s gateway.Store, client gateway.ClientID, limit int) []gateway.Uplink {
	t.Helper()
	return collect(t, func(after uint64) (gateway.Page[gateway.Uplink, uint64], error) {
		return s.Uplinks(client, after, limit)
	})
}

// limits are the page sizes with which every list is read: the pages differ,
// their sum does not.
var limits = []int{1, 2, 3, 7, 100}

var readTests = []test{
	{name: "clients come in id order and by each filter", run: func(h *harness) {
		h.register("b", "a.2", "a.10", "c", "a", "B", "a:1")
		h.labeled("b", map[string]string{"hw": "1", "site": "x"})
		h.labeled("c", map[string]string{"hw": "1"})
		h.member("c", "g")
		h.member("a", "g", "other")
		h.push("c", "x")
		h.push("c", "x")
		h.push("a", "x")
		for _, c := range []struct {
			name string
			q    gateway.ClientQuery
			want []gateway.ClientID
		}{
			{"all", gateway.ClientQuery{QueuedGT: -1}, []gateway.ClientID{"B", "a", "a.10", "a.2", "a:1", "b", "c"}},
			{"prefix", gateway.ClientQuery{QueuedGT: -1, Prefix: "a"}, []gateway.ClientID{"a", "a.10", "a.2", "a:1"}},
			{"prefix of more", gateway.ClientQuery{QueuedGT: -1, Prefix: "a."}, []gateway.ClientID{"a.10", "a.2"}},
			{"prefix of none", gateway.ClientQuery{QueuedGT: -1, Prefix: "zz"}, nil},
			{"group", gateway.ClientQuery{QueuedGT: -1, Group: "g"}, []gateway.ClientID{"a", "c"}},
			{"no such group", gateway.ClientQuery{QueuedGT: -1, Group: "none"}, nil},
			{"label", gateway.ClientQuery{QueuedGT: -1, Labels: map[string]string{"hw": "1"}}, []gateway.ClientID{"b", "c"}},
			{"labels", gateway.ClientQuery{QueuedGT: -1, Labels: map[string]string{"hw": "1", "site": "x"}}, []gateway.ClientID{"b"}},
			{"queued", gateway.ClientQuery{QueuedGT: 0}, []gateway.ClientID{"a", "c"}},
			{"queued more", gateway.ClientQuery{QueuedGT: 1}, []gateway.ClientID{"c"}},
			{"after", gateway.ClientQuery{QueuedGT: -1, After: "a.2"}, []gateway.ClientID{"a:1", "b", "c"}},
			{"after one that is not there", gateway.ClientQuery{QueuedGT: -1, After: "a.3"}, []gateway.ClientID{"a:1", "b", "c"}},
			{"all filters", gateway.ClientQuery{QueuedGT: 1, Prefix: "c", Group: "g", Labels: map[string]string{"hw": "1"}}, []gateway.ClientID{"c"}},
		} {
			for _, limit := range limits {
				c.q.Limit = limit
				h.same(fmt.Sprintf("%s by %d", c.name, limit), h.listed(c.q), c.want)
				if c.q.After == "" {
					h.sameBackwards(c.name, c.q, c.want)
				}
			}
		}
	}},
	{name: "clients come from an id on, in both orders", run: func(h *harness) {
		h.register("b", "a.2", "a.10", "c", "a:1")
		for _, c := range []struct {
			name string
			q    gateway.ClientQuery
			want []gateway.ClientID
		}{
			{"from one that is there", gateway.ClientQuery{From: "a.2"}, []gateway.ClientID{"a.2", "a:1", "b", "c"}},
			{"from one that is not", gateway.ClientQuery{From: "a.3"}, []gateway.ClientID{"a:1", "b", "c"}},
			{"from beyond the end", gateway.ClientQuery{From: "z"}, nil},
			{"from before the prefix", gateway.ClientQuery{From: "A", Prefix: "a."}, []gateway.ClientID{"a.10", "a.2"}},
			{"from behind the prefix", gateway.ClientQuery{From: "b", Prefix: "a."}, nil},
			{"down from one that is there", gateway.ClientQuery{Descending: true, From: "b"}, []gateway.ClientID{"b", "a:1", "a.2", "a.10"}},
			{"down from one that is not", gateway.ClientQuery{Descending: true, From: "a.3"}, []gateway.ClientID{"a.2", "a.10"}},
			{"down from before all", gateway.ClientQuery{Descending: true, From: "A"}, nil},
			{"down from behind the prefix", gateway.ClientQuery{Descending: true, From: "c", Prefix: "a."}, []gateway.ClientID{"a.2", "a.10"}},
			{"down from before the prefix", gateway.ClientQuery{Descending: true, From: "A", Prefix: "a."}, nil},
			{"down after one", gateway.ClientQuery{Descending: true, After: "b"}, []gateway.ClientID{"a:1", "a.2", "a.10"}},
			{"after the start", gateway.ClientQuery{From: "a.10", After: "a:1"}, []gateway.ClientID{"b", "c"}},
			{"down after the start", gateway.ClientQuery{Descending: true, From: "c", After: "a:1"}, []gateway.ClientID{"a.2", "a.10"}},
		} {
			for _, limit := range limits {
				c.q.Limit, c.q.QueuedGT = limit, -1
				h.same(fmt.Sprintf("%s by %d", c.name, limit), h.listed(c.q), c.want)
			}
		}
	}},
	{name: "clients are found by the age of their queues", run: func(h *harness) {
		h.register("a", "b", "c", "d")
		h.member("m", "g")
		start := h.clock.Now()
		old := h.push("a", "x")
		h.accept(h.to(gateway.Audience{Group: "g"}, "x")) // to many
		h.clock.advance(time.Minute)
		h.push("a", "y")
		h.push("b", "x")
		queued := func(before time.Time) []gateway.ClientID {
			return h.listed(gateway.ClientQuery{QueuedGT: -1, QueuedBefore: before, Limit: 2})
		}
		h.same("older than now", queued(h.clock.Now().Add(time.Second)), []gateway.ClientID{"a", "b", "m"})
		h.same("older than half a minute", queued(start.Add(30*time.Second)), []gateway.ClientID{"a", "m"})
		h.same("older than the oldest", queued(start), nil)
		h.settle(h.outcome(old, "a", gateway.Acked))
		h.same("after the ack", queued(start.Add(30*time.Second)), []gateway.ClientID{"m"})
	}},
	{name: "a page holds no more than its limit and the last one says so", run: func(h *harness) {
		for i := range 10 {
			h.register(gateway.ClientID(fmt.Sprint("c", i)))
		}
		p, err := h.store.Clients(gateway.ClientQuery{QueuedGT: -1, Limit: 4})
		h.must(err)
		if len(p.Items) != 4 || !p.More {
			h.Errorf("%d items, more %v; want 4, true", len(p.Items), p.More)
		}
		p, err = h.store.Clients(gateway.ClientQuery{QueuedGT: -1, Limit: 11})
		h.must(err)
		if len(p.Items) != 10 || p.More {
			h.Errorf("%d items, more %v; want 10, false", len(p.Items), p.More)
		}
	}},
	{name: "messages come newest first and by each filter", run: func(h *harness) {
		h.register("a", "b")
		start := h.clock.Now()
		state := map[string]gateway.MessageID{}
		for _, name := range []string{"acked", "rejected", "failed", "canceled", "queued", "half"} {
			h.clock.advance(time.Second)
			m := h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}, name))
			state[name] = m.ID
			s, _ := gateway.ParseState(name)
			switch {
			case name == "queued":
			case name == "half":
				h.settle(h.outcome(m, "a", gateway.Acked))
			case name == "canceled":
				h.settle(h.outcome(m, "b", gateway.Acked))
				_, err := h.store.Cancel(ctx, m.ID, h.clock.Now())
				h.must(err)
			default:
				h.settle(h.outcome(m, "b", gateway.Acked))
				h.settle(h.outcome(m, "a", s))
			}
		}
		for _, c := range []struct {
			name string
			q    gateway.MessageQuery
			want []string
		}{
			{"all", gateway.MessageQuery{}, []string{"half", "queued", "canceled", "failed", "rejected", "acked"}},
			{"queued", gateway.MessageQuery{State: gateway.Queued}, []string{"half", "queued"}},
			{"acked", gateway.MessageQuery{State: gateway.Acked}, []string{"canceled", "failed", "rejected", "acked"}},
			{"rejected", gateway.MessageQuery{State: gateway.Rejected}, []string{"rejected"}},
			{"failed", gateway.MessageQuery{State: gateway.Failed}, []string{"failed"}},
			{"canceled", gateway.MessageQuery{State: gateway.Canceled}, []string{"canceled"}},
			{"expired", gateway.MessageQuery{State: gateway.Expired}, nil},
			{"since", gateway.MessageQuery{Since: start.Add(5 * time.Second)}, []string{"half", "queued"}},
			{"before", gateway.MessageQuery{Before: state["failed"]}, []string{"rejected", "acked"}},
			{"created before", gateway.MessageQuery{CreatedBefore: start.Add(3 * time.Second)}, []string{"rejected", "acked"}},
			{"before one that is not there", gateway.MessageQuery{Before: messageID(start.Add(1500*time.Millisecond), 999)}, []string{"acked"}},
		} {
			for _, limit := range limits {
				c.q.Limit = limit
				var got, want []gateway.MessageID
				for _, m := range allMessages(h, h.store, c.q) {
					got = append(got, m.ID)
				}
				for _, name := range c.want {
					want = append(want, state[name])
				}
				h.same(fmt.Sprintf("%s by %d", c.name, limit), got, want)
				c.q.Ascending = true
				got = nil
				for _, m := range allMessages(h, h.store, c.q) {
					got = append(got, m.ID)
				}
				slices.Reverse(want)
				h.same(fmt.Sprintf("%s by %d, oldest first", c.name, limit), got, want)
				c.q.Ascending = false
			}
		}
		var got []gateway.MessageID
		for _, m := range allMessages(h, h.store, gateway.MessageQuery{Ascending: true, After: state["failed"], Before: state["half"], Limit: 1}) {
			got = append(got, m.ID)
		}
		h.same("between two", got, []gateway.MessageID{state["canceled"], state["queued"]})
	}},
	{name: "deliveries of a message come once each and by state", run: func(h *harness) {
		var ids []gateway.ClientID
		for i := range 25 {
			ids = append(ids, gateway.ClientID(fmt.Sprintf("c%02d", i*7%25)))
		}
		h.register(ids...)
		m := h.accept(h.to(gateway.Audience{All: true}, "x"))
		want := map[gateway.State][]gateway.ClientID{}
		for i, id := range ids {
			s := gateway.Queued
			switch i % 4 {
			case 0:
				s = gateway.Acked
			case 1:
				s = gateway.Rejected
			}
			if s != gateway.Queued {
				h.settle(h.outcome(m, id, s))
			}
			want[s] = append(want[s], id)
			want[0] = append(want[0], id)
		}
		for _, state := range []gateway.State{0, gateway.Queued, gateway.Acked, gateway.Rejected, gateway.Failed} {
			slices.Sort(want[state])
			for _, limit := range limits {
				var got []gateway.ClientID
				for _, d := range allDeliveries(h, h.store, gateway.DeliveryQuery{Message: m.ID, State: state, Limit: limit}) {
					got = append(got, d.Client)
					if d.Message != m.ID || d.Seq != m.Seq || (state != 0 && d.State != state) {
						h.Errorf("in the list for state %v: %+v", state, d)
					}
				}
				slices.Sort(got)
				h.same(fmt.Sprintf("state %v by %d", state, limit), got, want[state])
			}
		}
		_, err := h.store.Deliveries(gateway.DeliveryQuery{Message: h.id(), Limit: 1})
		h.wantCode(err, gateway.CodeMessageNotFound)
	}},
	{name: "one delivery is found by message and client", run: func(h *harness) {
		h.register("a", "b")
		m := h.push("a", "x")
		_, err := h.store.Delivery(m.ID, "b")
		h.wantCode(err, gateway.CodeClientNotFound)
		_, err = h.store.Delivery(m.ID, "nobody")
		h.wantCode(err, gateway.CodeClientNotFound)
		_, err = h.store.Delivery(h.id(), "a")
		h.wantCode(err, gateway.CodeMessageNotFound)
	}},
	{name: "a client's deliveries come newest first and by each filter", run: func(h *harness) {
		h.register("a", "b")
		var ms []gateway.Message
		for i := range 12 {
			h.clock.advance(time.Second)
			switch i % 3 {
			case 0:
				ms = append(ms, h.push("a", "x"))
			case 1:
				ms = append(ms, h.accept(h.to(gateway.Audience{All: true}, "x")))
			case 2:
				ms = append(ms, h.accept(h.to(gateway.Audience{Clients: []gateway.ClientID{"a"}}, "x")))
			}
			h.push("b", "another's")
		}
		var acked, queued, all []gateway.MessageID
		for i, m := range slices.Backward(ms) {
			if i%2 == 0 {
				h.settle(h.outcome(m, "a", gateway.Acked))
				acked = append(acked, m.ID)
			} else {
				queued = append(queued, m.ID)
			}
			all = append(all, m.ID)
		}
		for _, c := range []struct {
			name string
			q    gateway.ClientDeliveryQuery
			want []gateway.MessageID
		}{
			{"all", gateway.ClientDeliveryQuery{}, all},
			{"acked", gateway.ClientDeliveryQuery{State: gateway.Acked}, acked},
			{"queued", gateway.ClientDeliveryQuery{State: gateway.Queued}, queued},
			{"failed", gateway.ClientDeliveryQuery{State: gateway.Failed}, nil},
			{"before", gateway.ClientDeliveryQuery{Before: ms[4].Seq}, all[8:]},
			{"since", gateway.ClientDeliveryQuery{Since: ms[9].CreatedAt}, all[:3]},
		} {
			for _, limit := range limits {
				c.q.Client, c.q.Limit = "a", limit
				var got []gateway.MessageID
				for _, d := range allClientDeliveries(h, h.store, c.q) {
					got = append(got, d.Message)
				}
				h.same(fmt.Sprintf("%s by %d", c.name, limit), got, c.want)
			}
		}
	}},
	{name: "a list that changes while it is read neither skips nor repeats", run: func(h *harness) {
		want := map[gateway.ClientID]bool{}
		for i := range 50 {
			id := gateway.ClientID(fmt.Sprintf("old%03d", i))
			h.register(id)
			want[id] = true
		}
		got, n := map[gateway.ClientID]int{}, 0
		for _, r := range collect(h, func(after gateway.ClientID) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
			n++
			h.register(gateway.ClientID(fmt.Sprintf("new%03d", n)), gateway.ClientID(fmt.Sprintf("old%03d.new", n)))
			return h.store.Clients(gateway.ClientQuery{QueuedGT: -1, After: after, Limit: 7})
		}) {
			got[r.ID]++
		}
		for id, times := range got {
			if times != 1 {
				h.Errorf("%s came %d times", id, times)
			}
			delete(want, id)
		}
		if len(want) != 0 {
			h.Errorf("skipped %v", want)
		}
	}},
	{name: "what is read is a copy", run: func(h *harness) {
		h.register("a")
		a := h.to(gateway.Audience{Client: "a"}, "hello")
		a.Metadata = map[string]string{"k": "v"}
		h.accept(a)
		m := h.message(a.ID)
		m.Metadata["k"] = "changed"
		a.Metadata["k"] = "changed too"
		h.same("metadata", h.message(a.ID).Metadata, map[string]string{"k": "v"})
	}},
	{name: "stats count", run: func(h *harness) {
		h.register("a", "b")
		m := h.push("a", "x")
		h.clock.advance(time.Second)
		h.accept(h.to(gateway.Audience{All: true}, "x"))
		st := h.store.Stats()
		if st.Clients != 2 || st.Messages != 2 || st.Queued != 3 || st.Engine == "" || st.Events == 0 {
			h.Errorf("stats are %+v", st)
		}
		if !st.OldestAt.Equal(m.CreatedAt) {
			h.Errorf("the oldest is of %v, want %v", st.OldestAt, m.CreatedAt)
		}
		h.settle(h.outcome(m, "a", gateway.Acked))
		if st := h.store.Stats(); st.Queued != 2 || st.Messages != 2 || !st.OldestAt.Equal(h.clock.Now()) {
			h.Errorf("after an ack: %d queued of %d, the oldest of %v", st.Queued, st.Messages, st.OldestAt)
		}
	}},
}

var uplinkTests = []test{
	{name: "uplinks of a clock that was ahead do not keep those after them", run: func(h *harness) {
		for _, at := range []time.Time{h.clock.Now().Add(3 * 365 * 24 * time.Hour), h.clock.Now()} {
			if _, err := h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", Session: "ses_a", At: at, Payload: []byte("x")}); err != nil {
				h.Fatal(err)
			}
		}
		kept := func() int {
			p, err := h.store.Uplinks("a", 0, 10)
			h.must(err)
			return len(p.Items)
		}
		h.advance(6 * 24 * time.Hour)
		if n := kept(); n != 2 {
			h.Errorf("%d uplinks are left before their retention, want 2", n)
		}
		h.advance(2 * 24 * time.Hour)
		h.eventually("the uplinks are removed", func() bool { return kept() == 0 })
	}},
	{name: "uplinks are kept in order and found by client", run: func(h *harness) {
		want := map[gateway.ClientID][]gateway.Uplink{}
		var last uint64
		for i := range 20 {
			u := gateway.Uplink{Client: gateway.ClientID(fmt.Sprint("c", i%3)), Session: "ses_x", Number: uint64(i),
				At: h.clock.Now(), Payload: []byte(fmt.Sprint("payload ", i))}
			seq, err := h.store.AppendUplink(ctx, u)
			h.must(err)
			if seq <= last {
				h.Fatalf("sequence %d after %d", seq, last)
			}
			last, u.Seq = seq, seq
			want[u.Client] = append(want[u.Client], u)
		}
		for client, list := range want {
			for _, limit := range limits {
				h.same(fmt.Sprintf("%s by %d", client, limit), allUplinks(h, h.store, client, limit), list)
				h.sameUplinksBackwards(client, limit)
			}
		}
		p, err := h.store.Uplinks("c0", want["c0"][2].Seq, 100)
		h.must(err)
		h.same("after", p.Items, want["c0"][3:])
		h.same("of nobody", allUplinks(h, h.store, "nobody", 10), nil)
		for _, limit := range limits {
			all := allUplinks(h, h.store, "", limit)
			h.sameUplinksBackwards("", limit)
			if !slices.IsSortedFunc(all, func(a, b gateway.Uplink) int { return cmp.Compare(a.Seq, b.Seq) }) {
				h.Errorf("those of all clients by %d are not in order", limit)
			}
			of := map[gateway.ClientID][]gateway.Uplink{}
			for _, u := range all {
				of[u.Client] = append(of[u.Client], u)
			}
			h.same(fmt.Sprintf("all by %d", limit), of, want)
		}
	}},
	{name: "the payload is not kept by reference", run: func(h *harness) {
		buf := []byte("hello")
		_, err := h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", At: h.clock.Now(), Payload: buf})
		h.must(err)
		copy(buf, "XXXXX")
		if got := allUplinks(h, h.store, "a", 10); len(got) != 1 || string(got[0].Payload) != "hello" {
			h.Errorf("uplinks are %+v", got)
		}
	}},
}
