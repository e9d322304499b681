package tcpserver

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wantTurnedAway checks that d was told to come back later, and is closed.
func (w *world) wantTurnedAway(d *device) {
	w.Helper()
	w.pass(time.Second)
	var code, retry int
	if n, _ := fmt.Sscanf(d.heard(), "CLOSE %d %d overloaded\n", &code, &retry); n != 2 || code != 3005 || retry < 1000 || retry > 6000 {
		w.Errorf("device heard %q, want CLOSE 3005 with 1,000 to 6,000 ms", d.heard())
	}
	if d.closedAt() < 0 {
		w.Error("the connection is open")
	}
}

// Ten seconds' worth may come at once, then one after the other; each rate is
// tried by connections that register.
func TestRates(t *testing.T) {
	for name, c := range map[string]struct {
		limit func(*Config, Rates)
		who   []string // connect in turn
		rates Rates
		want  string // reason
	}{
		"accepts":                  {acceptRates, []string{"192.0.2.1:1", "198.51.100.1:1"}, Rates{All: 1}, "accept_rate"},
		"accepts, loopback too":    {acceptRates, []string{"127.0.0.1:1"}, Rates{All: 1}, "accept_rate"},
		"accepts per address":      {acceptRates, []string{"192.0.2.1:1", "192.0.2.1:2"}, Rates{PerSource: 1}, "accept_rate_per_ip"},
		"accepts per network":      {acceptRates, []string{"[2001:db8::1]:1", "[2001:db8::2]:2"}, Rates{PerSource: 1}, "accept_rate_per_ip"},
		"registrations":            {registerRates, []string{"192.0.2.1:1", "198.51.100.1:1"}, Rates{All: 1}, "register_rate"},
		"registrations, loopback":  {registerRates, []string{"127.0.0.1:1"}, Rates{All: 1}, "register_rate"},
		"registrations per source": {registerRates, []string{"192.0.2.1:1"}, Rates{PerSource: 1}, "register_rate_per_ip"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				arrive := func(i int) *device {
					d := w.dialSilently(c.who[i%len(c.who)])
					d.read()
					d.send(fmt.Sprintf("REGISTER d%d\n", i))
					return d
				}
				for i := range 10 {
					if d := arrive(i); !strings.HasPrefix(d.heard(), "REGISTERED ") {
						t.Fatalf("number %d heard %q", i, d.heard())
					}
				}
				w.wantRefused(c.want, 0)
				refused := arrive(10)
				w.wantRefused(c.want, 1)
				w.wantTurnedAway(refused) // a second passes
				if d := arrive(11); !strings.HasPrefix(d.heard(), "REGISTERED ") {
					t.Errorf("after a second: heard %q", d.heard())
				}
			}, func(cfg *Config) { c.limit(cfg, c.rates) })
		})
	}
}

func acceptRates(c *Config, r Rates)   { c.AcceptRates = r }
func registerRates(c *Config, r Rates) { c.RegisterRates = r }

// Loopback has no limit of its own, and one address does not use up another's.
func TestRatesPerSourceAreApart(t *testing.T) {
	inBubble(t, func(w *world) {
		for i := range 40 {
			for _, from := range []string{"127.0.0.1:1", "[::1]:1", fmt.Sprintf("192.0.2.%d:1", i), fmt.Sprintf("[2001:db8:0:%x::1]:1", i)} {
				d := w.dialSilently(from)
				d.read()
				if d.send("REGISTER d\n"); !strings.HasPrefix(d.heard(), "REGISTERED ") {
					t.Fatalf("%s heard %q", from, d.heard())
				}
			}
		}
	}, func(c *Config) { c.AcceptRates, c.RegisterRates = Rates{PerSource: 1}, Rates{PerSource: 1} })
}

func TestHandshakeRates(t *testing.T) {
	a := newAuthority(t)
	for name, c := range map[string]struct {
		rates Rates
		want  string
	}{
		"all":        {Rates{All: 1}, "handshake_rate"},
		"per source": {Rates{PerSource: 1}, "handshake_rate_per_ip"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				for range 10 {
					if err := w.dialSilently("192.0.2.1:1").speakTLS(a.client()); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.dialSilently("192.0.2.1:1").speakTLS(a.client()); err == nil {
					t.Error("one handshake too many has succeeded")
				}
				w.wantRefused(c.want, 1)
				plain := w.dial()
				if plain.send("REGISTER d\n"); !strings.HasPrefix(plain.heard(), "REGISTERED ") {
					t.Errorf("a plain device heard %q", plain.heard())
				}
				w.pass(time.Second)
				if err := w.dialSilently("192.0.2.1:1").speakTLS(a.client()); err != nil {
					t.Errorf("after a second: %v", err)
				}
			}, func(cfg *Config) { cfg.TLS, cfg.HandshakeRates = a.server(), c.rates })
		})
	}
}

