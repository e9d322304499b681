package gateway_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// unstableWorld is a gateway in virtual time.
func unstableWorld(t *testing.T, f func(t *testing.T, g *gateway.Gateway), c gateway.Config) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		t.Cleanup(func() { store.Close() })
		f(t, gatewaytest.New(t, store, c))
	})
}

func comeAndGo(t *testing.T, g *gateway.Gateway, reason string) {
	gatewaytest.Connect(t, g, "meter", gatewaytest.Options{}).Disconnect(reason)
}

// TestAClientThatComesAndGoesFlaps: five times within a minute each, until it has been
// quiet for five minutes.
func TestAClientThatComesAndGoesFlaps(t *testing.T) {
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		for n := range 5 {
			if got := g.Flapping(); len(got) != 0 {
				t.Errorf("after %d closes: %+v", n, got)
			}
			comeAndGo(t, g, gateway.ReasonConnectionLost)
			time.Sleep(50 * time.Second)
		}
		if u, ok := g.FlappingOf("meter"); !ok || u.Count != 5 || u.Reason != gateway.ReasonConnectionLost {
			t.Errorf("of the client alone: %+v, %t", u, ok)
		}
		if got := g.Flapping(); len(got) != 1 || got[0].Count != 5 || got[0].Client != "meter" || got[0].Reason != gateway.ReasonConnectionLost || time.Since(got[0].Since) != 250*time.Second {
			t.Errorf("flapping %+v, want the client since its first close", got)
		}
		time.Sleep(5 * time.Minute)
		if u, ok := g.FlappingOf("meter"); ok {
			t.Errorf("of the client alone after five quiet minutes: %+v", u)
		}
		if got := g.Flapping(); len(got) != 0 {
			t.Errorf("after five quiet minutes: %+v", got)
		}
		for range 10 {
			comeAndGo(t, g, gateway.ReasonConnectionLost)
			time.Sleep(61 * time.Second)
		}
		if got := g.Flapping(); len(got) != 0 {
			t.Errorf("a close every 61 s: %+v, want no flapping", got)
		}
	}, gateway.Config{})
}

// TestTwoDevicesWithOneID: takeovers in turn, or refusals, until one of them is left.
func TestTwoDevicesWithOneID(t *testing.T) {
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		for range 4 {
			gatewaytest.Connect(t, g, "meter", gatewaytest.Options{})
			time.Sleep(5 * time.Second)
		}
		if got := g.Conflicts(); len(got) != 1 || got[0].Count != 3 {
			t.Errorf("conflicts %+v, want the three takeovers", got)
		}
		time.Sleep(10 * time.Minute)
		if got := g.Conflicts(); len(got) != 0 {
			t.Errorf("ten minutes later: %+v", got)
		}
	}, gateway.Config{})
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "meter", gatewaytest.Options{Probe: attentive})
		for range 3 {
			if _, _, err := g.Connect(t.Context(), gateway.Hello{Client: "meter"}, nil); gateway.CodeOf(err) != gateway.CodeIDInUse {
				t.Fatal(err)
			}
		}
		if got := g.Conflicts(); len(got) != 1 || got[0].Count != 3 {
			t.Errorf("conflicts %+v, want the three refusals", got)
		}
	}, gateway.Config{RejectTwins: true})
}

