package deviceauth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
)

func ids(list []gateway.RefusedRegistration) (all []string) {
	for _, k := range list {
		all = append(all, string(k.Client))
	}
	return all
}

func TestRefusedDevicesAreListed(t *testing.T) {
	d := open(t, Config{SharedToken: "s"})
	for _, id := range []string{"b", "a", "c", "b"} {
		d.register(hello(id, "wrong"))
	}
	h := hello("b", "")
	h.Dialect, h.Remote = "text", netip.MustParseAddrPort("198.51.100.9:5")
	d.register(h)
	list := d.Refused()
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids(list)); diff != "" {
		t.Fatalf("listed are (-want +got):\n%s", diff)
	}
	b := list[1]
	if b.Count != 3 || b.Reason != string(ReasonNoCredentials) || b.Remote != h.Remote || b.Dialect != "text" || b.FirstAt.After(b.LastAt) || b.FirstAt.IsZero() {
		t.Errorf("b is %+v", b)
	}
	d.register(hello("b", "s")) // let in at last
	if diff := cmp.Diff([]string{"a", "c"}, ids(d.Refused())); diff != "" || d.Stats().Refused != 2 {
		t.Errorf("after b was let in (-want +got):\n%s", diff)
	}
}

func (l *refusedList) from(addr string, id string, now time.Time) {
	a := netip.MustParseAddr(addr)
	l.add(&gateway.Hello{Client: gateway.ClientID(id), Remote: netip.AddrPortFrom(a, 1)}, sourceOf(netip.AddrPortFrom(a, 1)), ReasonWrongToken, now)
}

// One place cannot push out what others have left.
func TestListOfRefusedDevicesIsBounded(t *testing.T) {
	l := newRefusedList()
	now := time.Unix(1e9, 0)
	l.from("192.0.2.1", "honest", now)
	for i := range 5000 {
		l.from("198.51.100.1", fmt.Sprint("guess-", i), now)
	}
	if n := l.len(); n != 1+maxRefusedPerSource {
		t.Errorf("%d entries, want one and %d of the guesser", n, maxRefusedPerSource)
	}
	for s := range 50 { // many places, each below its own bound
		for i := range 60 {
			l.from(fmt.Sprintf("203.0.113.%d", s), fmt.Sprintf("many-%d-%d", s, i), now)
		}
	}
	if n := l.len(); n != maxRefused || len(l.byID) != maxRefused || len(l.bySource) > maxRefused {
		t.Errorf("%d entries, %d by id, %d sources; want %d", n, len(l.byID), len(l.bySource), maxRefused)
	}
	if _, ok := l.byID["honest"]; !ok {
		t.Error("the one entry of a quiet place was pushed out")
	}
	if _, ok := l.byID["guess-0"]; ok {
		t.Error("the oldest entry of the loudest place is still there")
	}
	total := 0
	for _, n := range l.bySource {
		total += n
	}
	if total != maxRefused {
		t.Errorf("%d entries by source, want %d", total, maxRefused)
	}
}