func TestAcceptRateBehindAProxyIsTheDevices(t *testing.T) {
	inBubble(t, func(w *world) {
		for i := range 11 {
			d := w.dial()
			d.nc.Write(proxyFrame("203.0.113.7:1"))
			d.nc.Write([]byte("REGISTER d\n"))
			if synctest.Wait(); i == 10 {
				w.wantTurnedAway(d)
			}
		}
		other := w.dial()
		other.nc.Write(proxyFrame("203.0.113.8:1"))
		if other.send("REGISTER e\n"); !strings.HasPrefix(other.heard(), "REGISTERED ") {
			t.Errorf("another device behind the proxy heard %q", other.heard())
		}
		w.wantRefused("accept_rate_per_ip", 1)
	}, trustEverybody, func(c *Config) { c.AcceptRates = Rates{PerSource: 1} })
}

// The table of sources is bounded: when it is full, newcomers share a bucket
// until others have been quiet.
func TestSourcesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(Rates{PerSource: 1}, "all", "each")
		source := func(i int) netip.Addr {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], uint32(i))
			return netip.AddrFrom4(a)
		}
		known, now := source(0), time.Now()
		for i := range maxSources {
			if !b.takeOne(source(i), now) {
				t.Fatalf("source %d is refused at its first", i)
			}
		}
		passed := 0
		for i := range 1000 {
			if b.takeOne(source(maxSources+i), now) {
				passed++
			}
		}
		if passed != 10 || len(b.source) != maxSources {
			t.Errorf("%d of 1,000 newcomers passed, %d sources are kept; want 10 and %d", passed, len(b.source), maxSources)
		}
		for range 9 {
			if !b.takeOne(known, now) {
				t.Fatal("a known source pays for the newcomers")
			}
		}
		time.Sleep(burstTime - time.Second) // all but known are full again
		if !b.takeOne(source(2*maxSources), time.Now()) || len(b.source) != 2 {
			t.Errorf("%d sources are kept after a quiet time, want 2", len(b.source))
		}
	})
}

// However many are refused, only a few are talked to.
func TestRefusedConnectionsAreToldWithinBounds(t *testing.T) {
	inBubble(t, func(w *world) {
		const told = 8
		all := []*device{w.register("first")}
		for range 3*told - 1 {
			all = append(all, w.dial())
		}
		synctest.Wait()
		open := 0
		for _, d := range all[1:] {
			if d.closedAt() < 0 {
				open++
			}
		}
		if open != told {
			t.Errorf("%d refused connections are kept, want %d", open, told)
		}
		w.wantRefused("max_connections", 3*told-1)
		w.pass(time.Second + tick) // without a word they are told nothing
		for _, d := range all[1:] {
			if d.closedAt() < 0 {
				t.Error("a refused connection stays open")
			}
			d.wantHeard("")
		}
		again := w.dial()
		again.send("REGISTER d\n")
		w.wantTurnedAway(again)
		if got := w.srv.Stats(); got.Open != 1 || got.Accepted != 1 {
			t.Errorf("open %d, accepted %d, want 1 of each", got.Open, got.Accepted)
		}
	}, func(c *Config) { c.MaxConns = 1 })
}

func TestNewConnectionsAreRefusedWithoutMemory(t *testing.T) {
	var used atomic.Uint64
	used.Store(100)
	inBubble(t, func(w *world) {
		old := w.register("old")
		used.Store(101)
		w.pass(memoryInterval)
		refused := w.dial()
		refused.send("REGISTER d\n")
		w.wantTurnedAway(refused)
		w.wantRefused("memory_limit", 1)
		old.say("PING")
		old.wantHeard("PONG\n")
		used.Store(100)
		w.pass(memoryInterval)
		w.register("new")
	}, func(c *Config) { c.MemoryLimit, c.MemoryUsed = 100, used.Load })
}

func TestMemoryInUseIsMeasured(t *testing.T) {
	if got := memoryInUse()(); got < 1<<20 || got > 1<<40 {
		t.Errorf("memory in use = %d bytes", got)
	}
}
