package hostile

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// What comes in on the device port when nothing guards it but the protocol.
func TestHostileDevices(t *testing.T) {
	onEachDriver(t, func(t *testing.T) {
		under(t, nil, []behaviour{
			{"connections that say nothing", halfOpen},
			{"REGISTER byte by byte", dripRegister},
			{"a text line byte by byte", dripLine},
			{"a v1 client that never gets its id right", v1NeverRegisters},
			{"lengths beyond the bound", oversizeLengths},
			{"numbers that are not minimal", nonMinimalNumbers},
			{"frames of length zero", zeroLengths},
			{"empty lines for ever", emptyLines},
			{"heartbeats, answers unread", heartbeatFlood},
			{"acks for what was never sent", ackFlood},
			{"REGISTER again and again", registerAgain},
			{"two devices that fight for one id", takeoverFlapping},
			{"ids with control characters", badIDs},
			{"REGISTER bodies that are bombs", registerBombs},
			{"lines without end", endlessLine},
			{"lines that are not UTF-8", badUTF8},
			{"garbage", garbage},
			{"HTTP on the device port", httpOnDevicePort},
			{"TLS where none is spoken", tlsOnPlainPort},
			{"a PROXY header from a stranger", proxySpoof},
			{"a reader that never reads", slowReader},
			{"half of a large frame, many times", halfFrames},
			{"uplinks without pause", uplinkFlood},
			{"an uplink beyond the bound", uplinkTooLarge},
			{"frames that only a server sends", serverFrames},
			{"a half-closed connection", halfClosed},
			{"connections that are reset at once", resets},
		})
	})
}

func halfOpen(t *testing.T, s *site) {
	const room, more = 64, 36 // tcp.max_unregistered
	s.counted(closedBy("register_timeout"), room, func() {
		s.counted(refusedBy("max_unregistered"), more, func() {
			var peers []*peer
			for range room + more {
				// One that is refused may see that before its connect returns.
				if c, err := net.Dial("tcp", s.tcp); err == nil {
					peers = append(peers, s.peer(c))
				}
			}
			for _, p := range peers {
				if said := p.wantGone(); said != "" {
					t.Errorf("a connection that has said nothing was told %q", said)
				}
			}
		})
	})
}

// drip sends data byte by byte, slower than the register deadline, until the
// gateway has had enough.
func (p *peer) drip(data string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range len(data) {
		if p.send(data[i:i+1]) != nil {
			return
		}
		<-tick.C
	}
	p.s.Errorf("%d bytes were taken one by one in %v, more than the register deadline", len(data), time.Duration(len(data))*20*time.Millisecond)
}

func dripRegister(_ *testing.T, s *site) {
	p := s.dial()
	go p.drip(frame(tRegister, `{"id":"drip","token":"`+strings.Repeat("x", 3000)+`"}`))
	p.wantClose(3003, "register_timeout")
}

func dripLine(_ *testing.T, s *site) {
	p := s.dial()
	go p.drip("REGISTER drip " + strings.Repeat("x", 3000) + "\n")
	p.wantLineClose(3003, "register_timeout")
}

// v1Refused is all that v1 can say to a REGISTER that it does not like.
const v1Refused = "\x02#er"

func v1NeverRegisters(t *testing.T, s *site) {
	s.counted(closedBy("register_timeout"), 1, func() {
		p := s.dial()
		for range 100 {
			_ = p.send("\x01#not an id") // it is closed in the end
		}
		if said := p.wantGone(); !strings.HasPrefix(said, v1Refused) || strings.ReplaceAll(said, v1Refused, "") != "" {
			t.Errorf("v1 was told %q, want nothing but 2#er", clip(said))
		}
	})
}

