package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// gateStore holds registrations back once they are applied, or fails them.
type gateStore struct {
	gateway.Store
	applied func()
	broken  bool
	calls   int
}

func (s *gateStore) Register(ctx context.Context, r gateway.Registration) (gateway.ClientRecord, gateway.Seq, error) {
	s.calls++
	if s.broken {
		return gateway.ClientRecord{}, 0, gateway.ErrUnavailable
	}
	rec, given, err := s.Store.Register(ctx, r)
	if s.applied != nil {
		s.applied()
	}
	return rec, given, err
}

func gated(t *testing.T, cfg gateway.Config, f func(t *testing.T, g *gateway.Gateway, store *gateStore)) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &gateStore{Store: memory}
		f(t, gatewaytest.New(t, store, cfg), store)
	})
}

// stored is the store's data of a client.
func stored(t *testing.T, s gateway.Store, id gateway.ClientID) (all struct {
	Record gateway.ClientRecord
	Queue  []gateway.Transmission
}) {
	t.Helper()
	var err error
	if all.Record, err = s.Client(id); err != nil {
		t.Fatal(err)
	}
	if all.Queue, _, err = s.Next(gateway.TransmissionQuery{Client: id, Max: 100, MaxBytes: 1 << 20}, nil); err != nil {
		t.Fatal(err)
	}
	return all
}

// A refused REGISTER changes neither the client's record nor its queue, nor the
// connection that has the id.
func TestARefusedRegistrationChangesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		code   gateway.Code
		twins  bool
		token  string
		refuse func(g *gateway.Gateway, store *gateStore)
	}{
		"id in use":    {code: gateway.CodeIDInUse, twins: true},
		"unauthorized": {code: gateway.CodeUnauthorized, token: "guess"},
		"the hook":     {code: gateway.CodeUnavailable, token: "later"},
		"the store":    {code: gateway.CodeUnavailable, refuse: func(_ *gateway.Gateway, s *gateStore) { s.broken = true }},
		"draining":     {code: gateway.CodeDraining, refuse: func(g *gateway.Gateway, _ *gateStore) { g.Drain() }},
		"blocked": {code: gateway.CodeBlocked, refuse: func(_ *gateway.Gateway, s *gateStore) {
			s.UpdateClient(context.Background(), "a", gateway.ClientChange{BlockedUntil: new(time.Now().Add(time.Minute))})
		}},
		"bad label": {code: gateway.CodeValidation, refuse: func(_ *gateway.Gateway, s *gateStore) {}},
	} {
		t.Run(name, func(t *testing.T) {
			gated(t, gateway.Config{Authenticate: door, RejectTwins: tc.twins}, func(t *testing.T, g *gateway.Gateway, store *gateStore) {
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly, Probe: attentive,
					Hello: gateway.Hello{Token: "anybody", Labels: map[string]string{"hw": "2"}, Groups: []string{"fleet"}}})
				push(t, g, "a", "1")
				synctest.Wait()
				if tc.refuse != nil {
					tc.refuse(g, store)
				}
				before, closes := stored(t, store, "a"), len(l.Closes())
				time.Sleep(time.Second)
				h := gateway.Hello{Client: "a", Token: "anybody", Labels: map[string]string{"hw": "3"}, Groups: []string{"yard"},
					Log: g.Log(), Asks: true, AskThrough: 1}
				if tc.token != "" {
					h.Token = tc.token
				}
				if tc.code == gateway.CodeValidation {
					h.Labels = map[string]string{"not a label": ""}
				}
				_, _, err := g.Connect(t.Context(), h, gatewaytest.NewLink(gatewaytest.Options{}))
				if gateway.CodeOf(err) != tc.code {
					t.Fatalf("error %v, want %s", err, tc.code)
				}
				if after := stored(t, store, "a"); !reflect.DeepEqual(after, before) {
					t.Errorf("the client became\n%+v, was\n%+v", after, before)
				}
				if len(l.Closes()) != closes || !g.Online("a") {
					t.Errorf("the connection before: closes %+v, online %v", l.Closes(), g.Online("a"))
				}
				if tc.code == gateway.CodeDraining {
					return
				}
				l.Ack(l.Transmissions()[0], gateway.AckOK, nil)
				push(t, g, "a", "2")
				synctest.Wait()
				wantTexts(t, l, "1", "2")
				// The place was given back: the next one is let in.
				store.broken = false
				time.Sleep(time.Minute)
				if l.Disconnect(gateway.ReasonClientClosed); !tc.twins {
					gatewaytest.Connect(t, g, "a", gatewaytest.Options{Hello: gateway.Hello{Token: "anybody"}})
				}
			})
		})
	}
}

