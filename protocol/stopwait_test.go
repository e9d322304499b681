package protocol

import (
	"testing"
	"time"
)

func TestV1GapBetweenAnyTwoFrames(t *testing.T) {
	d := answerServer(t, nil, helloV1) // 2#ok has just been written
	d.send(Data{Seq: 1, Payload: []byte("a")})
	d.advance(30*time.Millisecond - tick)
	d.want()
	if got := d.s.Buffered(); got != 3 {
		t.Errorf("%d bytes buffered, want 3", got)
	}
	d.advance(tick)
	d.want(`out "\x05#a"`, "event sent 1")
	d.recv("\x06#\x05#up")
	d.ack(0, AckOK, "")
	d.send(Data{Seq: 2, Payload: []byte("b")})
	d.want("event ack 1 ok", `event data 0 "up"`)
	d.advance(30*time.Millisecond - tick)
	d.want()
	d.advance(tick)
	d.want(`out "\x06#"`)
	d.advance(30*time.Millisecond - tick)
	d.want()
	d.advance(tick)
	d.want(`out "\x05#b"`, "event sent 2")
}

// The gap counts from the flush: a frame that is stuck in the socket holds the
// next one back however long it takes.
func TestV1GapCountsFromTheFlush(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(time.Second)
	d.stuck = true
	d.recv("\x05#up")
	d.ack(0, AckOK, "")
	d.send(Data{Seq: 1, Payload: []byte("a")})
	out := d.s.AppendOutput(nil)
	d.advance(time.Second)
	if got := d.s.Pending(); got != 0 {
		t.Fatalf("%d bytes pending behind an unflushed frame", got)
	}
	d.s.Flushed(d.now, len(out))
	d.stuck = false
	d.advance(30*time.Millisecond - tick)
	d.want(`event data 0 "up"`)
	d.advance(tick)
	d.want(`out "\x05#a"`, "event sent 1")
}

func TestV1NothingIsWrittenWhileAnAckIsOwed(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a")})
	d.recv("\x05#up")
	d.ack(0, AckOK, "")
	d.recv("\x03#")
	d.ping()
	d.until(d.now.Add(2 * time.Second))
	d.want(`out "\x05#a"`, "event sent 1", `event data 0 "up"`)
	d.recv("\x06#")
	d.want("event ack 1 ok after 2s", `out "\x06#"`)
	d.advance(30 * time.Millisecond)
	d.want(`out "\x04#h"`)
}

