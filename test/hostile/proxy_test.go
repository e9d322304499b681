package hostile

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/internal/config"
)

// proxySite is a gateway behind a proxy that it trusts, which here is whoever
// dials from loopback: so a test can come from any address.
func proxySite(t *testing.T, change func(*config.Config)) *site {
	t.Helper()
	return openSite(t, func(c *config.Config) {
		c.TCP.ProxyTrusted = []string{"127.0.0.1/32"}
		if change != nil {
			change(c)
		}
	}, func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_, err = io.WriteString(c, from("192.0.2.200"))
		}
		return c, err
	})
}

// from is what the proxy says of a connection from addr.
func from(addr string) string {
	family := "TCP4"
	if strings.Contains(addr, ":") {
		family = "TCP6"
	}
	return fmt.Sprintf("PROXY %s %s %s 40000 6666\r\n", family, addr, addr)
}

// dialFrom comes through the proxy; the gateway may refuse before it is used.
func (s *site) dialFrom(addr string) *peer {
	s.Helper()
	p := s.dial()
	_ = p.send(from(addr))
	return p
}

func TestHostileBehindProxy(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		proxySite(t, nil).face([]behaviour{
			{"headers that are none", badProxyHeaders},
			{"a header byte by byte", dripProxyHeader},
			{"a second header", secondProxyHeader},
			{"an address that is remembered", proxiedAddress},
		})
	})
}

func badProxyHeaders(t *testing.T, s *site) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n"
	for name, header := range map[string]string{
		"none":                  frame(tRegister, `{"id":"x"}`),
		"a text device":         "REGISTER x\n",
		"no end":                "PROXY TCP4 " + strings.Repeat("1", 200),
		"beyond 107 bytes":      "PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + strings.Repeat(" ", 100) + "\r\n",
		"no address":            "PROXY TCP4\r\n",
		"a bad address":         "PROXY TCP4 999.1.1.1 192.0.2.2 1 2\r\n",
		"a bad port":            "PROXY TCP4 192.0.2.1 192.0.2.2 99999 2\r\n",
		"a name":                "PROXY TCP4 localhost localhost 1 2\r\n",
		"UDP":                   v2 + "\x21\x12\x00\x0c" + strings.Repeat("\x01", 12),
		"a Unix socket":         v2 + "\x21\x31\x00\xd8" + strings.Repeat("\x01", 216),
		"version 3":             v2 + "\x31\x11\x00\x0c" + strings.Repeat("\x01", 12),
		"64 KiB of extensions":  v2 + "\x21\x11\xff\xff" + strings.Repeat("\x01", 64<<10),
		"too short for its own": v2 + "\x21\x11\x00\x04\x01\x01\x01\x01",
	} {
		before := s.metric(closedBy("proxy_required"))
		p := s.dial()
		go func() { _ = p.send(header) }()
		if said := p.wantGone(); said != "" {
			t.Errorf("%s: told %q", name, said)
		}
		s.eventually(name+" is counted as proxy_required", func() bool { return s.metric(closedBy("proxy_required")) == before+1 })
	}
}

func dripProxyHeader(_ *testing.T, s *site) {
	s.counted(closedBy("register_timeout"), 2, func() {
		for _, header := range []string{from("2001:db8:1111:2222:3333:4444:5555:6666"), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\x00" + strings.Repeat("\x01", 0xf00)} {
			p := s.dial()
			go func() {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for i := range len(header) {
					if p.send(header[i:i+1]) != nil {
						return
					}
					<-tick.C
				}
			}()
			p.wantGone()
		}
	})
}

func secondProxyHeader(t *testing.T, s *site) {
	s.counted(closedBy("proxy_unexpected"), 1, func() {
		p := s.dialFrom("203.0.113.1")
		_ = p.send(from("127.0.0.1") + "REGISTER twice\n")
		if said := p.wantGone(); said != "" {
			t.Errorf("told %q", said)
		}
	})
}

