package real

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// conn is one connection: the gateway's end, and the frames between the ends. An
// end that is closed reads no more; frames that it has written may still be read.
//
// The gateway's end is tcpserver's turn.go, link.go and register.go without the
// socket: one goroutine at a time has the turn, and an event that waits for the
// store keeps it.
type conn struct {
	p  *process
	no uint8

	mu     sync.Mutex
	proto  *protocol.Session
	gw     *gateway.Session
	now    time.Time // by which deadlines are judged
	turn   bool      // a goroutine has the turn
	again  bool      // and has to look again
	slow   bool      // it waits for the store
	dead   bool      // the process has crashed
	open   bool      // the gateway's end
	device bool      // the device's end is open
	up     [][]byte
	down   [][]byte
}

func (w *world) accept(no uint8) *conn {
	now := time.Now()
	wire := *w.wire
	if w.cfg.shrinks && w.connects == 1 {
		wire.MaxPayload = 8
	}
	c := &conn{p: w.p, no: no, now: now, proto: protocol.NewServer(&wire, now), open: true, device: true}
	w.conns[no] = c
	return c
}

func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead, c.open, c.up = true, false, nil
}

// receive reads one frame from the device.
func (c *conn) receive() {
	c.mu.Lock()
	f := c.up[0]
	c.up = c.up[1:]
	c.proto.Receive(c.now, f)
	c.mu.Unlock()
	c.drive()
}

// lose ends the gateway's end. Of a frame that was on its way, a part arrives.
func (c *conn) lose() {
	c.mu.Lock()
	if len(c.up) > 0 {
		c.proto.Receive(c.now, c.up[0][:len(c.up[0])/2])
	}
	c.proto.EOF()
	c.up = nil
	c.mu.Unlock()
	c.drive()
}

// timeout lets the first ack timeout pass.
func (c *conn) timeout() {
	c.mu.Lock()
	if t, ok := c.proto.Deadline(); ok {
		c.now = t
		c.proto.Advance(c.now)
	}
	c.mu.Unlock()
	c.drive()
}

// drive takes the turn, or makes the goroutine that has it look again.
func (c *conn) drive() {
	c.mu.Lock()
	if c.turn {
		c.again = true
		c.mu.Unlock()
		return
	}
	c.turn = true
	c.mu.Unlock()
	c.driveOn()
}

func (c *conn) driveOn() {
	for {
		e, ok := c.next()
		if !ok {
			return
		}
		if e.Kind == protocol.KindRegister || e.Kind == protocol.KindData {
			c.mu.Lock()
			c.slow = true
			c.mu.Unlock()
			c.p.call(func(ctx context.Context) {
				c.handle(ctx, e)
				c.mu.Lock()
				c.slow = false
				c.mu.Unlock()
				c.driveOn()
			})
			return
		}
		c.handle(c.p.ctx, e)
	}
}

// next returns the next event; without one, the turn is over.
func (c *conn) next() (e protocol.Event, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		c.again = false
		if e, ok = c.proto.Next(); ok {
			if e.Kind == protocol.KindRegister || e.Kind == protocol.KindData || e.Kind == protocol.KindClosed {
				c.flush()
			}
			return e, true
		}
		c.flush()
		if e, ok = c.proto.Next(); ok {
			return e, true
		}
		if !c.again {
			c.turn = false
			return e, false
		}
	}
}

// flush writes the output. c.mu is held.
func (c *conn) flush() {
	out := c.proto.AppendOutput(nil)
	if len(out) == 0 {
		return
	}
	l := frames(out)
	for _, f := range l {
		if f[0] == 0x05 && f[1]&0x40 == 0 && !c.dead {
			c.p.w.transmitted(uint64(f[3]), 1)
		}
	}
	if !c.dead && c.device {
		c.down = append(c.down, l...)
	}
	c.proto.Flushed(c.now, len(out))
}

// frames cuts output into frames (SPEC §4.1).
func frames(b []byte) (l [][]byte) {
	for len(b) > 0 {
		n, size := binary.Uvarint(b[2:])
		end := 2 + size + int(n)
		l, b = append(l, b[:end:end]), b[end:]
	}
	return l
}

