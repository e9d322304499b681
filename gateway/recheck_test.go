package gateway_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// pass is a credential that the test can revoke.
type pass struct {
	asked   atomic.Int32
	revoked atomic.Bool
	onAsk   func()
}

func (p *pass) Holds(gateway.ClientID) bool {
	p.asked.Add(1)
	if p.onAsk != nil {
		p.onAsk()
	}
	return !p.revoked.Load()
}

// passes gives each device the credential that its token names; others have
// none that can be taken back.
func passes(by map[string]*pass) gateway.Config {
	return gateway.Config{Authenticate: func(_ context.Context, h gateway.Hello) (gateway.Grant, error) {
		if p, ok := by[h.Token]; ok {
			return gateway.Grant{Credential: p}, nil
		}
		return gateway.Grant{}, nil
	}}
}

func withToken(token string) gatewaytest.Options {
	return gatewaytest.Options{Hello: gateway.Hello{Token: token}}
}

func TestRevokedCredentialEndsItsConnections(t *testing.T) {
	good, bad := &pass{}, &pass{}
	bubble(t, passes(map[string]*pass{"good": good, "bad": bad}), func(t *testing.T, g *gateway.Gateway) {
		stays := gatewaytest.Connect(t, g, "a", withToken("good"))
		open := gatewaytest.Connect(t, g, "b", withToken(""))
		goes := []*gatewaytest.Link{gatewaytest.Connect(t, g, "c", withToken("bad")), gatewaytest.Connect(t, g, "d", withToken("bad"))}
		if n := g.Recheck(); n != 0 {
			t.Errorf("%d connections ended with nothing revoked", n)
		}
		bad.revoked.Store(true)
		if n := g.Recheck(); n != len(goes) {
			t.Errorf("%d connections ended, want %d", n, len(goes))
		}
		synctest.Wait()
		for _, l := range goes {
			c := l.Closes()
			if len(c) != 1 || c[0].Code != gateway.CloseCredentialsExpired || c[0].Reason != gateway.ReasonCredentialsExpired || c[0].RetryAfter > 6*time.Second {
				t.Errorf("the device was told %+v, want 3006 once, to come back within seconds", c)
			}
		}
		if len(stays.Closes()) != 0 || len(open.Closes()) != 0 || !g.Online("a") || !g.Online("b") || g.Online("c") {
			t.Errorf("closed are %v and %v", stays.Closes(), open.Closes())
		}
		gatewaytest.Connect(t, g, "c", withToken("good")) // with a new one it is back
		if n := g.Recheck(); n != 0 || !g.Online("c") {
			t.Errorf("%d connections ended after its return", n)
		}
	})
}

// A credential is kept for as long as its session is the client's.
func TestCredentialGoesWithItsSession(t *testing.T) {
	first, second := &pass{}, &pass{}
	bubble(t, passes(map[string]*pass{"first": first, "second": second}), func(t *testing.T, g *gateway.Gateway) {
		asked := func(p *pass) int32 { before := p.asked.Load(); g.Recheck(); return p.asked.Load() - before }
		l := gatewaytest.Connect(t, g, "a", withToken("first"))
		if got := asked(first); got != 1 {
			t.Fatalf("asked %d times, want once", got)
		}
		l.Disconnect(gateway.ReasonConnectionLost)
		if got := asked(first); got != 0 {
			t.Errorf("asked %d times after the end", got)
		}
		old := gatewaytest.Connect(t, g, "a", withToken("first"))
		gatewaytest.Connect(t, g, "a", withToken("second"))
		synctest.Wait() // the one before has gone
		if got := asked(second); got != 1 || len(old.Closes()) != 1 {
			t.Errorf("after a takeover asked %d times, old connection closed %d times; want 1, 1", got, len(old.Closes()))
		}
		if got := asked(first); got != 0 {
			t.Errorf("the credential of the one before was asked %d times", got)
		}
		gatewaytest.Connect(t, g, "a", withToken(""))
		if got := asked(second); got != 0 {
			t.Errorf("after a takeover without one asked %d times", got)
		}
	})
}

// A revocation between the admission of a device and its entry into the hub
// counts, too.
func TestCredentialRevokedWhileItRegisters(t *testing.T) {
	p := &pass{}
	p.revoked.Store(true)
	bubble(t, passes(map[string]*pass{"late": p}), func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", withToken("late"))
		synctest.Wait()
		if c := l.Closes(); len(c) != 1 || c[0].Code != gateway.CloseCredentialsExpired || g.Online("a") {
			t.Errorf("told %+v, online %v; want 3006 and not", c, g.Online("a"))
		}
	})
}

// While Recheck asks ten thousand clients, others register. The revoked clients
// come back over a time that grows with their number.
func TestRecheckHoldsUpNobody(t *testing.T) {
	const n = 10_000
	p := &pass{}
	store := memstore.New(memstore.Options{})
	defer store.Close()
	g := gatewaytest.New(t, store, passes(map[string]*pass{"many": p}))
	links := make([]*gatewaytest.Link, n)
	for i := range links {
		links[i] = gatewaytest.NewLink(gatewaytest.Options{})
		s, _, err := g.Connect(t.Context(), gateway.Hello{Client: gateway.ClientID(fmt.Sprint("m-", i)), Token: "many"}, links[i])
		if err != nil {
			t.Fatal(err)
		}
		links[i].Session = s
	}
	asked, goOn := make(chan struct{}), make(chan struct{})
	p.onAsk = sync.OnceFunc(func() { close(asked); <-goOn })
	p.revoked.Store(true)
	ended := make(chan int, 1)
	go func() { ended <- g.Recheck() }()
	<-asked
	registered := make(chan error, 1)
	go func() { registered <- registerMany(t.Context(), g, 1000) }()
	select {
	case err := <-registered: // some of them in the shard that is asked
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody can register while a credential is asked")
	}
	close(goOn)
	if got := <-ended; got != n {
		t.Errorf("%d connections ended, want %d", got, n)
	}
	latest := time.Duration(0)
	for _, l := range links {
		for _, c := range l.Closes() {
			latest = max(latest, c.RetryAfter)
		}
	}
	if latest < 6*time.Second || latest > 7*time.Second {
		t.Errorf("the last comes back after %v, want 6 to 7 s", latest)
	}
}

func registerMany(ctx context.Context, g *gateway.Gateway, n int) error {
	for i := range n {
		h := gateway.Hello{Client: gateway.ClientID(fmt.Sprint("new-", i))}
		if _, _, err := g.Connect(ctx, h, gatewaytest.NewLink(gatewaytest.Options{})); err != nil {
			return err
		}
	}
	return nil
}

// The cost of a change of credentials for each 10,000 connected clients.
func BenchmarkRecheck(b *testing.B) {
	store := memstore.New(memstore.Options{})
	defer store.Close()
	g := gatewaytest.New(b, store, passes(map[string]*pass{"": {}}))
	if err := registerMany(b.Context(), g, 10_000); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.Recheck()
	}
}