// A second registration of an id waits until the first is decided: with it, the
// id is in use, or taken over in this order.
func TestRegistrationsOfOneClientAreDecidedOneByOne(t *testing.T) {
	for _, twins := range []bool{false, true} {
		t.Run(fmt.Sprint("reject ", twins), func(t *testing.T) {
			gated(t, gateway.Config{RejectTwins: twins}, func(t *testing.T, g *gateway.Gateway, store *gateStore) {
				gate := make(chan struct{})
				store.applied = func() { <-gate }
				connect := func(ctx context.Context, label string) (*gatewaytest.Link, chan error) {
					l, done := gatewaytest.NewLink(gatewaytest.Options{}), make(chan error, 1)
					go func() {
						_, _, err := g.Connect(ctx, gateway.Hello{Client: "a", Labels: map[string]string{"n": label}}, l)
						done <- err
					}()
					synctest.Wait()
					return l, done
				}
				first, firstDone := connect(t.Context(), "1")
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, givenUp := connect(ctx, "2")
				_, lastDone := connect(t.Context(), "3")
				time.Sleep(time.Second)
				if calls := store.calls; calls != 1 || len(firstDone) != 0 {
					close(gate)
					t.Fatalf("%d registrations at a time", calls)
				}
				if err := <-givenUp; gateway.CodeOf(err) != gateway.CodeUnavailable {
					t.Errorf("a registration that has waited too long: %v", err)
				}
				close(gate)
				synctest.Wait()
				if err := <-firstDone; err != nil {
					t.Errorf("the first: %v", err)
				}
				want, code, closes := "3", gateway.Code(""), 1
				if twins {
					want, code, closes = "1", gateway.CodeIDInUse, 0
				}
				if err := <-lastDone; gateway.CodeOf(err) != code {
					t.Errorf("the last: %v, want %q", err, code)
				}
				if c, err := g.Client("a"); err != nil || c.Reported["n"] != want {
					t.Errorf("reported is that of %q, want %q (%v)", c.Reported["n"], want, err)
				}
				if len(first.Closes()) != closes {
					t.Errorf("the first connection's closes: %+v", first.Closes())
				}
			})
		})
	}
}

// The connection whose REGISTER came last keeps the id, however long the credentials of
// another one take: that one may have ended by then.
func TestALaterRegistrationIsNotReplacedByAnEarlierOne(t *testing.T) {
	taking := func(d string) gatewaytest.Options {
		return gatewaytest.Options{Hello: gateway.Hello{Token: d, Labels: map[string]string{"took": d}}}
	}
	slow := func(_ context.Context, h gateway.Hello) (gateway.Grant, error) {
		took, err := time.ParseDuration(h.Token)
		time.Sleep(took)
		return gateway.Grant{}, err
	}
	gated(t, gateway.Config{Authenticate: slow}, func(t *testing.T, g *gateway.Gateway, _ *gateStore) {
		earlier := func(took string) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := gatewaytest.TryConnect(t, g, "a", taking(took))
				done <- err
			}()
			synctest.Wait()
			return done
		}
		first, second := earlier("3s"), earlier("2s")
		last := gatewaytest.Connect(t, g, "a", taking("1s"))
		for _, done := range []chan error{second, first} {
			if err := <-done; !errors.Is(err, gateway.ErrOvertaken) {
				t.Errorf("an earlier registration: %v, want ErrOvertaken", err)
			}
		}
		if c := last.Closes(); len(c) != 0 {
			t.Errorf("the connection that registered last was closed: %+v", c)
		}
		if c, err := g.Client("a"); err != nil || c.Reported["took"] != "1s" {
			t.Errorf("reported %v (%v), want that of the last registration", c.Reported, err)
		}
		// It loses the id to a connection that came after it, and that one leaves it to any.
		early := earlier("2s")
		after := gatewaytest.Connect(t, g, "a", taking("1s"))
		if c := last.Closes(); len(c) != 1 {
			t.Errorf("closes %+v, want the takeover", c)
		}
		after.Disconnect(gateway.ReasonConnectionLost)
		if err := <-early; err != nil || !g.Online("a") {
			t.Errorf("an earlier registration, with no connection left: %v, online %v", err, g.Online("a"))
		}
	})
}

// A connection is replaced when the registration holds, and not before.
func TestATakeoverWaitsForTheRegistration(t *testing.T) {
	gated(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway, store *gateStore) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		gate := make(chan struct{})
		store.applied = func() { <-gate }
		go g.Connect(t.Context(), gateway.Hello{Client: "a"}, gatewaytest.NewLink(gatewaytest.Options{}))
		synctest.Wait()
		push(t, g, "a", "1")
		synctest.Wait()
		wantTexts(t, l, "1")
		if c := l.Closes(); len(c) != 0 {
			t.Errorf("closes %+v", c)
		}
		close(gate)
		synctest.Wait()
		if c := l.Closes(); len(c) != 1 || c[0].Code != gateway.CloseReplaced {
			t.Errorf("closes %+v", c)
		}
	})
}

