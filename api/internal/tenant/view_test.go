package tenant

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// viewOf opens a gateway with a key of that limit.
func viewOf(t *testing.T, l apikey.Limit) *View {
	t.Helper()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	k, _, err := apikey.NewKeyset().Create(apikey.Spec{Name: "x", Scopes: apikey.ClientsRead, Limit: l}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := NewViews(gatewaytest.New(t, store, gateway.Config{}), apikey.NewKeyset(), nil, time.Now).View(k, Request{})
	return &v
}

// TestTotalsAreForTheUnlimited, whatever the scopes say.
func TestTotalsAreForTheUnlimited(t *testing.T) {
	if _, err := viewOf(t, apikey.Limit{Prefix: "a-"}).Stats(); gateway.CodeOf(err) != gateway.CodeUnauthorized {
		t.Errorf("%v, want a refusal", err)
	}
	if _, err := viewOf(t, apikey.Limit{}).Stats(); err != nil {
		t.Error(err)
	}
}

// TestUnknownIDsAreSeenByPrefix: an unknown id is in no group, so only a prefix shows it.
func TestUnknownIDsAreSeenByPrefix(t *testing.T) {
	for _, c := range []struct {
		limit apikey.Limit
		want  bool
	}{{apikey.Limit{}, true}, {apikey.Limit{Prefix: "a-"}, true}, {apikey.Limit{Prefix: "a-10"}, false}, {apikey.Limit{Group: "a-1"}, false}} {
		if got := viewOf(t, c.limit).MaySee("a-1"); got != c.want {
			t.Errorf("%+v may see a-1: %v, want %v", c.limit, got, c.want)
		}
	}
}

// TestWhatIsAboutNobodyIsForTheUnlimited: an event that names neither a client
// nor a message.
func TestWhatIsAboutNobodyIsForTheUnlimited(t *testing.T) {
	for _, l := range []apikey.Limit{{Prefix: "a-"}, {Group: "a"}} {
		f, err := viewOf(t, l).Filter(Everything)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := f.Wants(&gateway.Event{Type: "gateway.started"}); in || err != nil {
			t.Errorf("%+v may see its event", l)
		}
	}
}

// TestPagesOfWhatOthersHaveEnd: a page passes over a bounded number of rows, and
// the pages after it lose none.
func TestPagesOfWhatOthersHaveEnd(t *testing.T) {
	const rows, own = 30_000, 7_001 // each own-th row is the caller's
	at, read := 0, 0
	page := func(limit int) gateway.Page[int, int] {
		t.Helper()
		read = 0
		p, err := filtered(limit, func(n int) (gateway.Page[int, int], error) {
			var p gateway.Page[int, int]
			for i := at + 1; i <= rows && len(p.Items) < n; i++ {
				p.Items, p.Next = append(p.Items, i), i
			}
			read += len(p.Items)
			p.More = p.Next < rows
			return p, nil
		}, func(i *int) int { return *i }, func(i *int) (bool, error) { return *i%own == 0, nil }, func(next int) { at = next })
		if err != nil {
			t.Fatal(err)
		}
		at = p.Next
		return p
	}
	var got []int
	for n := 0; n < 100; n++ {
		p := page(2)
		got = append(got, p.Items...)
		if read > scanLimit+200 {
			t.Fatalf("one page read %d rows, want at most %d", read, scanLimit+200)
		}
		if !p.More {
			break
		}
	}
	if want := fmt.Sprint([]int{own, 2 * own, 3 * own, 4 * own}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// countingStore counts the look-ups of clients.
type countingStore struct {
	gateway.Store
	clients atomic.Int64
}

func (s *countingStore) Client(id gateway.ClientID) (gateway.ClientRecord, error) {
	s.clients.Add(1)
	return s.Store.Client(id)
}

// TestStreamsShareTheLookUpOfAnEvent: what one event costs the store does not rise
// with the streams of keys that are limited to a group.
func TestStreamsShareTheLookUpOfAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &countingStore{Store: memstore.New(memstore.Options{})}
		t.Cleanup(func() { store.Close() })
		g := gatewaytest.New(t, store, gateway.Config{})
		views := NewViews(g, apikey.NewKeyset(), nil, time.Now)
		k, _, err := apikey.NewKeyset().Create(apikey.Spec{Name: "x", Scopes: apikey.EventsRead, Limit: apikey.Limit{Group: "gang"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		in := gatewaytest.Connect(t, g, "in", gatewaytest.Options{Hello: gateway.Hello{Groups: []string{"gang"}}})
		out := gatewaytest.Connect(t, g, "out", gatewaytest.Options{})
		synctest.Wait() // the streams begin behind the events of the connections
		var streams []*Subscription
		for range 20 {
			v := views.View(k, Request{})
			sub := v.SubscribeNow()
			streams = append(streams, sub)
		}
		before := store.clients.Load()
		const events = 10
		for i := range uint64(events) {
			for _, l := range []*gatewaytest.Link{out, in} {
				if err := l.Session.Received(t.Context(), i+1, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range streams {
			seen := 0
			for seen < events {
				list, err := s.Next(t.Context(), make([]gateway.Event, 0, 2*events))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					if seen++; e.Client != "in" {
						t.Errorf("a stream of the group shows an event of %s", e.Client)
					}
				}
			}
		}
		if n := store.clients.Load() - before; n > 2*events {
			t.Errorf("%d events took %d look-ups for %d streams, want one each", 2*events, n, len(streams))
		}
	})
}

// Far behind the end of the log a key with a limit waits for its turn to read; near the end,
// and without a limit, none does.
func TestTheTurnOfALimitedKey(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	for _, limited := range []bool{false, true} {
		limit := apikey.Limit{}
		if limited {
			limit.Prefix = "a"
		}
		v := viewOf(t, limit)
		for range cap(v.shared.scans) {
			v.shared.scans <- struct{}{}
		}
		for behind, far := range map[uint64]bool{0: false, nearEnd: false, nearEnd + 1: true} {
			if _, err := v.Turn(ended, behind); (err != nil) != (limited && far) {
				t.Errorf("limited %v, %d behind: %v", limited, behind, err)
			}
		}
	}
}
