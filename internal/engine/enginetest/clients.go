package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

var clientTests = []test{
	{name: "a registration is remembered", run: func(h *harness) {
		at := h.clock.Now()
		r := gateway.Registration{Client: "a", Reported: map[string]string{"hw": "2"}, Groups: []string{"z", "b", "z"}, At: at}
		got, _, err := h.store.Register(ctx, r)
		h.must(err)
		want := gateway.ClientRecord{ID: "a", Reported: r.Reported, Groups: []string{"b", "z"}, Joined: make([]gateway.Joining, 2),
			CreatedAt: at, LastSeenAt: at, Epoch: 1}
		h.same("answer", got, want)
		h.same("record", h.client("a"), want)
	}},
	{name: "nil keeps what is reported and groups, empty clears them", run: func(h *harness) {
		first := h.clock.Now()
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: "a", Reported: map[string]string{"k": "v"}, Groups: []string{"g"}, At: first})
		h.must(err)
		h.clock.advance(time.Minute)
		second := h.clock.Now()
		got, _, err := h.store.Register(ctx, gateway.Registration{Client: "a", At: second})
		h.must(err)
		h.same("kept", got, gateway.ClientRecord{ID: "a", Reported: map[string]string{"k": "v"}, Groups: []string{"g"},
			Joined: make([]gateway.Joining, 1), CreatedAt: first, LastSeenAt: second, Epoch: 2})
		got, _, err = h.store.Register(ctx, gateway.Registration{Client: "a", Reported: map[string]string{}, Groups: []string{}, At: second})
		h.must(err)
		h.same("cleared", got, gateway.ClientRecord{ID: "a", CreatedAt: first, LastSeenAt: second, Epoch: 3})
		if m := h.accept(h.to(gateway.Audience{Group: "g"}, "x")); m.Counts.Total != 0 {
			h.Errorf("%d members of a group that the last one left", m.Counts.Total)
		}
	}},
	{name: "a registration returns the highest sequence", run: func(h *harness) {
		_, before, err := h.store.Register(ctx, gateway.Registration{Client: "a", At: h.clock.Now()})
		h.must(err)
		if before != 0 {
			h.Errorf("an empty log has given out %d", before)
		}
		h.push("a", "1")
		m := h.accept(h.to(gateway.Audience{All: true}, "2"))
		h.settle(h.outcome(m, "a", gateway.Acked))
		_, after, err := h.store.Register(ctx, gateway.Registration{Client: "b", At: h.clock.Now()})
		h.must(err)
		if after != m.Seq {
			h.Errorf("the log has given out %d, want %d", after, m.Seq)
		}
	}},
	{name: "a registration that is refused changes nothing", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		h.member("a", "g")
		m := h.push("a", "x")
		h.accept(h.to(gateway.Audience{All: true}, "y"))
		until := h.clock.Now().Add(time.Minute)
		_, err := h.store.UpdateClient(ctx, "a", gateway.ClientChange{BlockedUntil: &until})
		h.must(err)
		h.clock.advance(time.Second)
		before := dump(h, h.store)
		change := gateway.Registration{Client: "a", Reported: map[string]string{"k": "w"}, Groups: []string{"h"}, At: h.clock.Now()}
		if _, _, err = h.store.Register(ctx, change); gateway.CodeOf(err) != gateway.CodeBlocked {
			h.Errorf("a blocked client: %v", err)
		} else if e, _ := errors.AsType[*gateway.Error](err); e.RetryAfter != 59*time.Second {
			h.Errorf("retry after %v, want 59s", e.RetryAfter)
		}
		for _, id := range []gateway.ClientID{"a", "new"} {
			for _, bad := range []gateway.Registration{{Groups: []string{"not a group"}}, {Reported: map[string]string{"not a label": ""}}} {
				bad.Client, bad.At = id, until
				if bad.Groups == nil {
					bad.Groups = []string{"h"}
				}
				_, _, err = h.store.Register(ctx, bad)
				h.wantCode(err, gateway.CodeValidation)
			}
		}
		h.same("after the refusals", dump(h, h.store), before)
		h.wantState(m.ID, "a", gateway.Queued)
		change.At = until
		_, _, err = h.store.Register(ctx, change)
		h.must(err)
	}},
	{name: "a registration neither enters nor leaves guarded groups", run: func(h *harness) {
		register := func(groups, guarded []string) []string {
			r := gateway.Registration{Client: "a", Groups: groups, Guarded: map[string]bool{}, At: h.clock.Now()}
			for _, name := range guarded {
				r.Guarded[name] = true
			}
			c, _, err := h.store.Register(ctx, r)
			h.must(err)
			h.same("record", h.client("a").Groups, c.Groups)
			return c.Groups
		}
		h.same("entered", register([]string{"acme", "fleet"}, []string{"acme"}), []string{"fleet"})
		_, err := h.store.UpdateClient(ctx, "a", gateway.ClientChange{Groups: &[]string{"acme", "fleet"}})
		h.must(err)
		h.same("kept", register([]string{"yard", "acme", "other"}, []string{"acme", "other"}), []string{"acme", "yard"})
		h.same("named none", register(nil, []string{"acme"}), []string{"acme", "yard"})
		many := []string{}
		for i := range gateway.MaxGroups {
			many = append(many, fmt.Sprint("g", i))
		}
		if got := register(many, []string{"acme"}); len(got) != gateway.MaxGroups || got[0] != "acme" {
			h.Errorf("with no room for all: %q", got)
		}
		h.same("left", register([]string{}, []string{"acme"}), []string{"acme"})
		h.same("no longer guarded", register([]string{}, nil), []string{})
	}},
	{name: "a joining has what was before", run: func(h *harness) {
		groups := func(names ...string) []gateway.Joining {
			c, err := h.store.UpdateClient(ctx, "a", gateway.ClientChange{Groups: &names})
			h.must(err)
			if read := h.client("a").Joined; !slices.Equal(read, c.Joined) {
				h.Errorf("joined %+v, answered %+v", read, c.Joined)
			}
			return c.Joined
		}
		h.register("a")
		h.push("a", "1")
		_, err := h.store.AppendUplink(ctx, gateway.Uplink{Client: "a", At: h.clock.Now(), Payload: []byte("u")})
		h.must(err)
		first := groups("b", "c")
		if len(first) != 2 || first[0] != first[1] || first[0].Seq != 1 || first[0].Uplink != 1 || first[0].Event == 0 {
			h.Fatalf("joined %+v", first)
		}
		h.push("a", "2")
		second := groups("a", "c")
		if second[1] != first[1] {
			h.Errorf("of a group that it was in already: %+v, want %+v", second[1], first[1])
		}
		if second[0].Seq != 2 || second[0].Event <= first[0].Event {
			h.Errorf("of a new group: %+v", second[0])
		}
		h.same("unchanged", groups("c", "a"), second)
		h.same("in none", len(groups()), 0)
		if again := groups("c"); again[0].Event <= second[0].Event {
			h.Errorf("back in a group: %+v", again[0])
		}
	}},
	{name: "a client is created before it registers", run: func(h *harness) {
		at := h.clock.Now()
		v := "2"
		change := gateway.ClientChange{Labels: map[string]*string{"hw": &v, "gone": nil}, Groups: &[]string{"z", "b", "z"}}
		got, err := h.store.CreateClient(ctx, "a", at, "", change)
		h.must(err)
		want := gateway.ClientRecord{ID: "a", Labels: map[string]string{"hw": "2"}, Groups: []string{"b", "z"}, CreatedAt: at, Joined: make([]gateway.Joining, 2)}
		h.same("answer", got, want)
		h.same("record", h.client("a"), want)
		m := h.push("a", "x")
		h.wantState(m.ID, "a", gateway.Queued)
		if m := h.accept(h.to(gateway.Audience{Group: "z"}, "y")); m.Counts.Total != 1 {
			h.Errorf("%d members of its group", m.Counts.Total)
		}
		h.clock.advance(time.Minute)
		rec, _, err := h.store.Register(ctx, gateway.Registration{Client: "a", At: h.clock.Now()})
		h.must(err)
		want.LastSeenAt, want.Epoch, want.Queued, want.QueuedBytes = h.clock.Now(), 1, 2, 1
		h.same("registered", rec, want)
	}},
	{name: "a client is created once, within the bounds", run: func(h *harness) {
		h.register("a")
		before := dump(h, h.store)
		_, err := h.store.CreateClient(ctx, "a", h.clock.Now(), "", gateway.ClientChange{Groups: &[]string{"g"}})
		h.wantCode(err, gateway.CodeClientExists)
		_, err = h.store.CreateClient(ctx, "b", h.clock.Now(), "", gateway.ClientChange{Groups: &[]string{"not a group"}})
		h.wantCode(err, gateway.CodeValidation)
		h.same("after the refusals", dump(h, h.store), before)
		_, err = h.store.Client("b")
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "a disconnect notes last seen and the reason", run: func(h *harness) {
		h.register("a")
		h.clock.advance(time.Minute)
		h.disconnect("a", gateway.ReasonHeartbeatTimeout)
		h.store.Disconnected(gateway.Disconnection{Client: "nobody", Epoch: 1, At: h.clock.Now(), Reason: gateway.ReasonKicked})
		h.eventually("the reason is noted", func() bool { return h.client("a").LastClose == gateway.ReasonHeartbeatTimeout })
		if got := h.client("a").LastSeenAt; !got.Equal(h.clock.Now()) {
			h.Errorf("last seen at %v, want %v", got, h.clock.Now())
		}
		_, err := h.store.Client("nobody")
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "a session that is not the last one disconnects no client", run: func(h *harness) {
		h.register("a", "a")
		if got := h.client("a"); got.Epoch != 2 {
			h.Errorf("epoch %d after two registrations", got.Epoch)
		}
		seen := h.clock.Now()
		h.clock.advance(time.Minute)
		h.store.Disconnected(gateway.Disconnection{Client: "a", Epoch: 1, At: h.clock.Now(), Reason: gateway.ReasonConnectionLost})
		h.store.Disconnected(gateway.Disconnection{Client: "a", Epoch: 3, At: h.clock.Now(), Reason: gateway.ReasonConnectionLost})
		h.register("b") // the notes are in the log before
		if got := h.client("a"); got.LastClose != "" || !got.LastSeenAt.Equal(seen) {
			h.Errorf("closed by %q, seen at %v", got.LastClose, got.LastSeenAt)
		}
		h.disconnect("a", gateway.ReasonKicked)
		h.store.Disconnected(gateway.Disconnection{Client: "a", Epoch: 2, At: h.clock.Now().Add(time.Minute), Reason: gateway.ReasonConnectionLost})
		h.register("b")
		if got := h.client("a"); got.LastClose != gateway.ReasonKicked || !got.LastSeenAt.Equal(h.clock.Now()) {
			h.Errorf("closed by %q, seen at %v; the second end of a session counts", got.LastClose, got.LastSeenAt)
		}
	}},
	{name: "last seen follows a clock that is set back", run: func(h *harness) {
		h.register("a")
		h.clock.advance(-24 * time.Hour)
		h.register("a")
		if got := h.client("a").LastSeenAt; !got.Equal(h.clock.Now()) {
			h.Errorf("registered again: last seen at %v, want %v", got, h.clock.Now())
		}
		h.clock.advance(-24 * time.Hour)
		h.disconnect("a", gateway.ReasonHeartbeatTimeout)
		h.eventually("the reason is noted", func() bool { return h.client("a").LastClose == gateway.ReasonHeartbeatTimeout })
		if got := h.client("a").LastSeenAt; !got.Equal(h.clock.Now()) {
			h.Errorf("disconnected: last seen at %v, want %v", got, h.clock.Now())
		}
	}},
	{name: "events from a time on are found although the clock was set back", run: func(h *harness) {
		right := h.clock.Now()
		for range 20 {
			h.register("a")
			h.clock.advance(time.Minute)
		}
		h.clock.advance(-365 * 24 * time.Hour)
		for range 5 {
			h.register("a")
		}
		h.clock.advance(365 * 24 * time.Hour)
		h.register("a")
		last, err := h.store.EventsBefore(right.Add(10 * time.Minute))
		h.must(err)
		events, _, err := h.store.Events(last, 1000, nil)
		h.must(err)
		registered := 0
		for _, e := range events {
			if e.Type == gateway.EventClientConnected || e.Type == gateway.EventClientReplaced {
				registered++
			}
		}
		if registered != 10+5+1 {
			h.Errorf("%d registrations from the tenth minute on, want 16", registered)
		}
	}},
	{name: "a connected client is not forgotten, however far the clock is set forwards", run: func(h *harness) {
		h.register("a")
		h.advance(3 * 365 * 24 * time.Hour)
		if _, err := h.store.Client("a"); err != nil {
			h.Error(err)
		}
	}},
	{name: "beyond MaxClients a new client is refused", opt: Options{MaxClients: 3}, run: func(h *harness) {
		h.register("a", "b", "c")
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: "d", At: h.clock.Now()})
		h.wantCode(err, gateway.CodeTooManyClients)
		a := h.to(gateway.Audience{Client: "d"}, "x")
		a.QueueUnknown = true
		_, err = h.store.Accept(ctx, a)
		h.wantCode(err, gateway.CodeTooManyClients)
		a = h.to(gateway.Audience{Clients: []gateway.ClientID{"a", "d"}}, "x")
		a.QueueUnknown = true
		m := h.accept(a)
		if d := h.delivery(m.ID, "d"); d.State != gateway.Failed || d.Reason != gateway.ReasonTooManyClients {
			h.Errorf("in a list the delivery is %v, %q", d.State, d.Reason)
		}
		h.wantState(m.ID, "a", gateway.Queued)
		h.register("a") // it is known
		if n := h.store.Stats().Clients; n != 3 {
			h.Errorf("%d clients, want 3", n)
		}
		h.forget("c")
		h.register("d")
	}},
	{name: "an account has no more clients than are free", opt: Options{MaxClients: 10}, run: func(h *harness) {
		push := func(account, id string) error {
			a := h.to(gateway.Audience{Client: gateway.ClientID(id)}, "x")
			a.QueueUnknown, a.Account = true, account
			_, err := h.store.Accept(ctx, a)
			return err
		}
		for i := range 5 {
			h.must(push("key", fmt.Sprint("k", i)))
		}
		h.wantCode(push("key", "k5"), gateway.CodeTooManyClients)
		for i := range 3 {
			_, _, err := h.store.Register(ctx, gateway.Registration{Client: gateway.ClientID(fmt.Sprint("t", i)), Account: "tenant", At: h.clock.Now()})
			h.must(err)
		}
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: "t3", Account: "tenant", At: h.clock.Now()})
		h.wantCode(err, gateway.CodeTooManyClients)
		h.must(push("", "operator-1"))
		h.register("operator-2")
		h.forget("k0")
		h.wantCode(push("key", "k5"), gateway.CodeTooManyClients) // it has 4, and 1 place is free
		h.must(push("other", "o1"))
	}},
	{name: "the members of a tenant's group are counted as one account", opt: Options{MaxClients: 10}, run: func(h *harness) {
		const tenant = gateway.GroupAccount + "g"
		create := func(id gateway.ClientID) error {
			_, err := h.store.CreateClient(ctx, id, h.clock.Now(), tenant, gateway.ClientChange{Groups: &[]string{"g"}})
			return err
		}
		regroup := func(id gateway.ClientID, account string, groups ...string) {
			_, err := h.store.UpdateClient(ctx, id, gateway.ClientChange{Groups: &groups, Account: account})
			h.must(err)
		}
		for i := range 3 {
			h.must(create(gateway.ClientID(fmt.Sprint("g", i))))
		}
		h.register("a")
		h.register("b")
		regroup("a", tenant, "g")
		h.must(create("g3")) // the fifth
		h.wantCode(create("g4"), gateway.CodeTooManyClients)
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: "b", Groups: []string{"g", "x"}, Account: tenant, At: h.clock.Now()})
		h.must(err)
		regroup("a", "", "x")
		regroup("b", "", "x")
		_, err = h.store.UpdateClient(ctx, "g0", gateway.ClientChange{Labels: map[string]*string{"k": new("v")}})
		h.must(err)
		h.wantCode(create("g4"), gateway.CodeTooManyClients) // 4 of 6 are the tenant's
		regroup("g1", "", "x")
		h.must(create("g4"))
		for _, id := range []gateway.ClientID{"g0", "g2", "g3", "g4"} {
			h.forget(id)
		}
		h.must(create("g5"))
	}},
	{name: "what a client reports is no label", run: func(h *harness) {
		h.labeled("a", map[string]string{"site": "north"})
		_, _, err := h.store.Register(ctx, gateway.Registration{Client: "a", Reported: map[string]string{"site": "south", "hw": "2"}, At: h.clock.Now()})
		h.must(err)
		c := h.client("a")
		h.same("labels", c.Labels, map[string]string{"site": "north"})
		h.same("reported", c.Reported, map[string]string{"site": "south", "hw": "2"})
		for label, n := range map[string]int{"north": 1, "south": 0} {
			if m := h.accept(h.to(gateway.Audience{Labels: map[string]string{"site": label}}, "x")); m.Counts.Total != n {
				h.Errorf("site %s selects %d, want %d", label, m.Counts.Total, n)
			}
		}
		_, err = h.store.UpdateClient(ctx, "a", gateway.ClientChange{Labels: map[string]*string{"hw": nil}})
		h.must(err)
		h.same("reported after an update", h.client("a").Reported, c.Reported)
	}},
	{name: "an update merges labels, replaces groups and sets the block", run: func(h *harness) {
		h.labeled("a", map[string]string{"keep": "1", "drop": "2", "change": "3"})
		h.member("a", "old")
		until := h.clock.Now().Add(time.Hour)
		got, err := h.store.UpdateClient(ctx, "a", gateway.ClientChange{
			Labels:       map[string]*string{"drop": nil, "change": new("4"), "add": new("5"), "absent": nil},
			Groups:       &[]string{"new", "also"},
			BlockedUntil: &until,
		})
		h.must(err)
		want := h.client("a")
		h.same("answer", got, want)
		h.same("labels", got.Labels, map[string]string{"keep": "1", "change": "4", "add": "5"})
		h.same("groups", got.Groups, []string{"also", "new"})
		if !got.BlockedUntil.Equal(until) {
			h.Errorf("blocked until %v, want %v", got.BlockedUntil, until)
		}
		for group, n := range map[string]int{"old": 0, "new": 1} {
			if m := h.accept(h.to(gateway.Audience{Group: group}, "x")); m.Counts.Total != n {
				h.Errorf("group %s has %d members, want %d", group, m.Counts.Total, n)
			}
		}
		got, err = h.store.UpdateClient(ctx, "a", gateway.ClientChange{BlockedUntil: new(time.Time)})
		h.must(err)
		if !got.BlockedUntil.IsZero() || len(got.Labels) != 3 || len(got.Groups) != 2 {
			h.Errorf("after lifting the block: %+v", got)
		}
	}},
	{name: "an update of an unknown client is refused", run: func(h *harness) {
		_, err := h.store.UpdateClient(ctx, "nobody", gateway.ClientChange{Groups: &[]string{"g"}})
		h.wantCode(err, gateway.CodeClientNotFound)
	}},
	{name: "an update keeps the bounds or changes nothing", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		before := h.client("a")
		labels, groups := map[string]*string{}, []string{}
		for i := range gateway.MaxLabels { // one more than allowed, with the existing one
			labels[fmt.Sprint("k", i)] = new("")
		}
		for i := range gateway.MaxGroups + 1 {
			groups = append(groups, fmt.Sprint("g", i))
		}
		long := func(n int) string { return strings.Repeat("x", n+1) }
		for name, c := range map[string]gateway.ClientChange{
			"too many labels":        {Labels: labels},
			"long label key":         {Labels: map[string]*string{long(gateway.MaxLabelKey): new("")}},
			"empty label key":        {Labels: map[string]*string{"": new("")}},
			"bad label key":          {Labels: map[string]*string{"a:b": new("")}},
			"long label value":       {Labels: map[string]*string{"k": new(long(gateway.MaxLabelValue))}},
			"label value not UTF-8":  {Labels: map[string]*string{"k": new("\xff")}},
			"too many groups":        {Groups: &groups},
			"long group":             {Groups: &[]string{long(gateway.MaxGroupName)}},
			"empty group":            {Groups: &[]string{""}},
			"bad group":              {Groups: &[]string{"a b"}},
			"one good, one bad":      {Groups: &[]string{"good"}, Labels: map[string]*string{"a b": new("")}},
			"bad label, good block":  {BlockedUntil: new(h.clock.Now()), Labels: map[string]*string{"a/b": new("")}},
			"value beyond in a pair": {Labels: map[string]*string{"good": new("1"), "k": new(long(gateway.MaxLabelValue))}},
		} {
			if _, err := h.store.UpdateClient(ctx, "a", c); gateway.CodeOf(err) != gateway.CodeValidation {
				h.Errorf("%s: error is %v, want code %s", name, err, gateway.CodeValidation)
			}
		}
		h.same("record", h.client("a"), before)
		delete(labels, "k0") // exactly at the bounds
		groups = groups[1:]
		got, err := h.store.UpdateClient(ctx, "a", gateway.ClientChange{Labels: labels, Groups: &groups})
		h.must(err)
		if len(got.Labels) != gateway.MaxLabels || len(got.Groups) != gateway.MaxGroups {
			h.Errorf("%d labels, %d groups", len(got.Labels), len(got.Groups))
		}
	}},
	{name: "a record is a copy", run: func(h *harness) {
		h.labeled("a", map[string]string{"k": "v"})
		h.member("a", "g")
		c := h.client("a")
		c.Labels["k"], c.Groups[0] = "changed", "changed"
		if c := h.client("a"); c.Labels["k"] != "v" || c.Groups[0] != "g" {
			h.Errorf("the record became %v, %v", c.Labels, c.Groups)
		}
	}},
	{name: "queued counts what is not final", run: func(h *harness) {
		h.register("a", "b")
		m := h.push("a", "12345")
		h.push("a", "123")
		h.accept(h.to(gateway.Audience{All: true}, "xyz"))
		if c := h.client("a"); c.Queued != 3 || c.QueuedBytes != 8 {
			h.Errorf("%d queued with %d bytes, want 3 with 8", c.Queued, c.QueuedBytes)
		}
		h.settle(h.outcome(m, "a", gateway.Rejected))
		if c := h.client("a"); c.Queued != 2 || c.QueuedBytes != 3 {
			h.Errorf("%d queued with %d bytes, want 2 with 3", c.Queued, c.QueuedBytes)
		}
		if got := h.store.Stats().Queued; got != 3 {
			h.Errorf("the store has %d queued, want 3", got)
		}
	}},
}
