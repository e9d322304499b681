package tenant

import (
	"fmt"
	"testing"
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
	v := NewDoor(gatewaytest.New(t, store, gateway.Config{}), func(string) bool { return false }, nil, time.Now).View(k, Request{})
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

// TestStrangersAreSeenByPrefix: nobody is a member of a group before it is known.
func TestStrangersAreSeenByPrefix(t *testing.T) {
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
		if viewOf(t, l).hears(&gateway.Event{Type: "gateway.started"}) {
			t.Errorf("%+v hears of it", l)
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
