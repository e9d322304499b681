package bench

import (
	"context"
	"fmt"
	"net"
	"time"
)

// exchange is a device that waits for the answer to each of its frames. Only it
// reads from its connection.
type exchange struct {
	conn net.Conn
	say  func(*exchange) error // uplink or beat
	buf  []byte
	have int    // unprocessed bytes in buf
	id   uint64 // of the last uplink
	out  []byte // reused
}

// newExchanges registers n devices that call say repeatedly.
func (r *run) newExchanges(ctx context.Context, t *target, n int, say func(*exchange) error) (*callers, error) {
	c := r.newCallers(t)
	j := join{Addr: t.tcp, Count: n}.withDefaults()
	for i := range n {
		d, err := j.admit(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("connect %d devices: %w", n, err)
		}
		r.onClose(func() error { d.hangUp(); return nil })
		c.all = append(c.all, &exchange{conn: d.conn, say: say, buf: make([]byte, 512)})
	}
	return c, nil
}

func (e *exchange) call() (int, error) {
	_ = e.conn.SetDeadline(time.Now().Add(callTimeout))
	return 1, e.say(e)
}

// beat sends a heartbeat and waits for the answer.
func (e *exchange) beat() error {
	if _, err := e.conn.Write(heartbeatFrame); err != nil {
		return err
	}
	return e.await(frameHeartbeatAck)
}

// uplink sends a payload and waits for its ack.
func (e *exchange) uplink() error {
	e.id++
	e.out = appendData(e.out[:0], e.id, pushPayload)
	if _, err := e.conn.Write(e.out); err != nil {
		return err
	}
	return e.await(frameAck)
}

// await reads until a frame of kind want has come. It answers heartbeats.
func (e *exchange) await(want byte) error {
	for {
		kind, _, body, size, err := nextFrame(e.buf[:e.have])
		if err != nil {
			return err
		}
		if size == 0 {
			n, err := e.conn.Read(e.buf[e.have:])
			if err != nil {
				return err
			}
			e.have += n
			continue
		}
		if kind == frameClose {
			return fmt.Errorf("the gateway closed the connection: %q", body)
		}
		e.have = copy(e.buf, e.buf[size:e.have])
		switch kind {
		case want:
			return nil
		case frameHeartbeat:
			if _, err := e.conn.Write(heartbeatAckFrame); err != nil {
				return err
			}
		}
	}
}
