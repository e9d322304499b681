package hostile

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// What everybody together may do has a bound; those who are there stay.
func TestHostileMasses(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		under(t, func(c *config.Config) { c.TCP.MaxConnections = 40 }, []behaviour{
			{"more connections than there may be", tooManyConnections},
		})
		under(t, func(c *config.Config) { c.TCP.AcceptRate = 20 }, []behaviour{ // 200 at once
			{"connections faster than the rate", func(_ *testing.T, s *site) { s.wantRate("accept_rate", 200) }},
		})
		under(t, func(c *config.Config) { c.TCP.RegisterRate = 20 }, []behaviour{
			{"registrations faster than the rate", func(_ *testing.T, s *site) { s.wantRate("register_rate", 200) }},
		})
	})
}

func tooManyConnections(t *testing.T, s *site) {
	room, more := 40-len(s.honest), 20
	s.counted(refusedBy("max_connections"), more, func() {
		var all []*peer
		for i := range room {
			all = append(all, s.register(fmt.Sprintf("one-of-many-%d", i)))
		}
		for range more {
			p := s.dial()
			_ = p.send(frame(tRegister, `{"id":"one-too-many"}`))
			if retry := p.wantClose(3005, "overloaded"); retry <= 0 {
				t.Error("no delay in the refusal")
			}
		}
		s.wantServed()
		for _, p := range all {
			p.Close()
		}
	})
}

// wantRate registers until the gateway has had enough, which has to be soon
// after burst.
func (s *site) wantRate(limit string, burst int) {
	s.Helper()
	for i := range 4 * burst {
		p := s.dial()
		_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":"fast-%d"}`, i%4)))
		typ, body, err := p.next()
		p.Close()
		if err == nil && typ == tRegisterAck {
			continue
		}
		if err != nil || typ != tClose || !isReason(body[6:], "overloaded") {
			s.Fatalf("connection %d: %d %q %v, want CLOSE overloaded", i, typ, body, err)
		}
		if i < burst/2 || s.metric(refusedBy(limit)) < 1 {
			s.Errorf("connection %d was refused, by %s: %v", i, limit, s.metric(refusedBy(limit)))
		}
		return
	}
	s.Errorf("%d connections at once were taken", 4*burst)
}

// When memory is short new devices are told to come back, and those that are
// there are served.
func TestHostileMemory(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		limit := m.Sys - m.HeapReleased + 128<<20
		under(t, func(c *config.Config) { c.TCP.MemoryLimit = config.Size(limit) }, []behaviour{
			{"memory that is used up", func(t *testing.T, s *site) {
				ballast := make([]byte, limit)
				for i := 0; i < len(ballast); i += 4096 {
					ballast[i] = 1
				}
				refused := func() bool {
					p := s.dial()
					_ = p.send(frame(tRegister, `{"id":"newcomer"}`))
					typ, body, err := p.next()
					p.Close()
					return err == nil && typ == tClose && isReason(body[6:], "overloaded")
				}
				s.eventually("newcomers are refused", refused)
				if s.metric(refusedBy("memory_limit")) < 1 {
					t.Error("the refusal was not counted as memory_limit")
				}
				s.wantServed()
				runtime.KeepAlive(ballast)
				ballast = nil
				debug.FreeOSMemory()
				s.eventually("newcomers are taken again", func() bool { return !refused() })
			}},
		})
	})
}

// Handshakes cost more than anything else a stranger can ask for.
func TestHostileHandshakeRate(t *testing.T) {
	alone(t, func(t *testing.T) {
		ca := newAuthority(t, "the gateway's")
		tlsSite(t, ca, nil, func(c *config.Config) { c.TCP.HandshakeRate = 10 }).face([]behaviour{ // 100 at once
			{"handshakes faster than the rate", func(t *testing.T, s *site) {
				refused := refusedBy("handshake_rate")
				for i := range 400 {
					c, err := s.encrypted(nil)
					if err == nil {
						_ = c.SetDeadline(time.Now())
						c.NetConn().Close()
						continue
					}
					s.eventually("the refusal is counted", func() bool { return s.metric(refused) >= 1 })
					if i < 50 {
						t.Errorf("handshake %d was refused", i)
					}
					return
				}
				t.Error("400 handshakes at once were taken")
			}},
		})
	})
}