// A client is not connected when its block is promised, also if it was about to be.
func TestABlockEndsARegistrationUnderWay(t *testing.T) {
	gated(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway, store *gateStore) {
		l := gatewaytest.NewLink(gatewaytest.Options{})
		gate := make(chan struct{})
		store.applied = func() { <-gate }
		go g.Connect(t.Context(), gateway.Hello{Client: "a"}, l)
		synctest.Wait()
		blocked := make(chan error, 1)
		go func() {
			blocked <- g.Disconnect(t.Context(), "a", gateway.DisconnectOptions{Block: time.Minute})
		}()
		synctest.Wait()
		close(gate)
		if err := <-blocked; err != nil {
			t.Error(err)
		}
		if c := l.Closes(); len(c) != 1 || c[0].Code != gateway.CloseKicked {
			t.Errorf("closes %+v", c)
		}
	})
}

// A connection that was lost during a slow decision does not close the one that serves.
func TestALostConnectionTakesNoPlace(t *testing.T) {
	for _, lost := range []bool{true, false} {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			serving := gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
			h := gateway.Hello{Client: "a", Lost: func() bool { return lost }}
			s, _, err := g.Connect(t.Context(), h, gatewaytest.NewLink(gatewaytest.Options{}))
			if errors.Is(err, gateway.ErrConnectionLost) != lost || (s == nil) != lost {
				t.Errorf("lost %v: %v", lost, err)
			}
			if n := len(serving.Closes()); (n == 0) != lost {
				t.Errorf("lost %v: the serving connection has %d closes", lost, n)
			}
			if s != nil {
				s.Closed(gateway.ReasonConnectionLost)
			}
		})
	}
}

func TestWhatIsResumed(t *testing.T) {
	for name, tc := range map[string]struct {
		log           gateway.LogID
		asks          bool
		through       gateway.Seq // above the highest sequence
		resumed       bool
		other, beyond uint64
	}{
		"all that was given out":     {"this", true, 0, true, 0, 0},
		"more than was given out":    {"this", true, 1, false, 0, 1},
		"far more":                   {"this", true, 1 << 62, false, 0, 1},
		"another log":                {"another", true, 0, false, 1, 0},
		"no log":                     {"", true, 0, false, 1, 0},
		"a device that is not asked": {"this", false, 0, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
				m := push(t, g, "a", "1")
				synctest.Wait()
				l.Disconnect(gateway.ReasonConnectionLost)
				h := gateway.Hello{Log: tc.log, Asks: tc.asks}
				if h.Asks {
					h.AskThrough = m.Seq + tc.through
				}
				if h.Log == "this" {
					h.Log = g.Log()
				}
				l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly, Hello: h})
				synctest.Wait()
				if l.Welcome.Resumed != tc.resumed || l.Welcome.Ask != tc.asks || l.Welcome.Log != g.Log() {
					t.Errorf("the welcome is %+v", l.Welcome)
				}
				if tc.asks && tc.resumed {
					wantTexts(t, l, "? 1")
				} else {
					wantTexts(t, l, "1 again")
				}
				if st := g.Stats(); st.OtherLog != tc.other || st.BeyondLog != tc.beyond {
					t.Errorf("counted %d of another log, %d beyond, want %d and %d", st.OtherLog, st.BeyondLog, tc.other, tc.beyond)
				}
			})
		})
	}
}

// undurableStore says that much is undurable.
type undurableStore struct {
	gateway.Store
	n, bytes atomic.Int64
}

func (s *undurableStore) Undurable(gateway.ClientID) (n, bytes int) {
	return int(s.n.Load()), int(s.bytes.Load())
}

// A device remembers a limited number of verdicts. Its unanswered deliveries, and
// the verdicts that a crash of the gateway may lose, stay below that.
func TestFirstTransmissionsWaitForUndurableVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &undurableStore{Store: memory}
		store.n.Store(gateway.MaxUndurable - 2)
		g := gatewaytest.New(t, store, gateway.Config{})
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 256, React: gatewaytest.FlushOnly})
		for i := range 5 {
			push(t, g, "a", fmt.Sprint(i+1))
		}
		time.Sleep(time.Second)
		wantTexts(t, l, "1", "2")
		store.n.Add(-1)
		time.Sleep(time.Second)
		wantTexts(t, l, "1", "2", "3")
		l.Session.AckTimeout(1, false) // a repeat is no first transmission
		synctest.Wait()
		wantTexts(t, l, "1", "2", "3", "1 again")
		store.n.Store(0)
		store.bytes.Store(gateway.MaxUndurableBytes)
		time.Sleep(time.Second)
		wantTexts(t, l, "1", "2", "3", "1 again")
		store.bytes.Add(-1)
		time.Sleep(time.Second)
		wantTexts(t, l, "1", "2", "3", "1 again", "4", "5")
	})
}