// repeatedDelivery sends seq and repeats it after 3 s; the first answer takes 4 s.
func repeatedDelivery(t *testing.T) *dialogue {
	d := answerServer(t, &Config{Heartbeat: time.Hour}, helloV1)
	d.advance(time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a")})
	d.advance(3 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a"), Dup: true})
	d.advance(time.Second)
	d.recv("\x06#")
	d.want(`out "\x05#a"`, "event sent 1", "event ack_timeout 1", `out "\x05#a"`, "event sent 1", "event ack 1 ok after 4s")
	return d
}

func TestV1HoldAfterARepeat(t *testing.T) {
	busy := "error " + ErrBusy.Error()
	t.Run("until the owed ack", func(t *testing.T) {
		d := repeatedDelivery(t)
		d.send(Data{Seq: 2, Payload: []byte("b")})
		d.advance(4 * time.Second)
		d.want(busy)
		d.recv("\x06#")
		d.want("event stale_ack 0 ok", "event writable")
	})
	t.Run("until twice the time has passed", func(t *testing.T) {
		d := repeatedDelivery(t)
		d.send(Data{Seq: 2, Payload: []byte("b")})
		d.advance(8*time.Second - tick)
		d.want(busy)
		d.advance(tick)
		d.want("event writable")
		d.send(Data{Seq: 2, Payload: []byte("b")})
		d.want(`out "\x05#b"`, "event sent 2")
	})
}

func TestV1HoldAfterForget(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a")})
	d.advance(time.Second)
	d.forget(1)
	d.send(Data{Seq: 2, Payload: []byte("b")})
	d.want(`out "\x05#a"`, "event sent 1", "error "+ErrBusy.Error())
	d.advance(3*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event writable")
}

// A frame that was not handed out yet can be taken back, and owes nothing.
func TestV1ForgetBeforeItsTurn(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.send(Data{Seq: 1, Payload: []byte("a")}) // waits for the gap after 2#ok
	d.forget(1)
	d.send(Data{Seq: 2, Payload: []byte("b")})
	d.advance(time.Second)
	d.want(`out "\x05#b"`, "event sent 2")

	d.recv("\x06#")
	d.advance(time.Second)
	d.stuck = true
	d.send(Data{Seq: 3, Payload: []byte("c")}) // pending, but not taken
	d.forget(3)
	d.send(Data{Seq: 4, Payload: []byte("d")})
	d.unstick()
	d.want("event ack 2 ok", `out "\x05#d"`, "event sent 4")
}

// slowClient reads one frame, thinks for a while, and acks; what arrives in the
// meantime waits in its socket, one read per frame.
type slowClient struct {
	d       *dialogue
	delay   time.Duration
	doneAt  time.Time // when the one it thinks about is answered
	thinks  bool
	current string
	unread  []string
	acked   []string
}

func (c *slowClient) step() {
	if c.thinks && !c.d.now.Before(c.doneAt) {
		c.thinks = false
		c.acked = append(c.acked, c.current)
		c.d.s.Receive(c.d.now, []byte("\x06#"))
	}
	if !c.thinks && len(c.unread) > 0 {
		c.current, c.unread = c.unread[0], c.unread[1:]
		c.thinks, c.doneAt = true, c.d.now.Add(c.delay)
	}
}

// Whatever the client's speed, no ack of an earlier transmission becomes the
// ack of a later delivery: when the server calls one acked, the client has
// answered that very payload.
func TestV1SlowClientNeverAcksALaterDelivery(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 2 * time.Second, 2999 * time.Millisecond, 4 * time.Second, 7 * time.Second, 11 * time.Second} {
		d := answerServer(t, &Config{Heartbeat: time.Hour}, helloV1)
		c := &slowClient{d: d, delay: delay}
		seq, acked := uint64(1), uint64(0)
		body := func(seq uint64) []byte { return []byte{'a' + byte(seq)} }
		send := func(dup bool) { _ = d.s.Send(d.now, Data{Seq: seq, Payload: body(seq), Dup: dup}) }
		send(false)
		for acked < 8 {
			if d.now.Sub(epoch) > 30*time.Minute {
				t.Fatalf("delay %v: stuck at delivery %d", delay, seq)
			}
			c.step()
			for e, ok := d.s.Next(); ok; e, ok = d.s.Next() {
				switch e.Kind {
				case KindAckTimeout:
					send(true)
				case KindWritable:
					send(false)
				case KindAck:
					if last := c.acked[len(c.acked)-1]; last != "\x05#"+string(body(e.Seq)) {
						t.Fatalf("delay %v: delivery %d acked by the answer to %q", delay, e.Seq, last)
					}
					acked, seq = e.Seq, e.Seq+1
					send(false)
				}
			}
			if out := d.s.AppendOutput(nil); len(out) > 0 {
				if out[0] == typeData {
					c.unread = append(c.unread, string(out))
				}
				d.s.Flushed(d.now, len(out))
			}
			d.now = d.now.Add(time.Millisecond)
			d.s.Advance(d.now)
		}
	}
}

func TestV1SplitsJoinedMessages(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.advance(time.Second)
	d.recv("\x05#a\x05#\x06#junk\x05#\x07#b")
	d.want(`event data 0 "a"`, `event data 0 ""`, "event stale_ack 0 ok", `event data 0 "\a#b"`)
	d.recv("junk\x05#c")
	d.want(`event malformed protocol_error "not a v1 message"`, `event data 0 "c"`)
	d.recv("\x05")
	d.want()
	d.recv("#d")
	d.want(`event data 0 "d"`)
}

// A withdrawn delivery that is stuck in the socket is waited for from when it
// gets out.
func TestV1HoldCountsFromTheFlush(t *testing.T) {
	d := answerServer(t, &Config{Heartbeat: time.Hour}, helloV1)
	d.advance(time.Second)
	d.stuck = true
	d.send(Data{Seq: 1, Payload: []byte("a")})
	out := d.s.AppendOutput(nil)
	d.forget(1)
	d.advance(10 * time.Second)
	d.send(Data{Seq: 2, Payload: []byte("b")})
	d.want("error " + ErrBusy.Error())
	d.s.Flushed(d.now, len(out))
	d.stuck = false
	d.advance(3*time.Second - tick)
	d.want()
	d.advance(tick)
	d.want("event writable")
}

// Forget says that a delivery has not left only while it waits for its turn.
func TestV1ForgetKnowsWhatHasNotLeft(t *testing.T) {
	d := answerServer(t, nil, helloV1)
	d.send(Data{Seq: 1, Payload: []byte("a")}) // waits for the gap after 2#ok
	if !d.s.Forget(d.now, 1, false) {
		t.Error("a delivery that waits for its turn may have left")
	}
	d.advance(time.Second)
	d.send(Data{Seq: 2, Payload: []byte("b")})
	d.want(`out "\x05#b"`, "event sent 2")
	if d.s.Forget(d.now, 2, false) {
		t.Error("a delivery that was sent has not left")
	}
	v2 := answerServer(t, nil, helloV2)
	v2.stuck = true
	v2.send(Data{Seq: 1, Payload: []byte("a")})
	if v2.s.Forget(v2.now, 1, false) {
		t.Error("a delivery in the output, which stays there, has not left")
	}
}

// An answer to the server does not prolong the hold of an uplink.
func TestV1HoldOfADeviceEndsInTime(t *testing.T) {
	d := registeredDevice(t, nil, V1)
	d.advance(time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a")})
	d.advance(3 * time.Second)
	d.send(Data{Seq: 1, Payload: []byte("a"), Dup: true})
	d.recv("\x06#")
	d.lines = nil
	d.send(Data{Seq: 2, Payload: []byte("b")})
	for range 6 { // seconds
		d.advance(time.Second)
		d.recv("\x03#")
		if d.send(Data{Seq: 2, Payload: []byte("b")}); d.s.InFlight() > 0 {
			return
		}
	}
	d.t.Errorf("an uplink waits longer than the hold of 6 s: %q", d.lines)
}
