package gateway_test

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// A client is listed for ten minutes after its last uplink that was refused for a share,
// with the last reason. A later row begins anew. Other errors of the store do not count.
func TestRefusedUplinksAreListed(t *testing.T) {
	uplinkBubble(t, func(t *testing.T, g *gateway.Gateway, store *uplinkStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		number := uint64(0)
		refuse := func(err error) {
			t.Helper()
			store.refuse = func(uint64) error { return err }
			if number++; l.Session.Received(t.Context(), number, []byte("x")) == nil {
				t.Fatal("the uplink is stored")
			}
		}
		want := func(count uint64, reason string, first time.Time) {
			t.Helper()
			u, ok := g.UplinksRefusedOf("a")
			all := g.UplinksRefused()
			if ok != (count > 0) || len(all) != min(1, int(count)) || u.Count != count || u.Reason != reason || ok && (!u.FirstAt.Equal(first) || all[0] != u) {
				t.Errorf("listed %+v, %v, in all %+v; want %d for %s since %v", u, ok, all, count, reason, first)
			}
		}
		refuse(gateway.ErrUnavailable)
		want(0, "", time.Time{})
		begin := time.Now()
		refuse(gateway.UplinksFull(1, 9, 1, 10))
		time.Sleep(9 * time.Minute)
		refuse(gateway.EventsFull(1, time.Minute))
		want(2, gateway.UplinksEventsFull, begin)
		time.Sleep(10*time.Minute + time.Second)
		want(0, "", begin)
		begin = time.Now()
		refuse(gateway.UplinksFull(1, 9, 1, 10))
		want(1, gateway.UplinksOfClientFull, begin)
	})
}
