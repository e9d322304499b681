package deviceauth

import (
	"net/netip"
	"testing"

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