// What one device may send has a bound: first it is not read for a while, and
// when it goes on it is closed.
func TestHostileRates(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		under(t, func(c *config.Config) { c.TCP.ClientMessageRate = 100 }, []behaviour{ // 1,000 at once
			{"messages faster than the rate", func(_ *testing.T, s *site) {
				p := s.register("fast")
				go func() {
					beats := strings.Repeat(frame(tHeartbeat, ""), 5000)
					for p.send(beats) == nil {
					}
				}()
				if retry := p.wantClose(3007, "rate_exceeded"); retry <= 0 {
					s.Error("no delay in the refusal")
				}
			}},
			{"as much at once as the rate allows", func(_ *testing.T, s *site) {
				p := s.register("bursts")
				_ = p.send(strings.Repeat(frame(tHeartbeat, ""), 900))
				for range 900 {
					p.want(tHeartbeatAck)
				}
				p.Close()
			}},
		})
		under(t, func(c *config.Config) { c.TCP.ClientByteRate = 64 * config.KiB }, []behaviour{ // 640 KiB at once
			{"bytes faster than the rate", func(_ *testing.T, s *site) {
				before := s.metric("longwire_tcp_throttled_total")
				p := s.register("large")
				_ = p.SetWriteDeadline(time.Now().Add(patience))
				go func() {
					for i := uint64(1); p.send(frame(tData, number(i)+strings.Repeat("x", 100<<10))) == nil; i++ {
					}
				}()
				s.eventually("it is not read for a while", func() bool { return s.metric("longwire_tcp_throttled_total") > before })
				s.wantServed()
				p.Close()
			}},
		})
	})
}

// TestHostileUplinks: one device sends four times what the disk may hold; see
// engine.TestUplinksOfOneDeviceStopNoPush for the store alone.
func TestHostileUplinks(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		s := openSite(t, func(c *config.Config) { c.Data.MaxDisk = 32 << 20 }, nil)
		p := s.register("hoarder")
		payload := make([]byte, 128<<10)
		verdicts := map[byte]int{}
		for i := range 128 << 20 / len(payload) {
			_, _ = rand.Read(payload)
			if err := p.send(frame(tData, number(uint64(i+1))+string(payload))); err != nil {
				t.Fatal(err)
			}
			ack := p.want(tAck)
			verdicts[ack[len(number(uint64(i+1)))]]++
			if i%50 == 0 {
				a := s.ask("POST", "/v1/clients/"+s.honest[1].id+"/messages?wait=20s", "ping", "Content-Type", "text/plain")
				if a.status != 200 || !strings.Contains(a.body, `"status":"acked"`) {
					t.Fatalf("a push beside %v uplinks: %d %s", verdicts, a.status, a.body)
				}
			}
		}
		if ok, later := verdicts[0], verdicts[2]; ok < 16 || later < 100 || ok+later != 1024 {
			t.Errorf("the uplinks were answered %v, want some ok (0) and the rest retry later (2)", verdicts)
		}
		if n := s.metric("longwire_uplinks_refused_total"); int(n) != verdicts[2] {
			t.Errorf("%v refused uplinks are counted, want %d", n, verdicts[2])
		}
		other := s.register("other")
		if err := other.send(frame(tData, number(1)+"x")); err != nil {
			t.Fatal(err)
		}
		if ack := other.want(tAck); ack[1] != 0 {
			t.Errorf("an uplink of another device was answered %d, want ok", ack[1])
		}
		s.wantServed()
	})
}
