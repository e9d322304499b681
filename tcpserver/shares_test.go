package tcpserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

// lockedBuffer is a log that tests read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A stranger that registers in vain at full rate leaves a few lines in the log,
// and its number in one more.
func TestRefusedRegistrationsLeaveFewLines(t *testing.T) {
	var log lockedBuffer
	inBubbleOn(t, nil, func(w *world) {
		w.gw.onConnect = func(gateway.Hello) error { return errUnauthorized }
		const tries = 200
		for i := range tries {
			d := w.dialSilently("127.0.0.1:1000")
			d.read()
			d.say(fmt.Sprintf("REGISTER guess-%d", i))
		}
		w.pass(time.Minute)
		w.dial().say("REGISTER late")
		if got := strings.Count(log.String(), "registration refused"); got > 21 {
			t.Errorf("%d lines for %d tries in a minute, want at most 20 and one for the minute after", got, tries)
		}
		if want := fmt.Sprintf("source=loopback count=%d", tries-20); !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
}

// A program that speaks another protocol gets no answer that could confuse a device. The
// operator reads which one it is, and of a flood a few lines.
func TestStrangersAreInTheLog(t *testing.T) {
	for name, c := range map[string]struct{ first, want string }{
		"MQTT":  {"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06device", "reason=protocol_error text=\"MQTT on the device port\""},
		"JSON":  {`{"id":"d"}`, "reason=protocol_error text=\"JSON without a frame on the device port\""},
		"HTTP":  {"GET / HTTP/1.1\r\n", "reason=http_request text=\"HTTP on the device port\""},
		"TLS":   {"\x16\x03\x01\x02\x00\x01", "reason=tls_unsupported text=\"this port does not expect TLS\""},
		"bytes": {"\x00\x01\x00\x00\x00\x06", "text=\"not a device protocol: it begins with 00 01 00 00 00 06\""},
	} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			inBubbleOn(t, nil, func(w *world) {
				for range 30 {
					w.dial().send(c.first)
				}
				line := "connection refused: it speaks no device protocol that this port takes\" remote=192.0.2.1:1000 " + "reason="
				if got := strings.Count(log.String(), line); got != 20 {
					t.Errorf("%d lines, want 20:\n%s", got, log.String())
				}
				if !strings.Contains(log.String(), c.want) {
					t.Errorf("the log lacks %s:\n%s", c.want, log.String())
				}
			}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		})
	}
}

// Silent connections of a few sources hold every place, and more come all the
// time. Devices of other sources register, and so does one that shares an
// address with the attacker.
func TestSilentConnectionsKeepNoDeviceOut(t *testing.T) {
	inBubble(t, func(w *world) {
		silent := func(i int) *device {
			d := w.dialSilently(fmt.Sprintf("203.0.113.%d:%d", i%4, 1000+i))
			d.read()
			synctest.Wait()
			return d
		}
		for i := range 64 {
			silent(i)
		}
		for i := range 20 {
			address := fmt.Sprintf("192.0.2.%d:7", i)
			if i == 19 {
				address = "203.0.113.1:7" // behind the attacker's address
			}
			d := w.dialSilently(address)
			d.read()
			for more := range 5 {
				silent(i*5 + more)
			}
			fmt.Fprintf(d.nc, "REGISTER d%d\n", i)
			if got := d.heard(); !strings.HasPrefix(got, "REGISTERED ") {
				t.Errorf("device %d from %s heard %q, want REGISTERED", i, address, got)
			}
		}
		if s := w.srv.Stats(); s.Unregistered > 32 || s.Open > 32+20 {
			t.Errorf("%d unregistered of %d connections, want at most 32 of 52", s.Unregistered, s.Open)
		}
	}, func(c *Config) { c.MaxConns, c.MaxUnregistered, c.MaxUnregisteredPerIP = 52, 32, 16 })
}

// Sources without number, as a host on IPv6 has them, have one place each: the
// oldest goes first.
func TestManySourcesKeepNoDeviceOut(t *testing.T) {
	inBubble(t, func(w *world) {
		dial := func(from string) *device {
			d := w.dialSilently(from)
			d.read()
			synctest.Wait()
			return d
		}
		for i := range 100 {
			dial(fmt.Sprintf("[2001:db8:0:%x::1]:1", i))
		}
		d := dial("192.0.2.1:1")
		for i := range 20 {
			dial(fmt.Sprintf("[2001:db8:1:%x::1]:1", i))
		}
		d.say("REGISTER d")
		if got := d.heard(); !strings.HasPrefix(got, "REGISTERED ") {
			t.Errorf("heard %q, want REGISTERED", got)
		}
	}, func(c *Config) { c.MaxUnregistered, c.MaxUnregisteredPerIP = 32, 16 })
}

// v2Register is a v2 REGISTER with a heartbeat of an hour.
func v2Register(id string) string {
	body := fmt.Sprintf(`{"id":%q,"heartbeat_ms":3600000}`, id)
	return string([]byte{1, 2, byte(len(body))}) + body
}

// begunFrame is the head of a v2 DATA with so many bytes, and the first n of them.
func begunFrame(bytes, n int) string {
	head := binary.AppendUvarint([]byte{5, 2}, uint64(bytes+1))
	return string(append(head, 1)) + strings.Repeat("x", n)
}

