package tcpserver

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/longwire/longwire/gateway"
)

// flood sends as fast as it is read, until the connection ends.
func (d *device) flood(what string) {
	go func() {
		for {
			if _, err := d.nc.Write([]byte(what)); err != nil {
				return
			}
		}
	}()
}

func clientRates(messages, bytes int) func(*Config) {
	return func(c *Config) { c.ClientMessageRate, c.ClientByteRate = messages, bytes }
}

// Ten seconds' worth is read at once, then what the rate allows.
func TestFastDeviceIsReadMoreSlowly(t *testing.T) {
	ack := "ACK 7 " + strings.Repeat("x", 200) + "\n" // so that a read has not many of them
	for name, c := range map[string]struct {
		limit     func(*Config)
		message   string
		perSecond int // answers
		read      int // answers to what one read may have
	}{
		"heartbeats":      {clientRates(1000, 0), "PING\n", 1000, readBufferSize / 5},
		"unasked acks":    {clientRates(100, 0), ack + "PING\n", 50, readBufferSize / 200},
		"refused lines":   {clientRates(100, 0), ack[1:] + "PING\n", 50, readBufferSize / 200},
		"bytes":           {clientRates(0, 10600), ack + "PING\n", 50, readBufferSize / 200},
		"the less counts": {clientRates(1000, 10600), ack + "PING\n", 50, readBufferSize / 200},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				d := w.register("d")
				d.flood(c.message)
				answers := func() int { return strings.Count(d.heard(), "PONG\n") }
				before := answers()
				if least := 10*c.perSecond - 5; before < least || before > least+c.read {
					t.Errorf("%d messages were read at once, want %d and a read more at most", before, least)
				}
				w.pass(10 * time.Second)
				if got, slack := answers()-before, 2*c.perSecond+c.read; got < 10*c.perSecond-slack || got > 10*c.perSecond+slack {
					t.Errorf("%d messages were read in 10 s, want about %d", got, 10*c.perSecond)
				}
				d.wantOpen()
				if got := w.srv.Stats().Throttled; got < 2 || got > 12 {
					t.Errorf("throttled %d times, want once in a few seconds", got)
				}
			}, c.limit)
		})
	}
}

func TestDeviceThatGoesOnTooFastIsClosed(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		d.flood("ACK 7 " + strings.Repeat("x", 200) + "\n")
		w.until(29 * time.Second)
		d.wantOpen()
		w.until(2 * time.Minute)
		if d.closedAt() < 0 {
			t.Error("the connection is open")
		}
		if said := w.gw.said(); !strings.HasSuffix(said, "d: closed rate_exceeded") {
			t.Error("the gateway was not told")
		}
		w.wantEndedFor("rate_exceeded", 1)
	}, clientRates(100, 0))
}

// One read that would take more than half a minute to pay for is the end at once.
func TestTooMuchAtOnceIsClosed(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		d.send(strings.Repeat("PING\n", 45))
		var retry int
		_, last, _ := strings.Cut(d.heard(), "CLOSE")
		if _, err := fmt.Sscanf(last, " 3007 %d rate_exceeded\n", &retry); err != nil || retry < 1000 || retry > 11000 {
			t.Errorf("last words CLOSE%q, want 3007 with 1,000 to 11,000 ms", last)
		}
		w.wantSaid("d: start", "d: closed rate_exceeded")
	}, clientRates(1, 0))
}

// While we do not read, a device's silence is ours, and what it sent meanwhile is
// read afterwards.
func TestThrottledDeviceIsNotTakenForDead(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		d.send(strings.Repeat("PING\n", 35)) // 25 s too many with REGISTER, and a second
		go d.nc.Write([]byte("DATA 1 x\n"))
		w.until(24 * time.Second)
		d.wantHeard(strings.Repeat("PONG\n", 35))
		w.wantSaid("d: start")
		w.until(28 * time.Second)
		d.wantHeard("ACK 1\n")
		w.wantSaid(`d: received 1 "x"`)
		d.wantOpen()
	}, clientRates(1, 0))
}

// What a device was asked for does not count, and a device within its rate is
// never held up.
func TestAcksOfDeliveriesAreFree(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		for seq := range 500 {
			if err := w.gw.session("d").deliver(gateway.Seq(seq+1), "m"); err != nil {
				t.Fatal(err)
			}
			d.say(fmt.Sprintf("ACK %d", seq+1))
		}
		for range 300 {
			d.say("PING")
			w.pass(time.Second)
		}
		if got := w.srv.Stats().Throttled; got != 0 {
			t.Errorf("throttled %d times", got)
		}
		d.wantOpen()
	}, clientRates(1, 0))
}

func TestDebtsAreBoundedAndRoundedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for got, want := range map[time.Duration]time.Duration{
			microsOf(1).time():                        time.Microsecond,
			microsOf(time.Second).time():              time.Second,
			microsOf(1000 * time.Hour).time():         (1<<32 - 1) * time.Microsecond,
			costAt(1, math.MaxInt):                    1e6 * time.Second,
			costAt(1000, 5):                           5 * time.Millisecond,
			costAt(0, 5):                              0,
			time.Duration(unsafe.Sizeof(conn{}.debt)): 4,
		} {
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	})
}

// A device that is paused when it registers is not given up while it is not read.
func TestAPauseOutlastsTheDecision(t *testing.T) {
	inBubble(t, func(w *world) {
		w.gw.onConnect = func(gateway.Hello) error { time.Sleep(8 * time.Second); return nil }
		d := w.dial()
		d.send("\x01\x02\x0a{\"id\":\"d\"}" + strings.Repeat("\x03\x02\x00", 1000)) // 30 s of its rate, read at once
		w.until(9 * time.Second)
		go d.nc.Write([]byte("\x03\x02\x00"))
		w.until(31 * time.Second)
		d.forget()
		d.wantOpen()
	}, clientRates(0, 100))
}

// Time pays the debt also while input comes that costs nothing.
func TestInputWithoutACostLeavesTheDebtToTime(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		for range 2 {
			d.send(strings.Repeat("PING\n", 90))
			for _, piece := range strings.Split("PING x xxx\n", "") { // a message at its end
				d.send(piece)
				w.pass(time.Second)
			}
		}
		if n := w.srv.Stats().Throttled; n != 0 {
			t.Errorf("%d pauses of a device that keeps to its rate, want none", n)
		}
	}, func(c *Config) { c.ClientMessageRate = 10 })
}