// The address that limits, logs and the API see is the device's, not the
// proxy's.
func proxiedAddress(t *testing.T, s *site) {
	p := s.dialFrom("203.0.113.9")
	p.register("proxied")
	if a := s.ask("GET", "/v1/clients/proxied", ""); !strings.Contains(a.body, `"remote_addr":"203.0.113.9:40000"`) {
		t.Errorf("got %s, want the address of the PROXY header", a.body)
	}
	p.Close()
}

// What one address may do has a bound, and others are served meanwhile.
func TestHostileSources(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		proxySite(t, func(c *config.Config) {
			c.TCP.RegisterTimeout = config.Duration(time.Minute) // so that they wait, on a busy machine too
			c.TCP.MaxUnregisteredPerIP = 8
			c.TCP.AcceptRatePerIP = 4   // 40 at once
			c.TCP.RegisterRatePerIP = 1 // 10 at once
		}).face([]behaviour{
			{"too many that do not register", manyUnregistered},
			{"too many connections", manyConnections},
			{"too many registrations", manyRegistrations},
		})
	})
}

// wantElsewhere wants another address to be served.
func (s *site) wantElsewhere(addr string) {
	s.Helper()
	p := s.dialFrom(addr)
	p.register("elsewhere")
	p.Close()
}

func manyUnregistered(_ *testing.T, s *site) {
	const room, more = 8, 6
	s.counted(refusedBy("max_unregistered_per_ip"), more, func() {
		// One after the other: of several headers that are under way the gateway may read
		// any first, and the oldest connection by that order gives way.
		var open []*peer
		for i := range room {
			open = append(open, s.dialFrom("203.0.113.10"))
			s.eventually("it waits to register", func() bool { return s.metric("longwire_tcp_connections_unregistered") >= float64(i+1) })
		}
		before := s.metric(refusedBy("max_unregistered_per_ip"))
		for i := range more - 1 {
			open = append(open, s.dialFrom("203.0.113.10"))
			s.eventually("an older one gives way", func() bool { return s.metric(refusedBy("max_unregistered_per_ip")) >= before+float64(i+1) })
		}
		s.wantElsewhere("203.0.113.10") // it shares the hoarder's address
		for _, p := range open[:more] {
			p.wantGone()
		}
		s.wantElsewhere("203.0.113.11")
		for _, p := range open {
			p.Close()
		}
	})
}

func manyConnections(_ *testing.T, s *site) {
	const room = 40
	refused := refusedBy("accept_rate_per_ip")
	before := s.metric(refused)
	var open []*peer
	for range 4 * room { // without a pause, in which others would get room
		p := s.dialFrom("203.0.113.20")
		_ = p.send("BYE\n")
		open = append(open, p)
	}
	for _, p := range open {
		p.wantGone()
	}
	s.eventually("connections are refused", func() bool { return s.metric(refused) > before })
	s.wantElsewhere("203.0.113.21")
}

func manyRegistrations(_ *testing.T, s *site) {
	const room = 10
	refused := 0
	for i := range 2 * room {
		s.eventually("those that were refused have no place any longer", func() bool { // else that is a reason, too
			return s.metric("longwire_tcp_connections_unregistered") == 0
		})
		p := s.dialFrom("203.0.113.30")
		_ = p.send(frame(tRegister, fmt.Sprintf(`{"id":"registers-%d"}`, i%4)))
		typ, body, err := p.next()
		switch {
		case err == nil && typ == tRegisterAck:
		case err == nil && typ == tClose && isReason(body[6:], "overloaded"):
			refused++
		default:
			s.Fatalf("registration %d: %d %q %v", i, typ, body, err)
		}
		p.Close()
	}
	if refused < room/2 || s.metric(refusedBy("register_rate_per_ip")) != float64(refused) {
		s.Errorf("%d of %d registrations at once from one address were refused", refused, 2*room)
	}
	s.wantElsewhere("203.0.113.31")
}
