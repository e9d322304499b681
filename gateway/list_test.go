package gateway_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// countedStore counts the reads of a list.
type countedStore struct {
	gateway.Store
	looked, pages int
}

func (s *countedStore) Client(id gateway.ClientID) (gateway.ClientRecord, error) {
	s.looked++
	return s.Store.Client(id)
}

func (s *countedStore) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	s.pages++
	return s.Store.Clients(q)
}

// A page asks little of the store whatever it filters, and the pages together
// have everything that matches.
func TestPagesOfFilteredClientsAreBounded(t *testing.T) {
	const known, online, rare = 7000, 700, 350
	mem := memstore.New(memstore.Options{})
	t.Cleanup(func() { mem.Close() })
	store := &countedStore{Store: mem}
	g := gatewaytest.New(t, store, gateway.Config{})
	var isOnline, isOffline []gateway.ClientID // of the rare group
	for i := range known {
		id := gateway.ClientID(fmt.Sprintf("c%05d", i))
		groups := []string{"usual"}
		connected := i%(known/online) == 0
		if i%rare == 0 {
			groups = []string{"rare"}
			if i%(2*rare) == 0 {
				isOnline = append(isOnline, id)
			} else {
				isOffline, connected = append(isOffline, id), false
			}
		}
		if _, _, err := mem.Register(context.Background(), gateway.Registration{Client: id, Groups: groups, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if connected {
			gatewaytest.Connect(t, g, id, gatewaytest.Options{})
		}
	}
	all := slices.Sorted(slices.Values(append(slices.Clone(isOnline), isOffline...)))
	for _, test := range []struct {
		status gateway.ClientStatus
		group  string
		want   []gateway.ClientID
	}{
		{gateway.StatusOnline, "rare", isOnline},
		{gateway.StatusOffline, "rare", isOffline},
		{gateway.StatusAll, "rare", all},
		{gateway.StatusOnline, "nobody", nil},
		{gateway.StatusAll, "nobody", nil},
	} {
		q := gateway.ClientSelection{Status: test.status, ClientQuery: gateway.ClientQuery{Group: test.group, QueuedGT: -1, Limit: 3}}
		var got []gateway.ClientID
		for {
			store.looked, store.pages = 0, 0
			page, err := g.Clients(q)
			if err != nil {
				t.Fatal(err)
			}
			if store.looked > 500 || store.pages > 500/3+1 {
				t.Fatalf("status %d, group %s: a page cost %d look-ups and %d reads of the store", test.status, test.group, store.looked, store.pages)
			}
			for _, c := range page.Items {
				got = append(got, c.ID)
			}
			if !page.More {
				break
			}
			q.After = page.Next
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("status %d, group %s: got %v, want %v", test.status, test.group, got, test.want)
		}
	}
}

// A large page of those online is full.
func TestLargePageOfOnlineClientsIsFull(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	t.Cleanup(func() { mem.Close() })
	g := gatewaytest.New(t, mem, gateway.Config{})
	for i := range 800 {
		gatewaytest.Connect(t, g, gateway.ClientID(fmt.Sprintf("c%03d", i)), gatewaytest.Options{})
	}
	page, err := g.Clients(gateway.ClientSelection{ClientQuery: gateway.ClientQuery{QueuedGT: -1, Limit: 750}})
	if err != nil || len(page.Items) != 750 || !page.More {
		t.Errorf("got %d clients, more %v, %v; want 750 and more", len(page.Items), page.More, err)
	}
}

// Clients are found by their connections, in both orders, and a page stays bounded.
func TestClientsAreListedByTheirConnections(t *testing.T) {
	mem := memstore.New(memstore.Options{})
	t.Cleanup(func() { mem.Close() })
	store := &countedStore{Store: mem}
	g := gatewaytest.New(t, store, gateway.Config{})
	var rare []gateway.ClientID
	for i := range 1200 {
		id := gateway.ClientID(fmt.Sprintf("c%04d", i))
		o := gatewaytest.Options{Remote: netip.MustParseAddrPort("198.51.100.7:1000")}
		if i%400 == 17 {
			o.Remote = netip.MustParseAddrPort(fmt.Sprintf("203.0.113.%d:1000", i%250))
			rare = append(rare, id)
		}
		gatewaytest.Connect(t, g, id, o)
	}
	gone := gatewaytest.Connect(t, g, "d", gatewaytest.Options{Remote: netip.MustParseAddrPort("203.0.113.9:1000")})
	gone.Disconnect(gateway.ReasonClientClosed)
	read := func(q gateway.ClientSelection) (ids []gateway.ClientID) {
		t.Helper()
		q.QueuedGT = -1
		for {
			store.looked, store.pages = 0, 0
			page, err := g.Clients(q)
			if err != nil || store.looked > 500 || store.pages > 500 {
				t.Fatalf("%d look-ups, %d pages of the store, %v", store.looked, store.pages, err)
			}
			for _, c := range page.Items {
				ids = append(ids, c.ID)
			}
			if !page.More {
				return ids
			}
			q.After = page.Next
		}
	}
	from := netip.MustParsePrefix("203.0.113.0/24")
	for _, status := range []gateway.ClientStatus{gateway.StatusOnline, gateway.StatusAll} {
		if got := read(gateway.ClientSelection{Status: status, Addr: from, ClientQuery: gateway.ClientQuery{Limit: 2}}); !slices.Equal(got, rare) {
			t.Errorf("status %d: from %s are %v, want %v", status, from, got, rare)
		}
	}
	down := slices.Clone(rare)
	slices.Reverse(down)
	if got := read(gateway.ClientSelection{Addr: from, ClientQuery: gateway.ClientQuery{Limit: 1, Descending: true}}); !slices.Equal(got, down) {
		t.Errorf("falling: %v, want %v", got, down)
	}
	all := read(gateway.ClientSelection{Dialect: "v2", ClientQuery: gateway.ClientQuery{Limit: 500, Descending: true, From: "c0900", Prefix: "c0"}})
	if len(all) != 901 || all[0] != "c0900" || all[900] != "c0000" {
		t.Errorf("down from c0900 are %d, first %v", len(all), all[:1])
	}
	if got := read(gateway.ClientSelection{Dialect: "text"}); got != nil {
		t.Errorf("with text are %v, want none", got)
	}
	if got := read(gateway.ClientSelection{Status: gateway.StatusOffline, Since: time.Now().Add(-time.Minute)}); !slices.Equal(got, []gateway.ClientID{"d"}) {
		t.Errorf("gone in this minute: %v, want d", got)
	}
	if got := read(gateway.ClientSelection{Status: gateway.StatusAll, Since: time.Now().Add(time.Minute)}); got != nil {
		t.Errorf("since later: %v, want none", got)
	}
}
