package tcpserver

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

func TestSilentConnectionIsClosedAtTheRegisterDeadline(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dial()
		w.until(10*time.Second - 1)
		d.wantOpen()
		w.until(10*time.Second + tick)
		d.wantClosed(10 * time.Second)
		if got := w.srv.Stats().Closed["register_timeout"]; got != 1 {
			t.Errorf("closed for register_timeout = %d, want 1", got)
		}
	})
}

func TestHalfAFrameAndSilenceIsClosedAtTheRegisterDeadline(t *testing.T) {
	for name, c := range map[string]struct{ half, lastWords string }{
		"v1":   {"\x01", ""},
		"v2":   {"\x01\x02\x20{\"id\":", "\x07\x02\x16\x0b\xbb\x00\x00\x00\x00register_timeout"},
		"text": {"REGIST", "CLOSE 3003 0 register_timeout\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				d := w.dial()
				w.until(9 * time.Second)
				d.send(c.half)
				w.until(10*time.Second - 1)
				d.wantHeard("")
				d.wantOpen()
				w.until(10*time.Second + tick)
				d.wantHeard(c.lastWords)
				if got := w.srv.Stats().Closed["register_timeout"]; got != 1 {
					t.Errorf("closed for register_timeout = %d, want 1", got)
				}
				w.pass(time.Second + tick) // the moment to read the last words
				if d.closedAt() < 0 {
					t.Error("the socket is still open")
				}
			})
		})
	}
}

func TestSilentClientIsAskedAndGivenUp(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		w.until(10*time.Second - 1)
		d.wantHeard("")
		w.until(10*time.Second + tick)
		d.wantHeard("PING\n")
		if w.gw.session("d").link.Stats().Confirmed {
			t.Error("confirmed before the first answer")
		}
		d.say("PONG")
		w.until(10*time.Second + 2*tick)
		if !w.gw.session("d").link.Stats().Confirmed {
			t.Error("not confirmed after an answer")
		}
		w.until(20*time.Second + 3*tick)
		d.wantHeard("PING\n")
		w.until(22*time.Second - 1)
		w.wantSaid("d: start")
		w.until(22*time.Second + 4*tick)
		w.wantSaid("d: closed heartbeat_timeout")
		d.wantHeard("CLOSE 3003 0 heartbeat_timeout\n")
	})
}

// A person at nc who types nothing has a minute and the grace.
func TestWhoNeverAnsweredHasAMinute(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		w.until(62*time.Second - 1)
		w.wantSaid("d: start")
		d.wantHeard("PING\n")
		w.until(62*time.Second + 2*tick)
		w.wantSaid("d: closed heartbeat_timeout")
	})
}

func TestAnyByteIsLife(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		for i, at := range []time.Duration{7, 14, 20} {
			w.until(at * time.Second)
			d.send("PIN"[i : i+1]) // not a whole line yet
		}
		w.until(30*time.Second - 1)
		d.wantHeard("")
		d.send("G\n")
		w.until(40*time.Second - 2)
		d.wantHeard("PONG\n")
		d.wantOpen()
	})
}

func TestAnsweredHeartbeatsKeepAClientOnline(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		for range 30 {
			w.pass(10*time.Second + tick)
			d.wantHeard("PING\n")
			d.say("PONG")
		}
		d.wantOpen()
		if rtt := w.gw.session("d").link.Stats().RTT; rtt > 2*tick {
			t.Errorf("RTT = %v, want about nothing", rtt)
		}
	})
}

func TestUnackedDeliveryTimesOut(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onStart = func(s *recorded) { s.deliver(1, "hello") }
		w.register("d")
		defer w.keepAlive()()
		w.wantSaid("d: start", "d: sent 1")
		w.until(30*time.Second - 1)
		w.wantSaid("")
		w.until(30*time.Second + tick)
		w.wantSaid("d: ack timeout 1")
	})
}

// keepAlive makes the device that registered last speak every 4 s.
func (w *world) keepAlive() (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	d := w.last
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(4 * time.Second):
				d.nc.Write([]byte("PONG\n"))
			}
		}
	}()
	return func() { cancel(); synctest.Wait() }
}