// TestClaimsNameTheAddresses: of the connected device and of its rival, the latest first,
// with takeovers and with refusals. They are bounded, and end with the conflict.
func TestClaimsNameTheAddresses(t *testing.T) {
	at := func(addr string) gateway.Hello {
		return gateway.Hello{Client: "meter", Dialect: "text", Remote: netip.MustParseAddrPort(addr)}
	}
	come := func(t *testing.T, g *gateway.Gateway, addr string) {
		h := at(addr)
		gatewaytest.Connect(t, g, "meter", gatewaytest.Options{Hello: h, Remote: h.Remote, Probe: attentive})
	}
	claims := func(g *gateway.Gateway) (all []string) {
		for _, c := range g.Claims("meter") {
			all = append(all, fmt.Sprint(c.Remote, " ", c.Count, " ", time.Since(c.At)))
		}
		return all
	}
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		come(t, g, "192.0.2.7:1")
		if got := claims(g); got != nil {
			t.Errorf("of one device: %q", got)
		}
		for _, addr := range []string{"198.51.100.9:1", "192.0.2.7:2", "198.51.100.9:2", "198.51.100.9:3"} {
			time.Sleep(5 * time.Second)
			come(t, g, addr)
		}
		if got, want := claims(g), []string{"198.51.100.9:3 3 0s", "192.0.2.7:2 2 10s"}; !slices.Equal(got, want) {
			t.Errorf("claims are %q, want %q", got, want)
		}
		for n := range 9 {
			come(t, g, fmt.Sprintf("203.0.113.%d:1", n))
		}
		if got := claims(g); len(got) != 8 || got[0] != "203.0.113.8:1 1 0s" || got[7] != "203.0.113.1:1 1 0s" {
			t.Errorf("claims of many addresses are %q, want the last eight", got)
		}
		time.Sleep(10*time.Minute + time.Second)
		if got := claims(g); got != nil {
			t.Errorf("ten minutes later: %q", got)
		}
	}, gateway.Config{})
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		come(t, g, "192.0.2.7:1")
		time.Sleep(time.Hour)
		for range 3 {
			if _, _, err := g.Connect(t.Context(), at("198.51.100.9:1"), nil); gateway.CodeOf(err) != gateway.CodeIDInUse {
				t.Fatal(err)
			}
		}
		if got, want := claims(g), []string{"198.51.100.9:1 3 0s", "192.0.2.7:1 1 1h0m0s"}; !slices.Equal(got, want) {
			t.Errorf("claims are %q, want the refused device and the connected one: %q", got, want)
		}
	}, gateway.Config{RejectTwins: true})
}

// TestASilentDeviceComesBack: it is silent for ten minutes at most.
func TestASilentDeviceComesBack(t *testing.T) {
	unstableWorld(t, func(t *testing.T, g *gateway.Gateway) {
		comeAndGo(t, g, gateway.ReasonClientClosed)
		if got := g.Silent(); len(got) != 0 {
			t.Errorf("a device that said goodbye: %+v", got)
		}
		comeAndGo(t, g, gateway.ReasonHeartbeatTimeout)
		if got := g.Silent(); len(got) != 1 {
			t.Errorf("silent %+v, want the device", got)
		}
		l := gatewaytest.Connect(t, g, "meter", gatewaytest.Options{})
		if got := g.Silent(); len(got) != 0 {
			t.Errorf("it is back: %+v", got)
		}
		l.Disconnect(gateway.ReasonHeartbeatTimeout)
		time.Sleep(10*time.Minute + time.Second)
		if got := g.Silent(); len(got) != 0 {
			t.Errorf("ten minutes later: %+v", got)
		}
	}, gateway.Config{})
}

// TestATallyMissesNoClient: it begins while clients come and go.
func TestATallyMissesNoClient(t *testing.T) {
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	g := gatewaytest.New(t, store, gateway.Config{})
	var coming sync.WaitGroup
	for n := range 8 {
		coming.Go(func() {
			for i := range 50 {
				id := gateway.ClientID(fmt.Sprintf("%c-%d-%d", 'a'+n%2, n, i))
				l := gatewaytest.Connect(t, g, id, gatewaytest.Options{})
				if i%2 == 0 {
					l.Disconnect(gateway.ReasonClientClosed)
				}
			}
		})
	}
	tally := g.Tally("a-")
	g.Tally("b")
	coming.Wait()
	if got := tally.Counts().Online; got != 100 {
		t.Errorf("%d clients online, want 100", got)
	}
	if g.Tally("a-") != tally {
		t.Error("a second tally of one prefix")
	}
	if got := g.Tally("").Counts().Online; got != 200 {
		t.Errorf("%d clients online in all, want 200", got)
	}
	g.Untally("a-")
	gatewaytest.Connect(t, g, "a-new", gatewaytest.Options{})
	if got := tally.Counts().Online; got != 100 {
		t.Errorf("%d clients after its end, want it to count no more", got)
	}
}