// What a device has sent behind its REGISTER is no unfinished frame once the REGISTER is
// answered.
func TestInputBehindARegisterIsNotUnfinished(t *testing.T) {
	inBubble(t, func(w *world) {
		for name, hello := range map[string]string{"accepted": "REGISTER a\n", "refused, to try again": "\x01#b"} {
			w.gw.onConnect = func(h gateway.Hello) error {
				if h.Client == "b" {
					return errUnauthorized
				}
				return nil
			}
			d := w.dial()
			line := "DATA 1 " + strings.Repeat("x", 400) + "\n"
			if hello[0] == 1 {
				line = "\x05#" + strings.Repeat("x", 400)
			}
			d.send(hello + strings.Repeat(line, 10))
			if n := w.srv.Stats().Unfinished; n != 0 {
				t.Errorf("%s: %d bytes count as an unfinished frame, want none", name, n)
			}
			d.wantOpen()
		}
	})
}

// Devices that begin frames and do not end them hold a bounded amount of memory,
// those with the largest give it back first, and the others go on.
func TestUnfinishedFramesShareABudget(t *testing.T) {
	inBubble(t, func(w *world) {
		honest := w.register("honest")
		slow := w.dial()
		slow.send(v2Register("slow"))
		slow.send(begunFrame(60_000, 20_000))
		var hoard []*device
		for i := range 20 {
			d := w.dial()
			d.send(v2Register(fmt.Sprint("h", i)))
			d.send(begunFrame(200_000, 150_000))
			hoard = append(hoard, d)
		}
		w.pass(2 * time.Second) // for the last words
		open := 0
		for i, d := range hoard {
			if d.closedAt() < 0 {
				open++
			} else if !strings.Contains(d.heard(), "frame_timeout") {
				t.Errorf("hoarder %d heard %q, want a CLOSE with frame_timeout", i, d.heard())
			}
		}
		if open > 6 {
			t.Errorf("%d frames of 150,000 bytes are held, want no more than 1 MiB takes", open)
		}
		honest.say("PING")
		honest.wantHeard("PONG\n")
		slow.wantOpen()
		slow.send(strings.Repeat("x", 40_000))
		if got := w.gw.said(); !strings.Contains(got, "slow: received 1") {
			t.Error("the frame of a device with less is lost")
		}
	}, func(c *Config) { c.InputBudget = 1 << 20 })
}

// A frame is to be complete within its time, whatever heartbeat the device has
// asked for. One that goes on coming has more.
func TestAFrameHasItsTime(t *testing.T) {
	inBubble(t, func(w *world) {
		silent, steady := w.dial(), w.dial()
		silent.send(v2Register("silent"))
		steady.send(v2Register("steady"))
		silent.send(begunFrame(200_000, 10<<10))
		steady.send(begunFrame(200_000, 0))
		for range 20 {
			steady.send(strings.Repeat("x", 10_000))
			w.pass(2 * time.Second)
		}
		w.pass(2 * time.Second) // for the last words
		steady.wantOpen()
		if at := silent.closedAt(); at < 40*time.Second || at > 41*time.Second+2*tick {
			t.Errorf("the silent one is closed after %v, want 40s and the time for last words", at)
		}
		if got := silent.heard(); !strings.Contains(got, "frame_timeout") {
			t.Errorf("heard %q, want a CLOSE with frame_timeout", got)
		}
		if got := w.gw.said(); !strings.Contains(got, "steady: received 1") {
			t.Error("the frame that went on coming is lost")
		}
	})
}

// Devices that never read hold a bounded amount of memory together. The one that
// has been behind for longest is closed with a reason, and a device that reads
// gets all that it is sent.
func TestSlowReadersShareABudget(t *testing.T) {
	forEachDriver(t, func(t *testing.T, driver func(*Config)) {
		const budget = 2 << 20
		gw := newRecorder()
		srv := liveServer(t, gw.connect, driver, func(c *Config) {
			c.OutputMemory, c.WriteTimeout, c.Protocol.Window = budget, time.Hour, 256
		})
		good := call(t, srv)
		good.register("good")
		payload := strings.Repeat("x", 47_000)
		for i := range 12 {
			p, id := call(t, srv), fmt.Sprint("deaf", i)
			p.nc.SetReadBuffer(4 << 10)
			p.register(id)
			for seq := gateway.Seq(1); seq <= 256 && gw.session(id).deliver(seq, payload) == nil; seq++ {
			}
			if err := gw.session("good").deliver(gateway.Seq(i+1), payload); err != nil {
				t.Fatal(err)
			}
			if got, want := good.hear(), fmt.Sprintf("DATA %d %s", i+1, payload); got != want {
				t.Fatalf("the device that reads got %.20q, want %.20q", got, want)
			}
		}
		eventually(t, "slow readers are closed", func() bool {
			held := 0
			for _, c := range srv.conns() {
				c.mu.Lock()
				held += c.proto.Buffered()
				if c.out != nil {
					held += cap(c.out.buf) // also what the socket has taken of it
				}
				c.mu.Unlock()
			}
			return held <= budget && strings.Contains(gw.all(), "deaf0: closed slow_consumer")
		})
		if strings.Contains(gw.all(), "good: closed") {
			t.Error("the device that reads is closed")
		}
	})
}
