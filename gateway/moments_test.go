package gateway_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// bareLink is a connection whose session the test begins and ends; its device acks.
type bareLink struct {
	*gatewaytest.Link
	session *gateway.Session
}

func connectBare(t *testing.T, g *gateway.Gateway) *bareLink {
	t.Helper()
	l := &bareLink{Link: gatewaytest.NewLink(gatewaytest.Options{Probe: mute})}
	s, _, err := g.Connect(t.Context(), gateway.Hello{Client: "a", Dialect: "v2"}, l)
	if err != nil {
		t.Fatal(err)
	}
	l.session = s
	return l
}

func (l *bareLink) Close(gateway.Close) {}

func (l *bareLink) Deliver(p gateway.Transmission) error {
	go func() {
		l.session.Sent(p.Seq, p.Ephemeral, time.Now())
		l.session.Acked(p.Seq, p.Ephemeral, gateway.AckOK, nil, time.Now())
	}()
	return nil
}

// A client reads as online from its registration on. An online push that comes before its
// link has begun waits for it.
func TestAnOnlinePushRightAfterTheRegistration(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := connectBare(t, g)
		if !g.Online("a") {
			t.Fatal("it is offline")
		}
		time.AfterFunc(time.Millisecond, l.session.Start)
		r, err := g.PushOnline(t.Context(), gateway.OnlineRequest{Client: "a", Payload: []byte("now")})
		if err != nil || r.State != gateway.Acked {
			t.Errorf("%v, %v; want it acked", r.State, err)
		}
	})
}

// ender asks the gateway when its call ends.
type ender struct {
	g      *gateway.Gateway
	online chan bool
}

func (e ender) Answered(gateway.OnlineResult, error) {
	defer close(e.online)
	online := make(chan bool, 1)
	go func() { online <- e.g.Online("a") }()
	select {
	case o := <-online:
		e.online <- o
	case <-time.After(time.Second):
	}
}

// Answered is called without a lock: it may ask the gateway about the client.
func TestTheEndOfACallHoldsNoLock(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprint("takeover ", takeover), func(t *testing.T) {
			store := memstore.New(memstore.Options{})
			t.Cleanup(func() { store.Close() })
			g := gatewaytest.New(t, store, gateway.Config{})
			l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
			e := ender{g, make(chan bool, 1)}
			if err := g.StartOnline(new(gateway.OnlineCall), gateway.OnlineRequest{Client: "a", Payload: []byte("now")}, e, nil); err != nil {
				t.Fatal(err)
			}
			if takeover {
				go gatewaytest.TryConnect(t, g, "a", gatewaytest.Options{})
			} else {
				go l.Disconnect(gateway.ReasonConnectionLost)
			}
			if online, ok := <-e.online; !ok || online != takeover {
				t.Errorf("when the call ends, the gateway answers %t, online %t; want an answer and %t", ok, online, takeover)
			}
		})
	}
}

// A forgotten client is offline when Forget returns.
func TestAForgottenClientIsOffline(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		for _, id := range []gateway.ClientID{"a", "b"} {
			for range 5 {
				gatewaytest.Connect(t, g, id, gatewaytest.Options{}).Disconnect(gateway.ReasonHeartbeatTimeout)
			}
		}
		connectBare(t, g).session.Start() // its link is slow to close
		for _, id := range []gateway.ClientID{"a", "b"} {
			if _, err := g.Forget(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if _, err := g.PushOnline(t.Context(), gateway.OnlineRequest{Client: id, Payload: []byte("now")}); gateway.CodeOf(err) != gateway.CodeClientNotFound || g.Online(id) {
				t.Errorf("%s: online %t, a push: %v", id, g.Online(id), err)
			}
		}
		if f, s := g.Flapping(), g.Silent(); len(f)+len(s) > 0 {
			t.Errorf("forgotten clients flap: %v, or are silent: %v", f, s)
		}
	})
}

// A client that goes offline again and again is not forgotten because others do once.
func TestAClientFlapsAmongThousands(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		for round := range 5 {
			gatewaytest.Connect(t, g, "flaps", gatewaytest.Options{}).Disconnect(gateway.ReasonHungUp)
			for i := range 1000 {
				gatewaytest.Connect(t, g, gateway.ClientID(fmt.Sprint("once-", round, "-", i)), gatewaytest.Options{}).Disconnect(gateway.ReasonHungUp)
			}
		}
		if u, ok := g.FlappingOf("flaps"); !ok || u.Count != 5 {
			t.Errorf("it flaps: %t, %+v", ok, u)
		}
	})
}

// A probe of a connection that was replaced shows what the client is when that ends.
func TestAProbeOfAReplacedConnection(t *testing.T) {
	for _, online := range []bool{true, false} {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			s := connectBare(t, g).session
			s.Start()
			var p gateway.Probed
			go func() { p, _ = g.Probe(t.Context(), "a", "") }()
			synctest.Wait()
			l2 := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
			if !online {
				l2.Disconnect(gateway.ReasonConnectionLost)
			}
			s.Closed(gateway.ReasonReplaced)
			synctest.Wait()
			if want := map[bool]gateway.Presence{true: gateway.Online, false: gateway.Offline}[online]; p.Presence != want {
				t.Errorf("the probe says %v, want %v", p.Presence, want)
			}
		})
	}
}
