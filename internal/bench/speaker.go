package bench

import (
	"context"
	"fmt"
	"net"
	"time"
)

// speaker is a device that waits for the answer to each of its frames. Nobody
// else reads from its connection.
type speaker struct {
	conn net.Conn
	buf  []byte
	have int    // bytes in buf that are not taken yet
	id   uint64 // of the last uplink
	out  []byte // reused
}

// deviceCaller is a speaker that says one kind of thing.
type deviceCaller struct {
	*speaker
	say func(*speaker) error
}

func (d deviceCaller) call() error {
	_ = d.conn.SetDeadline(time.Now().Add(callTimeout))
	return d.say(d.speaker)
}

// newDevices registers n devices that say something again and again.
func newDevices(ctx context.Context, t *target, n int, say func(*speaker) error) (*load, error) {
	l := &load{target: t}
	m := muster{Addr: t.tcp, Count: n}.withDefaults()
	for i := range n {
		d, err := m.admit(ctx, i)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect %d devices: %w", n, err)
		}
		l.callers = append(l.callers, deviceCaller{&speaker{conn: d.conn, buf: make([]byte, 512)}, say})
		l.closers = append(l.closers, d.conn.Close)
	}
	return l, nil
}

// beat asks for a sign of life.
func (s *speaker) beat() error {
	if _, err := s.conn.Write(heartbeatFrame); err != nil {
		return err
	}
	return s.await(frameHeartbeatAck)
}

// uplink sends a payload and waits until it is taken.
func (s *speaker) uplink() error {
	s.id++
	s.out = appendData(s.out[:0], s.id, pushPayload)
	if _, err := s.conn.Write(s.out); err != nil {
		return err
	}
	return s.await(frameAck)
}

// await reads until a frame of the kind has come. Heartbeats are answered.
func (s *speaker) await(want byte) error {
	for {
		kind, _, body, size, err := nextFrame(s.buf[:s.have])
		if err != nil {
			return err
		}
		if size == 0 {
			n, err := s.conn.Read(s.buf[s.have:])
			if err != nil {
				return err
			}
			s.have += n
			continue
		}
		if kind == frameClose {
			return fmt.Errorf("the gateway closed the connection: %q", body)
		}
		s.have = copy(s.buf, s.buf[size:s.have])
		switch kind {
		case want:
			return nil
		case frameHeartbeat:
			if _, err := s.conn.Write(heartbeatAckFrame); err != nil {
				return err
			}
		}
	}
}
