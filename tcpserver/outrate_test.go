package tcpserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
)

func deliveryRates(messages, bytes int) func(*Config) {
	return func(c *Config) { c.DeliveryRate, c.DeliveryByteRate = messages, bytes }
}

// queue is what the store would have for a device: it hands over what is next
// whenever the device may take more.
type queue struct {
	w       *world
	payload string
	taken   gateway.Seq
}

// feed makes the gateway's session of every device that comes one with an
// endless queue.
func (w *world) feed(payload string) *queue {
	q := &queue{w: w, payload: payload}
	more := func(s *recorded) {
		for {
			err := s.link.Deliver(gateway.Transmission{Seq: q.taken + 1, Payload: []byte(q.payload)})
			if err != nil {
				break
			}
			q.taken++
		}
		s.link.Flush()
	}
	w.gw.onStart, w.gw.onWritable = more, more
	return q
}

// ackAll acks what was heard until there is no more, and returns how many
// deliveries that were; they have to rise by one.
func (d *device) ackAll(after int) (last int) {
	d.t.Helper()
	for last = after; ; {
		heard := d.heard()
		d.forget()
		before := last
		for line := range strings.Lines(heard) {
			var n int
			if _, err := fmt.Sscanf(line, "DATA %d ", &n); err != nil {
				continue // a heartbeat
			}
			if n != last+1 {
				d.t.Fatalf("delivery %d follows %d", n, last)
			}
			last = n
			d.say(fmt.Sprint("ACK ", n))
		}
		if last == before {
			return last
		}
	}
}

// Ten seconds' worth goes at once, then what the rate allows; and nobody is asked
// more often than there is something to send.
func TestFastQueueIsSentMoreSlowly(t *testing.T) {
	for name, c := range map[string]struct {
		limit     func(*Config)
		perSecond int
	}{
		"messages":        {deliveryRates(1, 0), 1},
		"more messages":   {deliveryRates(40, 0), 40},
		"bytes":           {deliveryRates(0, 100), 2},
		"the less counts": {deliveryRates(3, 100), 2},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				q := w.feed(strings.Repeat("x", 50))
				d := w.dial()
				d.say("REGISTER d")
				got := d.ackAll(0)
				if got != 10*c.perSecond {
					t.Errorf("%d deliveries went at once, want %d", got, 10*c.perSecond)
				}
				w.gw.said()
				for range 300 {
					w.pass(100 * time.Millisecond)
					got = d.ackAll(got)
				}
				if want, slack := 40*c.perSecond, max(1, c.perSecond/5); got < want-slack || got > want+slack {
					t.Errorf("%d deliveries in 30 s, want about %d", got, want)
				}
				if asks := strings.Count(w.gw.said(), "writable"); asks > 2*30*min(c.perSecond, 10)+1 {
					t.Errorf("the gateway was asked %d times", asks)
				}
				if int(q.taken) != got {
					t.Errorf("%d were taken, %d have arrived", q.taken, got)
				}
				d.wantOpen()
			}, c.limit)
		})
	}
}

// While deliveries wait, all else is said at once.
func TestOnlyDeliveriesWait(t *testing.T) {
	inBubble(t, func(w *world) {
		q := w.feed("x")
		d := w.dial()
		d.say("REGISTER d")
		if got := d.ackAll(0); got != 10 {
			t.Fatalf("%d deliveries, want 10", got)
		}
		d.say("PING")
		d.wantHeard("PONG\n")
		d.say("DATA 1 up")
		d.wantHeard("ACK 1\n")
		w.until(10*time.Second + tick)
		if got := d.heard(); !strings.Contains(got, "PING\n") {
			t.Errorf("after 10 s of silence the device heard %q, want to be asked", got)
		}
		d.say("PONG")
		w.until(22*time.Second + 4*tick)
		if got := w.gw.said(); !strings.HasSuffix(got, "d: closed heartbeat_timeout") {
			t.Errorf("the gateway was told %q", got)
		}
		if q.taken > 26 { // and the window
			t.Errorf("%d deliveries in 22 s", q.taken)
		}
	}, deliveryRates(1, 0))
}

// A device that was refused something asks once for more, and then not again.
func TestPacedDeviceAsksOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.register("d")
		s := w.gw.session("d")
		for seq := range gateway.Seq(10) {
			if err := s.deliver(seq+1, "x"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for range 5 { // and nothing else happens, not even a Flush
			if err := s.link.Deliver(gateway.Transmission{Seq: 11, Payload: []byte("x")}); !errors.Is(err, gateway.ErrLinkBusy) {
				t.Fatalf("the 11th: %v, want ErrLinkBusy", err)
			}
		}
		synctest.Wait()
		if n := w.srv.Stats().Paced; n != 1 {
			t.Errorf("%d pauses are counted, want 1", n)
		}
		w.gw.said()
		w.until(paceStep - 1)
		w.wantSaid()
		w.until(5 * time.Second)
		w.wantSaid("d: writable")
		for seq := range gateway.Seq(5) {
			if err := s.deliver(seq+11, "x"); err != nil {
				t.Errorf("5 s later: %v", err)
			}
		}
	}, deliveryRates(1, 0))
}