// While the store does not answer, nothing is read from the device; that must
// not be taken for the device's silence.
func TestStalledStoreIsNotTheDevicesSilence(t *testing.T) {
	inBubble(t, func(w *world) {
		release := make(chan struct{})
		w.gw.onReceived = func(context.Context, string) error { <-release; return nil }
		d := w.register("d")
		d.say("DATA 1 x")
		go func() { // says something all the time, which nobody reads
			for range 20 {
				time.Sleep(time.Second)
				if _, err := d.nc.Write([]byte("PONG\n")); err != nil {
					return
				}
			}
		}()
		w.pass(20 * time.Second)
		close(release)
		w.pass(5 * time.Second)
		d.wantOpen()
		w.wantSaid("d: start", `d: received 1 "x"`)
		w.pass(20 * time.Second) // until it has said everything
	}, func(c *Config) { c.StoreTimeout = time.Minute })
}

func TestDeviceThatNeverReadsIsASlowConsumer(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.say("REGISTER d")
		w.wantSaid("d: start")
		w.until(10*time.Second - 1)
		w.wantSaid("")
		w.until(10*time.Second + tick)
		w.wantSaid("d: closed slow_consumer")
		if got := w.srv.Stats(); got.SlowConsumers != 1 || got.Open != 0 {
			t.Errorf("slow consumers = %d, open = %d, want 1, 0", got.SlowConsumers, got.Open)
		}
		d.nc.Close()
	})
}

func TestClosedDeviceGetsAMomentToReadWhy(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.send("REGISTER d\n")
		buf := make([]byte, 256)
		n, err := d.nc.Read(buf)
		if err != nil {
			t.Fatalf("read: %v after %q", err, buf[:n])
		}
		w.gw.session("d").link.Close(gateway.Close{Code: gateway.CloseKicked, Reason: gateway.ReasonKicked})
		w.pass(900 * time.Millisecond)
		w.wantSaid("d: start", "d: closed kicked")
		n, err = d.nc.Read(buf)
		if got, want := string(buf[:n]), "CLOSE 3002 0 kicked\n"; got != want || err != nil {
			t.Errorf("last words = %q, %v, want %q", got, err, want)
		}
		w.pass(100*time.Millisecond + 2*tick)
		if open := w.srv.Stats().Open; open != 0 {
			t.Errorf("open = %d after the linger time, want 0", open)
		}
	})
}

// While too much output waits for a device, the server does not read. Then the device's
// silence is the server's doing.
func TestADeviceThatReadsSlowlyIsNotSilent(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.send("REGISTER slow\n")
		p := make([]byte, 128)
		d.nc.Read(p)
		if err := w.gw.session("slow").deliver(1, strings.Repeat("x", 2000)); err != nil {
			t.Fatal(err)
		}
		go func() { // it waits for the server to read
			for {
				time.Sleep(5 * time.Second)
				if _, err := io.WriteString(d.nc, "PONG\n"); err != nil {
					return
				}
			}
		}()
		for range 90 {
			w.pass(time.Second)
			d.nc.Read(p[:20])
		}
		w.wantSaid("slow: start")
		d.read()
		w.pass(time.Second)
		d.wantOpen()
		d.nc.Close()
		w.pass(10 * time.Second) // its last word
	}, func(c *Config) { c.OutputBudget = 200 })
}

// Frames of a v1 device that wait for its answer, and not for its socket, postpone nothing.
func TestADeviceWhoseAnswerIsNotReadIsGivenUp(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dial()
		d.send("\x01#d")
		w.pass(time.Second)
		if err := w.gw.session("d").deliver(1, "x"); err != nil {
			t.Fatal(err)
		}
		d.send(strings.Repeat("\x05#y", 150)) // their answers use up the budget
		for range 20 {
			d.nc.Write([]byte("\x04#"))
			w.pass(time.Second)
		}
		if got := w.gw.said(); !strings.Contains(got, "closed heartbeat_timeout") {
			t.Errorf("the gateway was told %q, want the end by heartbeat_timeout", got[max(0, len(got)-200):])
		}
	}, func(c *Config) { c.OutputBudget = 200 })
}

func TestADeviceThatReadsSlowlyRegistersInTime(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		go io.WriteString(d.nc, strings.Repeat("PING\n", 1000)) // the answers are more than the budget
		p := make([]byte, 10)
		for range 15 {
			w.pass(time.Second)
			d.nc.Read(p)
		}
		if got := w.srv.Stats(); got.Closed["register_timeout"] != 1 {
			t.Errorf("after 15 s the ends are %v, want one by register_timeout", got.Closed)
		}
		d.nc.Close()
		w.pass(time.Second)
	}, func(c *Config) { c.OutputBudget = 200 })
}
