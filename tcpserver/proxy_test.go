package tcpserver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trustEverybody makes a proxy of the devices of the tests.
func trustEverybody(c *Config) {
	c.ProxyTrusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
}

// proxyFrame is a v2 header for a TCP connection from there.
func proxyFrame(from string) []byte {
	source := netip.MustParseAddrPort(from)
	dest := netip.MustParseAddrPort("192.0.2.2:6666")
	family := byte(0x11)
	if source.Addr().Is6() {
		family, dest = 0x21, netip.MustParseAddrPort("[2001:db8::2]:6666")
	}
	addresses := append(source.Addr().AsSlice(), dest.Addr().AsSlice()...)
	addresses = binary.BigEndian.AppendUint16(addresses, source.Port())
	addresses = binary.BigEndian.AppendUint16(addresses, dest.Port())
	return proxyFrameOf(0x21, family, addresses)
}

func proxyFrameOf(command, family byte, rest []byte) []byte {
	b := append(bytes.Clone(proxySignature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return append(b, rest...)
}

// withTLVs adds n bytes of fields to a v2 header.
func withTLVs(header []byte, n int) []byte {
	field := append([]byte{0xee}, binary.BigEndian.AppendUint16(nil, uint16(n-3))...)
	header = append(bytes.Clone(header), append(field, make([]byte, n-3)...)...)
	binary.BigEndian.PutUint16(header[14:], uint16(len(header)-proxyPrefix))
	return header
}

func TestProxyHeaderNamesTheDevice(t *testing.T) {
	const proxy = "192.0.2.1:1000"
	for name, c := range map[string]struct {
		header string
		want   string // address; "" when the connection is refused
	}{
		"v1 IPv4":           {"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\n", "203.0.113.7:51000"},
		"v1 IPv6":           {"PROXY TCP6 2001:db8::7 2001:db8::2 51000 6666\r\n", "[2001:db8::7]:51000"},
		"v1 unknown":        {"PROXY UNKNOWN\r\n", proxy},
		"v1 unknown, long":  {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", proxy},
		"v2 IPv4":           {string(proxyFrame("203.0.113.7:51000")), "203.0.113.7:51000"},
		"v2 IPv6":           {string(proxyFrame("[2001:db8::7]:51000")), "[2001:db8::7]:51000"},
		"v2 with fields":    {string(withTLVs(proxyFrame("203.0.113.7:51000"), 3000)), "203.0.113.7:51000"},
		"v2 as long as may": {string(withTLVs(proxyFrame("203.0.113.7:51000"), 4096-28)), "203.0.113.7:51000"},
		"v2 mapped":         {string(proxyFrame("[::ffff:203.0.113.7]:51000")), "203.0.113.7:51000"},
		"v2 local":          {string(proxyFrameOf(0x20, 0, nil)), proxy},
		"v2 local, block":   {string(proxyFrameOf(0x20, 0x11, make([]byte, 12))), proxy},
		"v2 local, family":  {string(proxyFrameOf(0x20, 0x11, nil)), proxy}, // both are to be ignored
		"v2 local, unknown": {string(proxyFrameOf(0x20, 0x42, []byte("x"))), proxy},

		"none":              {"", ""},
		"v1 too long":       {"PROXY UNKNOWN " + strings.Repeat("f", 100) + "\r\n", ""},
		"v1 without end":    {"PROXY UNKNOWN " + strings.Repeat("f", 200), ""},
		"v1 UDP":            {"PROXY UDP4 203.0.113.7 192.0.2.2 51000 6666\r\n", ""},
		"v1 bare LF":        {"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\n", ""},
		"v1 junk":           {"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666 7\r\n", ""},
		"v1 bad port":       {"PROXY TCP4 203.0.113.7 192.0.2.2 99999 6666\r\n", ""},
		"v1 zone":           {"PROXY TCP6 fe80::1%eth0 2001:db8::2 51000 6666\r\n", ""},
		"v2 too long":       {string(withTLVs(proxyFrame("203.0.113.7:51000"), 4096-27)), ""},
		"v2 UDP":            {string(proxyFrameOf(0x21, 0x12, make([]byte, 12))), ""},
		"v2 Unix":           {string(proxyFrameOf(0x21, 0x31, make([]byte, 216))), ""},
		"v2 unspecified":    {string(proxyFrameOf(0x21, 0, nil)), ""},
		"v2 version 3":      {string(proxyFrameOf(0x31, 0x11, make([]byte, 12))), ""},
		"v2 too short":      {string(proxyFrameOf(0x21, 0x11, make([]byte, 11))), ""},
		"a torn signature":  {"\r\n\r\n\x00\r\nQUIX\n", ""},
		"a header too many": {"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\nPROXY TCP4 203.0.113.8 192.0.2.2 51000 6666\r\n", ""},
	} {
		for way, send := range map[string]func(d *device, s string){
			"at once": func(d *device, s string) {
				d.nc.Write([]byte(s)) // a refusal may come before the end
				synctest.Wait()
			},
			"in pieces": func(d *device, s string) {
				for ; len(s) > 600; s = s[600:] {
					d.nc.Write([]byte(s[:600]))
				}
				for i := range len(s) {
					d.nc.Write([]byte{s[i]})
				}
				synctest.Wait()
			},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				inBubble(t, func(w *world) {
					told := w.listenToHellos()
					d := w.dial()
					send(d, c.header+"REGISTER d\n")
					got := ""
					select {
					case h := <-told.hellos:
						got = h.Remote.String()
					default:
						if d.closedAt() < 0 {
							t.Error("the connection is open")
						}
						if name != "a header too many" {
							w.wantRefused("proxy_required", 1)
							d.wantHeard("")
						}
						w.pass(2 * time.Second)
						w.wantNobody()
					}
					if got != c.want {
						t.Errorf("address = %q, want %q", got, c.want)
					}
				}, trustEverybody)
			})
		}
	}
}

// Nobody but a proxy chooses an address.
func TestProxyHeaderFromElsewhereIsRefused(t *testing.T) {
	for _, header := range []string{"PROXY TCP4 203.0.113.7 192.0.2.2 51000 6666\r\n", string(proxyFrame("203.0.113.7:51000"))} {
		inBubble(t, func(w *world) {
			d := w.dialSilently("198.51.100.1:1000")
			d.read()
			d.send(header)
			d.wantClosed(0)
			w.wantSaid("")
			w.wantEndedFor("proxy_unexpected", 1)
		}, trustEverybody)
	}
}

func TestTLSBehindAProxy(t *testing.T) {
	a := newAuthority(t)
	inBubble(t, func(w *world) {
		told := w.listenToHellos()
		d := w.dialSilently("192.0.2.1:1000")
		d.nc.Write(proxyFrame("203.0.113.7:51000"))
		if err := d.speakTLS(a.client()); err != nil {
			t.Fatal(err)
		}
		d.send("REGISTER d\n")
		if h := <-told.hellos; h.Remote.String() != "203.0.113.7:51000" || h.Transport != "tls" {
			t.Errorf("came from %v over %s", h.Remote, h.Transport)
		}
	}, trustEverybody, func(c *Config) { c.TLS, c.TLSRequired = a.server(), true })
}

// The limit of an address is that of the device, not of its proxy.
func TestDevicesBehindAProxyAreCountedApart(t *testing.T) {
	inBubble(t, func(w *world) {
		from := func(address string) *device {
			d := w.dial()
			d.nc.Write(proxyFrame(address))
			synctest.Wait()
			return d
		}
		all := []*device{from("203.0.113.7:1"), from("203.0.113.7:2"), from("203.0.113.8:1"), from("203.0.113.8:2")}
		for _, d := range all {
			d.wantOpen()
		}
		over := from("203.0.113.7:3")
		w.pass(time.Second)
		if all[0].closedAt() < 0 {
			t.Error("the oldest of the address is open, want its place to be the newcomer's")
		}
		w.wantRefused("max_unregistered_per_ip", 1)
		for _, d := range append(all[1:], over) {
			d.wantOpen()
			d.nc.Close()
		}
		w.wantNobody()
	}, trustEverybody, func(c *Config) { c.MaxUnregisteredPerIP = 2 })
}

// A line that does not end is refused as soon as it is too long, and not kept.
func TestEndlessProxyLineIsRefused(t *testing.T) {
	line := []byte(proxyWord + strings.Repeat("f", 200))
	if n, err := proxyHeaderSize(line[:maxProxyLine-1]); n != 0 || err != nil {
		t.Errorf("one byte less: size %d, %v, want to wait for more", n, err)
	}
	if n, err := proxyHeaderSize(line[:maxProxyLine]); err != errProxyTooLong {
		t.Errorf("size %d, %v, want %v", n, err, errProxyTooLong)
	}
}