// A payload that costs more than ten seconds goes when nothing else is unpaid
// for long, and is paid for by what follows.
func TestLargeDeliveryIsPaidForAfterwards(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.register("d")
		defer w.keepAlive()()
		s := w.gw.session("d")
		if err := s.deliver(1, strings.Repeat("x", 30_000)); err != nil {
			t.Fatal(err)
		}
		d.say("ACK 1")
		if err := s.deliver(2, "x"); !errors.Is(err, gateway.ErrLinkBusy) {
			t.Fatalf("the next one: %v, want ErrLinkBusy", err)
		}
		w.gw.said()
		w.until(20*time.Second + paceStep - 1)
		if got := w.gw.said(); strings.Contains(got, "writable") {
			t.Errorf("too soon: %s", got)
		}
		w.until(20*time.Second + paceStep + tick)
		if got := w.gw.said(); strings.Count(got, "writable") != 1 {
			t.Errorf("the gateway was told %q, want writable", got)
		}
		if err := s.deliver(2, "x"); err != nil {
			t.Errorf("then: %v", err)
		}
	}, deliveryRates(0, 1000))
}

// The end of a connection does not wait for its rate, nor does its device's
// silence count for more.
func TestPacedConnectionEndsAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.feed("x")
		d := w.dial()
		d.say("REGISTER d")
		d.ackAll(0)
		w.gw.said()
		w.gw.session("d").link.Close(gateway.Close{Code: gateway.CloseKicked, Reason: gateway.ReasonKicked})
		d.wantHeard("CLOSE 3002 0 kicked\n")
		w.wantSaid("d: closed kicked")
		w.pass(20 * time.Second)
		w.wantSaid()
	}, deliveryRates(1, 0))
}

// A device that still talks after the end gets its moment to read why, with and
// without rates; one that goes on and on does not.
func TestClosedDeviceMayTalkForAMoment(t *testing.T) {
	for name, c := range map[string]struct {
		bytes, open int // said after the end, and connections that are open then
	}{"a little": {1000, 1}, "too much": {lingerBytes + 1, 0}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				d := w.dialSilently("192.0.2.1:1000")
				d.send("REGISTER d\n")
				buf := make([]byte, 256)
				if n, err := d.nc.Read(buf); err != nil {
					t.Fatalf("read: %v after %q", err, buf[:n])
				}
				s := w.gw.session("d")
				s.deliver(1, "x") // which nobody reads
				s.link.Close(gateway.Close{Code: gateway.CloseKicked, Reason: gateway.ReasonKicked})
				go func() {
					for said := 0; said < c.bytes; said += 100 {
						d.nc.Write(make([]byte, 100))
					}
				}()
				w.pass(100 * time.Millisecond)
				if open := w.srv.Stats().Open; open != c.open {
					t.Errorf("open = %d after %d bytes, want %d", open, c.bytes, c.open)
				}
				w.pass(time.Second)
				d.nc.Close()
			}, deliveryRates(1, 0))
		})
	}
}

func TestV1IsPacedToo(t *testing.T) {
	inBubble(t, func(w *world) {
		q := w.feed("m")
		d := w.dial()
		d.send("\x01#2")
		for range 400 { // 40 s
			w.pass(100 * time.Millisecond)
			if strings.Contains(d.heard(), "\x05#m") {
				d.forget()
				d.send("\x06#")
			}
		}
		if q.taken < 48 || q.taken > 52 {
			t.Errorf("%d deliveries in 40 s, want 50: 10 at once and 1 a second", q.taken)
		}
		d.wantOpen()
	}, deliveryRates(1, 0))
}

// A delivery that is larger than half of the output budget is refused until there is room
// for it, and not asked for again and again.
func TestALargeDeliveryWaitsForItsRoom(t *testing.T) {
	inBubble(t, func(w *world) {
		d := w.dialSilently("192.0.2.1:1000")
		d.send(v2Register("d"))
		p := make([]byte, 1024)
		d.nc.Read(p)
		asked := 0
		w.gw.onWritable = func(s *recorded) {
			if asked++; asked < 100 {
				s.deliver(2, strings.Repeat("y", 60_000))
			}
		}
		s := w.gw.session("d")
		if err := s.deliver(1, strings.Repeat("x", 60_000)); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 30_000; { // the rest is less than half of the budget
			got, _ := d.nc.Read(p)
			n += got
		}
		if err := s.deliver(2, strings.Repeat("y", 60_000)); err != gateway.ErrLinkBusy {
			t.Errorf("the second delivery: %v, want %v", err, gateway.ErrLinkBusy)
		}
		synctest.Wait()
		if asked > 1 {
			t.Errorf("the gateway was asked %d times for a delivery without room", asked)
		}
		d.read()
		w.pass(time.Second)
		if got := d.heard(); !strings.Contains(got, "yyyy") || asked > 2 {
			t.Errorf("after %d times the device has %d bytes, want both deliveries", asked, len(got))
		}
	}, func(c *Config) { c.OutputBudget, c.Protocol.MaxPayload = 70_000, 60_000 })
}