func oversizeLengths(_ *testing.T, s *site) {
	length := func(typ byte, n uint64) string { return string([]byte{typ, 2}) + number(n) }
	for _, head := range []string{length(tRegister, 8<<10+1), length(tRegister, 1<<28-1)} {
		p := s.dial()
		_ = p.send(head) // the answer is what is judged
		p.wantClose(3500, "frame_too_large")
	}
	for _, head := range []string{length(tData, 256<<10+17), length(tAck, 1<<28-1)} {
		p := s.register("oversize")
		_ = p.send(head)
		p.wantClose(3500, "frame_too_large")
	}
}

func nonMinimalNumbers(_ *testing.T, s *site) {
	for _, bytes := range []string{
		"\x03\x02\x80\x00",                                    // a length of 0 in two bytes
		"\x03\x02\x80\x80\x80\x80",                            // five bytes
		"\x05\x02\x03\x81\x00x",                               // DATA 1 in two bytes
		"\x06\x02\x02\x80\x00",                                // an ack of 0 in two bytes
		"\x05\x02\x0c" + strings.Repeat("\xff", 10) + "\x01x", // beyond 64 bits
		"\x05\x02\x02\x00x",                                   // DATA 0
	} {
		p := s.register("numbers")
		_ = p.send(bytes)
		p.wantClose(3500, "protocol_error")
	}
}

func zeroLengths(_ *testing.T, s *site) {
	for _, typ := range []byte{tData, tAck, tClose} {
		p := s.register("zero")
		_ = p.send(strings.Repeat(frame(typ, ""), 1000))
		p.wantClose(3500, "protocol_error")
	}
	p := s.dial()
	_ = p.send(strings.Repeat(frame(tRegister, ""), 1000))
	p.wantClose(3500, "bad_register")
}

// Empty lines are allowed, and are not a registration.
func emptyLines(_ *testing.T, s *site) {
	p := s.dial()
	go func() {
		for p.send(strings.Repeat("\r\n", 10_000)) == nil {
		}
	}()
	p.wantLineClose(3003, "register_timeout")
}

func heartbeatFlood(t *testing.T, s *site) {
	s.counted("longwire_tcp_slow_consumers_total", 1, func() {
		p := s.register("flood")
		beats := strings.Repeat(frame(tHeartbeat, ""), 20_000)
		sent := 0
		for p.send(beats) == nil {
			if sent += len(beats); sent > 256<<20 {
				t.Fatalf("%d MiB of heartbeats were taken from a device that reads no answer", sent>>20)
			}
		}
	})
}

func ackFlood(_ *testing.T, s *site) {
	const n = 20_000
	s.counted(`longwire_tcp_stale_acks_total{kind="other"}`, n, func() {
		p := s.register("acks")
		for i := range n / 1000 {
			var b strings.Builder
			for k := range 1000 {
				b.WriteString(frame(tAck, number(uint64(1_000_000+1000*i+k))+"\x00forged"))
			}
			if err := p.send(b.String()); err != nil {
				p.s.Fatal(err)
			}
		}
		_ = p.send(frame(tHeartbeat, "")) // its answer comes behind them all
		p.want(tHeartbeatAck)
		p.Close()
	})
}

func registerAgain(_ *testing.T, s *site) {
	p := s.register("again")
	_ = p.send(strings.Repeat(frame(tRegister, `{"id":"again"}`), 500))
	p.wantClose(3500, "already_registered")

	p = s.registerText("again")
	_ = p.send(strings.Repeat("REGISTER again\n", 500))
	p.wantLineClose(3500, "already_registered")
}

func takeoverFlapping(t *testing.T, s *site) {
	holder := s.register("disputed")
	var told []time.Duration
	for range 6 {
		next := s.register("disputed")
		told = append(told, holder.wantClose(3001, "replaced"))
		holder = next
	}
	holder.Close()
	if first, last := told[0], told[len(told)-1]; last < 8*first || last < 30*time.Second {
		t.Errorf("losers were told to wait %v: want it to grow", told)
	}
}

