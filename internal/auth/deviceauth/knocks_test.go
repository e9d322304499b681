package deviceauth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

func ids(list []gateway.Knock) (all []string) {
	for _, k := range list {
		all = append(all, string(k.Client))
	}
	return all
}

func TestRefusedDevicesAreListed(t *testing.T) {
	d := open(t, Config{SharedToken: "s"})
	for _, id := range []string{"b", "a", "c", "b"} {
		d.knock(hello(id, "wrong"))
	}
	h := hello("b", "")
	h.Dialect, h.Remote = "text", netip.MustParseAddrPort("198.51.100.9:5")
	d.knock(h)
	list := d.Knocks()
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids(list)); diff != "" {
		t.Fatalf("listed are (-want +got):\n%s", diff)
	}
	b := list[1]
	if b.Count != 3 || b.Reason != string(ReasonNoCredentials) || b.Remote != h.Remote || b.Dialect != "text" || b.FirstAt.After(b.LastAt) || b.FirstAt.IsZero() {
		t.Errorf("b is %+v", b)
	}
	d.knock(hello("b", "s")) // let in at last
	if diff := cmp.Diff([]string{"a", "c"}, ids(d.Knocks())); diff != "" || d.Stats().Knocking != 2 {
		t.Errorf("after b was let in (-want +got):\n%s", diff)
	}
}

func (k *knocks) from(addr string, id string, now time.Time) {
	a := netip.MustParseAddr(addr)
	k.add(&gateway.Hello{Client: gateway.ClientID(id), Remote: netip.AddrPortFrom(a, 1)}, sourceOf(netip.AddrPortFrom(a, 1)), ReasonWrongToken, now)
}

// One place cannot push out what others have left.
func TestListOfRefusedDevicesIsBounded(t *testing.T) {
	k := newKnocks()
	now := time.Unix(1e9, 0)
	k.from("192.0.2.1", "honest", now)
	for i := range 5000 {
		k.from("198.51.100.1", fmt.Sprint("guess-", i), now)
	}
	if n := k.len(); n != 1+maxKnocksPerSource {
		t.Errorf("%d entries, want one and %d of the guesser", n, maxKnocksPerSource)
	}
	for s := range 50 { // many places, each below its own bound
		for i := range 60 {
			k.from(fmt.Sprintf("203.0.113.%d", s), fmt.Sprintf("many-%d-%d", s, i), now)
		}
	}
	if n := k.len(); n != maxKnocks || len(k.byID) != maxKnocks || len(k.bySource) > maxKnocks {
		t.Errorf("%d entries, %d by id, %d sources; want %d", n, len(k.byID), len(k.bySource), maxKnocks)
	}
	if _, ok := k.byID["honest"]; !ok {
		t.Error("the one entry of a quiet place was pushed out")
	}
	if _, ok := k.byID["guess-0"]; ok {
		t.Error("the oldest entry of the loudest place is still there")
	}
	total := 0
	for _, n := range k.bySource {
		total += n
	}
	if total != maxKnocks {
		t.Errorf("%d entries by source, want %d", total, maxKnocks)
	}
}
