package gateway_test

import (
	"context"
	"fmt"
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