// handle is conn.handle of tcpserver.
func (c *conn) handle(ctx context.Context, e protocol.Event) {
	w, seq := c.p.w, gateway.Seq(e.Seq)
	switch e.Kind {
	case protocol.KindRegister:
		c.register(ctx, e.Register)
	case protocol.KindData:
		c.uplink(ctx, e)
	case protocol.KindSent:
		c.gw.Sent(seq, e.Ephemeral, time.Now())
	case protocol.KindAck:
		w.coverCode(e)
		if !e.Ask && (e.Code == protocol.AckRetry || e.Code == protocol.AckSend) {
			w.transmitted(e.Seq, -1)
		}
		if !c.gw.TryAcked(seq, gateway.AckCode(e.Code), e.Payload, time.Now()) {
			c.gw.Acked(seq, e.Ephemeral, gateway.AckCode(e.Code), e.Payload, time.Now())
		}
	case protocol.KindStaleAck:
		w.cover("stale ack")
		if e.Code != protocol.AckSend && e.Code != protocol.AckWorking {
			c.gw.Acked(seq, e.Ephemeral, gateway.AckCode(e.Code), e.Payload, time.Now())
		}
	case protocol.KindAckTimeout:
		if e.Ask {
			w.cover("ASK timed out")
		} else {
			w.cover("ack timed out")
		}
		c.gw.AckTimeout(seq, e.Ephemeral)
	case protocol.KindSuspect:
		c.gw.Suspect()
	case protocol.KindAlive:
		c.gw.Alive(e.RTT)
	case protocol.KindWritable:
		c.gw.Writable()
	case protocol.KindClosed:
		c.mu.Lock()
		c.open, c.up = false, nil
		c.mu.Unlock()
		if e.Close.Reason == protocol.ReasonProtocolError {
			w.fail("a connection ends with %s: %s", e.Close.Reason, e.Close.Text)
		}
		if c.gw != nil {
			c.gw.Closed(e.Close.Reason)
		}
	}
}

// transmitted counts the payloads that were not answered retry later.
func (w *world) transmitted(seq uint64, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ghost.silent[seq] += n
}

func (c *conn) register(ctx context.Context, r *protocol.Register) {
	w := c.p.w
	gw, welcome, err := c.p.gw.Connect(ctx, gateway.Hello{Client: gateway.ClientID(r.ID), Log: gateway.LogID(r.Log),
		Asks: r.Asks, AskThrough: gateway.Seq(r.AskThrough), Dialect: "v2", Transport: "tcp"}, c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.proto.Refuse(c.now, protocol.Close{Code: protocol.CloseOverloaded, Reason: protocol.ReasonOverloaded})
		return
	}
	if !welcome.Resumed {
		w.cover("not resumed")
	}
	c.gw = gw
	c.proto.Accept(c.now, protocol.Registered{Session: string(welcome.Session), Log: string(welcome.Log),
		Resumed: welcome.Resumed, Ask: welcome.Ask, Time: welcome.Time})
	c.mu.Unlock()
	gw.Start()
	c.mu.Lock()
}

func (c *conn) uplink(ctx context.Context, e protocol.Event) {
	code := protocol.AckOK
	if err := c.gw.Received(ctx, e.Seq, e.Payload); err != nil {
		code = protocol.AckRetry
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.proto.AckData(c.now, e.Seq, code, nil)
}

// Deliver implements gateway.Link.
func (c *conn) Deliver(p gateway.Transmission) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return gateway.ErrLinkClosed
	}
	var err error
	if p.Ask {
		c.p.w.cover("asked")
		err = c.proto.Ask(c.now, uint64(p.Seq))
	} else {
		err = c.proto.Send(c.now, protocol.Data{Seq: uint64(p.Seq), Payload: p.Payload, Dup: p.Dup})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, protocol.ErrWindowFull):
		return gateway.ErrWindowFull
	case errors.Is(err, protocol.ErrBusy), errors.Is(err, protocol.ErrNotRegistered):
		return gateway.ErrLinkBusy
	case errors.Is(err, protocol.ErrTooLarge):
		return gateway.ErrTooLarge
	}
	return gateway.ErrLinkClosed
}

// Flush implements gateway.Link.
func (c *conn) Flush() { c.drive() }

// Forget implements gateway.Link.
func (c *conn) Forget(seq gateway.Seq, ephemeral bool) (unsent bool) {
	c.mu.Lock()
	if c.open {
		unsent = c.proto.Forget(c.now, uint64(seq), ephemeral)
	}
	c.mu.Unlock()
	c.later()
	return unsent
}

// Close implements gateway.Link.
func (c *conn) Close(why gateway.Close) {
	c.mu.Lock()
	if c.open {
		if why.Reason == gateway.ReasonReplaced {
			c.p.w.cover("takeover")
		}
		c.proto.Close(protocol.Close{Code: protocol.CloseCode(why.Code), Reason: why.Reason})
	}
	c.mu.Unlock()
	c.later()
}

// later is drive for a goroutine that may hold the gateway's locks.
func (c *conn) later() { c.p.call(func(context.Context) { c.drive() }) }

// Probe, Stats, MaxPayload and Window implement gateway.Link.
func (c *conn) Probe() bool { return false }

func (c *conn) Stats() gateway.LinkStats { return gateway.LinkStats{} }

func (c *conn) MaxPayload() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proto.MaxPayload()
}

func (c *conn) Window() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proto.Window()
}
