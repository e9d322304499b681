package gateway_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// mute is a device that can be asked, and does not answer by itself.
func mute(*gatewaytest.Link) bool { return true }

// attentive is a device that answers at once.
func attentive(l *gatewaytest.Link) bool {
	l.Session.Alive(time.Millisecond)
	return true
}

func newProbed(t *testing.T) *gateway.Gateway {
	t.Helper()
	store := memstore.New(memstore.Options{})
	t.Cleanup(func() { store.Close() })
	return gatewaytest.New(t, store, gateway.Config{})
}

// probed returns the result of a probe and the time that it took.
func probed(t *testing.T, g *gateway.Gateway, id gateway.ClientID) (gateway.Probed, time.Duration) {
	t.Helper()
	began := time.Now()
	r, err := g.Probe(t.Context(), id, "")
	if err != nil {
		t.Error(err)
	}
	return r, time.Since(began)
}

func wantProbed(t *testing.T, g *gateway.Gateway, id gateway.ClientID, want gateway.Probed, after time.Duration) {
	t.Helper()
	if r, took := probed(t, g, id); r != want || took != after {
		t.Errorf("probe of %s: %+v after %v, want %+v after %v", id, r, took, want, after)
	}
}

func TestAProbeReportsWhatTheDeviceDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newProbed(t)
		after := func(d time.Duration, do func(*gatewaytest.Link)) func(*gatewaytest.Link) bool {
			return func(l *gatewaytest.Link) bool {
				time.AfterFunc(d, func() { do(l) })
				return true
			}
		}
		connect := func(id gateway.ClientID, probe func(*gatewaytest.Link) bool) {
			gatewaytest.Connect(t, g, id, gatewaytest.Options{Probe: probe})
		}
		connect("alive", after(12*time.Millisecond, func(l *gatewaytest.Link) { l.Session.Alive(12 * time.Millisecond) }))
		connect("slow", after(1200*time.Millisecond, func(l *gatewaytest.Link) { l.Session.Alive(1200 * time.Millisecond) }))
		connect("talks", after(time.Second, func(l *gatewaytest.Link) { l.Speak() }))
		connect("frozen", mute)
		connect("busy", func(*gatewaytest.Link) bool { return false })
		connect("ends", after(time.Second, func(l *gatewaytest.Link) { l.Disconnect(gateway.ReasonHeartbeatTimeout) }))
		connect("gone", mute)
		connect("returns", after(time.Second, func(*gatewaytest.Link) { connect("returns", mute) }))
		time.Sleep(time.Second)

		wantProbed(t, g, "alive", gateway.Probed{Presence: gateway.Online, RTT: 12 * time.Millisecond, Asked: true}, 12*time.Millisecond)
		wantProbed(t, g, "slow", gateway.Probed{Presence: gateway.Online, RTT: 1200 * time.Millisecond, Asked: true}, 1200*time.Millisecond)
		wantProbed(t, g, "talks", gateway.Probed{Presence: gateway.Online, Asked: true}, gateway.ProbeTime)
		wantProbed(t, g, "frozen", gateway.Probed{Presence: gateway.Suspect, Asked: true}, gateway.ProbeTime)
		wantProbed(t, g, "busy", gateway.Probed{Presence: gateway.Suspect}, gateway.ProbeTime)
		wantProbed(t, g, "ends", gateway.Probed{Presence: gateway.Offline, Asked: true}, time.Second)
		wantProbed(t, g, "ends", gateway.Probed{Presence: gateway.Offline}, 0)
		wantProbed(t, g, "returns", gateway.Probed{Presence: gateway.Online, Asked: true}, time.Second)
		synctest.Wait() // the test knows the new link only now
		if _, err := g.Probe(t.Context(), "nobody", ""); gateway.CodeOf(err) != gateway.CodeClientNotFound {
			t.Errorf("an unknown client: %v", err)
		}
		if got := g.Stats().Probes; got["online"] != 4 || got["suspect"] != 2 || got["offline"] != 2 || got["refused"] != 0 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestProbesOfOneClientShareAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newProbed(t)
		questions := 0
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{Probe: func(l *gatewaytest.Link) bool {
			questions++
			time.AfterFunc(time.Second, func() { l.Session.Alive(time.Second) })
			return true
		}})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				wantProbed(t, g, "a", gateway.Probed{Presence: gateway.Online, RTT: time.Second, Asked: true}, time.Second)
			})
		}
		all.Wait()
		if questions != 1 {
			t.Errorf("the device was asked %d times", questions)
		}
		probed(t, g, "a")
		if questions != 2 {
			t.Errorf("asked %d times after another probe, want 2", questions)
		}
	})
}

func TestProbesOfTenThousandDevicesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newProbed(t)
		const devices = 10_000
		id := func(i int) gateway.ClientID { return gateway.ClientID(fmt.Sprintf("d-%05d", i)) }
		for i := range devices {
			gatewaytest.Connect(t, g, id(i), gatewaytest.Options{Probe: mute})
		}
		var mu sync.Mutex
		suspects, refused := 0, 0
		var all sync.WaitGroup
		for i := range devices {
			all.Go(func() {
				began := time.Now()
				r, err := g.Probe(t.Context(), id(i), "")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && r.Presence == gateway.Suspect && time.Since(began) == gateway.ProbeTime:
					suspects++
				case gateway.CodeOf(err) == gateway.CodeTooManyProbes && time.Since(began) == 0:
					refused++
				default:
					t.Errorf("%+v, %v after %v", r, err, time.Since(began))
				}
			})
		}
		all.Wait()
		if suspects != gateway.MaxProbes || refused != devices-gateway.MaxProbes {
			t.Errorf("%d answered and %d refused, want %d and the rest", suspects, refused, gateway.MaxProbes)
		}
		wantProbed(t, g, id(0), gateway.Probed{Presence: gateway.Suspect, Asked: true}, gateway.ProbeTime) // there is room again
	})
}

// One account cannot fill all places, and one that has none finds room until all are
// taken. Probes that ended, and shared ones, cost nothing.
func TestAnAccountHasAsManyProbesAsAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newProbed(t)
		next := 0
		// ask begins up to n probes for an account, and returns how many were not refused.
		ask := func(by string, n int) (begun int) {
			for range n {
				id := gateway.ClientID(fmt.Sprintf("d-%05d", next))
				next++
				gatewaytest.Connect(t, g, id, gatewaytest.Options{Probe: mute})
				refused := make(chan error, 1)
				go func() {
					_, err := g.Probe(t.Context(), id, by)
					refused <- err
				}()
				synctest.Wait()
				select {
				case err := <-refused:
					if gateway.CodeOf(err) != gateway.CodeTooManyProbes {
						t.Fatalf("%s: %v", by, err)
					}
				default:
					begun++
				}
			}
			return begun
		}
		for _, c := range []struct {
			by        string
			ask, want int
		}{{"hoarder", 600, gateway.MaxProbes / 2}, {"other", 600, gateway.MaxProbes / 4}, {"third", 100, 100}, {"hoarder", 1, 0}, {"", 600, gateway.MaxProbes/4 - 100}, {"fourth", 1, 0}} {
			if got := ask(c.by, c.ask); got != c.want {
				t.Errorf("%q began %d of %d probes, want %d", c.by, got, c.ask, c.want)
			}
		}
		time.Sleep(gateway.ProbeTime)
		if got := ask("hoarder", 600); got != gateway.MaxProbes/2 {
			t.Errorf("began %d probes after the end of all, want the half of them again", got)
		}
	})
}

func TestASuspectClientIsOnlineAndListedUntilItSpeaksOrEnds(t *testing.T) {
	g := newProbed(t)
	links := map[gateway.ClientID]*gatewaytest.Link{}
	for _, id := range []gateway.ClientID{"a", "b", "c", "d"} {
		links[id] = gatewaytest.Connect(t, g, id, gatewaytest.Options{})
	}
	want := func(suspects ...gateway.ClientID) {
		t.Helper()
		page, err := g.Clients(gateway.ClientSelection{Status: gateway.StatusSuspect, ClientQuery: gateway.ClientQuery{QueuedGT: -1}})
		if err != nil {
			t.Fatal(err)
		}
		var got []gateway.ClientID
		for _, c := range page.Items {
			if c.Presence() != gateway.Suspect || !c.Online {
				t.Errorf("%s is listed as %v, online %t", c.ID, c.Presence(), c.Online)
			}
			got = append(got, c.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(suspects) || g.Stats().Suspect != len(suspects) {
			t.Errorf("suspect: %v, %d counted, want %v", got, g.Stats().Suspect, suspects)
		}
	}
	want()
	for _, id := range []gateway.ClientID{"d", "b", "a"} {
		links[id].Session.Suspect()
	}
	want("a", "b", "d")
	if c, err := g.Client("c"); err != nil || c.Presence() != gateway.Online {
		t.Errorf("c: %v, %v", c.Presence(), err)
	}
	links["a"].Session.Alive(0)
	want("b", "d")
	links["d"].Disconnect(gateway.ReasonHeartbeatTimeout)
	want("b")
	gatewaytest.Connect(t, g, "b", gatewaytest.Options{}) // takes over
	want()
	links["b"].Session.Suspect() // too late
	want()
	if c, err := g.Client("d"); err != nil || c.Presence() != gateway.Offline {
		t.Errorf("d: %v, %v", c.Presence(), err)
	}
}