func badIDs(_ *testing.T, s *site) {
	for _, id := range []string{"", "a\x00b", "a\nb", "a b", "../etc", "a/b", "ä", "<script>", "a\u202eb", "%00", strings.Repeat("x", 129)} {
		quoted, err := json.Marshal(id)
		if err != nil {
			s.Fatal(err)
		}
		p := s.dial()
		_ = p.send(frame(tRegister, `{"id":`+string(quoted)+`}`))
		p.wantClose(3500, "bad_client_id")
	}
}

func registerBombs(_ *testing.T, s *site) {
	labels := func(n int, value string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`"k%d":%q`, i, value)
		}
		return `{` + strings.Join(all, ",") + `}`
	}
	for _, member := range []string{
		`"labels":` + labels(33, "x"),
		`"labels":` + labels(1, strings.Repeat("x", 257)),
		`"labels":{"a b":"x"}`,
		`"labels":` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000),
		`"labels":` + strings.Repeat(`[`, 7000),
		`"groups":["` + strings.Repeat(`g","`, 33) + `g"]`,
		`"groups":["a\nb"]`,
		`"heartbeat_ms":1e999`,
		`"heartbeat_ms":` + strings.Repeat("9", 4000),
		`"window":-1e308`,
		`"ask_through":-1`,
		`"log":"` + strings.Repeat("x", 129) + `"`,
		`"token":"` + "\xff" + `"`,
		`"token":{}`,
	} {
		p := s.dial()
		_ = p.send(frame(tRegister, `{"id":"bomb",`+member+`}`))
		p.wantClose(3500, "bad_register")
	}
}

func endlessLine(_ *testing.T, s *site) {
	const before, after = 8 << 10, 64 << 10
	for _, p := range []*peer{s.dial(), s.registerText("endless")} {
		go func() {
			for p.send(strings.Repeat("A", 64<<10)) == nil {
			}
		}()
		if line := p.line(); !strings.HasPrefix(line, "ERROR 413 ") {
			s.Errorf("got %q, want ERROR 413 (%d bytes before registration, %d after)", line, before, after)
		}
		p.wantLineClose(3500, "frame_too_large")
	}
}

func badUTF8(t *testing.T, s *site) {
	p := s.registerText("utf8")
	_ = p.send(strings.Repeat("DATA 1 \xc3\x28\n", 17))
	for range 16 {
		if line := p.line(); !strings.HasPrefix(line, "ERROR 400 ") {
			t.Errorf("got %q, want ERROR 400", line)
		}
	}
	p.wantLineClose(3500, "too_many_errors")
}

func garbage(t *testing.T, s *site) {
	for _, b := range []string{"\x80\x00\xff\xfe", "\x00", "\xff\xff\xff\xff", "{\"id\":1}", "\x01\x13", "\x02\x02\x00", "\x1b[2J"} {
		s.counted(closedBy("protocol_error"), 1, func() {
			p := s.dial()
			_ = p.send(b)
			if said := p.wantGone(); said != "" {
				t.Errorf("%q was answered %q", b, said)
			}
		})
	}
}

func httpOnDevicePort(t *testing.T, s *site) {
	s.counted(closedBy("http_request"), 3, func() {
		for _, line := range []string{"GET /v1/clients HTTP/1.1", "POST /v1/messages HTTP/1.0", "PRI * HTTP/2.0"} {
			p := s.dial()
			_ = p.send(line + "\r\nHost: x\r\n\r\n")
			if said := p.wantGone(); !strings.HasPrefix(said, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(said, "device port") {
				t.Errorf("%s was answered %q", line, said)
			}
		}
	})
}

func tlsOnPlainPort(t *testing.T, s *site) {
	s.counted(closedBy("tls_unsupported"), 1, func() {
		c := tls.Client(s.dial(), &tls.Config{InsecureSkipVerify: true}) // nobody answers
		if err := c.Handshake(); err == nil {
			t.Error("the plain port has shaken hands")
		}
	})
}

func proxySpoof(t *testing.T, s *site) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x01\x7f\x00\x00\x01\x00\x50\x1a\x0a"
	for _, header := range []string{"PROXY TCP4 192.0.2.1 127.0.0.1 80 6666\r\n", "PROXY UNKNOWN\r\n", v2} {
		s.counted(closedBy("proxy_unexpected"), 1, func() {
			p := s.dial()
			_ = p.send(header + "REGISTER spoof\n")
			if said := p.wantGone(); said != "" {
				t.Errorf("%q was answered %q", header, said)
			}
		})
	}
	s.wantProblem(s.ask("GET", "/v1/clients/spoof", ""), 404, "client-not-found")
}

func slowReader(t *testing.T, s *site) {
	s.counted(closedBy("slow_consumer"), 1, func() {
		p := s.register("slow", `"window":256`)
		_ = p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		payload := strings.Repeat("x", 200<<10)
		s.stored(50 * len(payload))
		for range 50 { // 10 MB: more than the socket buffers take
			if a := s.ask("POST", "/v1/clients/slow/messages", payload, "Content-Type", "text/plain"); a.status != 202 {
				t.Fatalf("push: %d %s", a.status, a.body)
			}
		}
		s.eventually("the slow reader is closed", func() bool {
			return strings.Contains(s.ask("GET", "/v1/clients/slow", "").body, `"last_close":{"reason":"slow_consumer","by":"gateway"}`)
		})
		p.Close()
	})
	if a := s.ask("DELETE", "/v1/clients/slow?purge=true", ""); a.status >= 300 {
		t.Errorf("purge: %d %s", a.status, a.body)
	}
}

// Each holds what it has sent of its frame, and no more.
func halfFrames(_ *testing.T, s *site) {
	const n = 40
	half := string([]byte{tData, 2}) + number(256<<10) + number(1) + strings.Repeat("x", 250<<10)
	var peers []*peer
	for i := range n {
		p := s.register(fmt.Sprintf("half-%d", i))
		if err := p.send(half); err != nil {
			s.Fatal(err)
		}
		peers = append(peers, p)
	}
	s.wantServed()
	for _, p := range peers {
		p.Close()
	}
}

func uplinkFlood(t *testing.T, s *site) {
	const n = 300
	s.stored(n << 10)
	p := s.register("uplinks")
	go func() {
		for i := range n {
			if p.send(frame(tData, number(uint64(i+1))+strings.Repeat("u", 1<<10))) != nil {
				return
			}
		}
	}()
	for i := range n {
		if i == n/2 {
			s.wantServed()
		}
		if got, want := p.want(tAck), number(uint64(i+1))+"\x00"; got != want {
			t.Fatalf("uplink %d was answered %q, want an ack", i+1, got)
		}
	}
	p.Close()
}

func uplinkTooLarge(t *testing.T, s *site) {
	p := s.register("giant")
	_ = p.send(frame(tData, number(1)+strings.Repeat("x", 256<<10+1)))
	p.wantClose(3500, "frame_too_large")

	p = s.registerText("giant")
	_ = p.send("DATA 1 " + strings.Repeat("x", 48_001) + "\n")
	if line := p.line(); !strings.HasPrefix(line, "ERROR 413 ") {
		t.Errorf("got %q, want ERROR 413", line)
	}
	p.Close()
}

func serverFrames(_ *testing.T, s *site) {
	for _, f := range []string{frame(tRegisterAck, `{"session":"x"}`), frame(8, ""), frame(0, ""), "\x03\x03\x00", frame(tHeartbeat, "x")} {
		p := s.register("server")
		_ = p.send(f)
		p.wantClose(3500, "protocol_error")
	}
}

func halfClosed(_ *testing.T, s *site) {
	s.counted(closedBy("hung_up"), 1, func() {
		p := s.register("half-closed")
		if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			s.Fatal(err)
		}
		p.wantGone()
	})
}

func resets(_ *testing.T, s *site) {
	for i := range 300 {
		c, err := net.Dial("tcp", s.tcp)
		if err != nil {
			continue // as many as may be are not registered
		}
		_, _ = io.WriteString(c, frame(tRegister, fmt.Sprintf(`{"id":"reset-%d"}`, i%8)))
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}
