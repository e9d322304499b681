package bench

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// bareDevices has the connections of a bare server.
type bareDevices struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	row   []net.Conn // conns in some order; nil = conns has changed
	next  int        // index into row

	delivering sync.Mutex   // one delivery at a time
	number     atomic.Int32 // of the current delivery, 1 to 127; acks are counted for it
	acks, want atomic.Int64
	enough     chan struct{} // signaled when acks reaches want
}

func newBareDevices() *bareDevices {
	return &bareDevices{conns: make(map[net.Conn]struct{}), enough: make(chan struct{}, 1)}
}

func (d *bareDevices) add(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[conn], d.row = struct{}{}, nil
}

func (d *bareDevices) remove(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, conn)
	d.row = nil
}

func (d *bareDevices) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// take returns the next n connections in turn; none if there are no connections.
func (d *bareDevices) take(n int) []net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.row == nil {
		d.row = slices.Collect(maps.Keys(d.conns))
	}
	if len(d.row) == 0 {
		return nil
	}
	taken := make([]net.Conn, n)
	for i := range taken {
		d.next = (d.next + 1) % len(d.row)
		taken[i] = d.row[d.next]
	}
	return taken
}

// hangUp closes all connections.
func (d *bareDevices) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.conns {
		conn.Close()
	}
}

var errNoDevices = errors.New("no device is connected")

// deliver writes n payloads to devices in turn and waits for as many acks.
func (d *bareDevices) deliver(ctx context.Context, n int, payload func(int) []byte) error {
	d.delivering.Lock()
	defer d.delivering.Unlock()
	conns := d.take(n)
	if len(conns) < n || n == 0 {
		return errNoDevices
	}
	number := d.number.Load()%127 + 1
	d.number.Store(number) // acks of an abandoned delivery no longer count
	d.acks.Store(0)
	d.want.Store(int64(n))
	select {
	case <-d.enough: // signal of an abandoned delivery
	default:
	}
	var frame []byte
	for i, conn := range conns {
		frame = appendData(frame[:0], uint64(number), payload(i))
		if _, err := conn.Write(frame); err != nil {
			return err
		}
	}
	select {
	case <-d.enough:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// acked counts one ack. Its body begins with the delivery's number.
func (d *bareDevices) acked(body []byte) {
	if len(body) > 0 && int32(body[0]) == d.number.Load() && d.acks.Add(1) == d.want.Load() {
		select {
		case d.enough <- struct{}{}:
		default:
		}
	}
}

// serveDevices accepts until the listener is closed and waits for its
// connections.
func (s *floor) serveDevices(ln net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s.devices.add(conn)
		conns.Go(func() { s.serveDevice(conn) }) // ends when the connection is closed
	}
}

// serveDevice answers frames. It holds one small buffer for each connection.
func (s *floor) serveDevice(conn net.Conn) {
	defer func() {
		s.devices.remove(conn)
		conn.Close()
	}()
	buf := make([]byte, 512) // more than any frame of this program
	for have := 0; have < len(buf); {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		taken, ok := s.answerAll(conn, buf[:have])
		if !ok {
			return
		}
		have = copy(buf, buf[taken:have])
	}
}

// answerAll answers the complete frames in b and returns their size; ok is false to
// end the connection.
func (s *floor) answerAll(conn net.Conn, b []byte) (taken int, ok bool) {
	for {
		kind, flags, body, size, err := nextFrame(b[taken:])
		if err != nil {
			return taken, false
		}
		if size == 0 {
			return taken, true
		}
		taken += size
		if !s.answer(conn, kind, flags, body) {
			return taken, false
		}
	}
}

// bareWelcome is a REGISTER_ACK of the usual size.
var bareWelcome = appendFrame(nil, frameRegisterAck, 0, []byte(`{"session":"ses_01a20316-4a1a-789f-a8cc-53541a34f790",`+
	`"log":"01a20316-4a1a-789f-a8cc-53541a34f790","resumed":true,"heartbeat_ms":3600000,"grace_ms":2000,"window":256,"max_payload":262144}`))

// answer writes the answer to one frame; false ends the connection.
func (s *floor) answer(conn net.Conn, kind, flags byte, body []byte) bool {
	var err error
	switch kind {
	case frameRegister:
		_, err = conn.Write(bareWelcome)
	case frameHeartbeat:
		_, err = conn.Write(heartbeatAckFrame)
	case frameAck:
		s.devices.acked(body)
	case frameData:
		if s.log != nil {
			if err := s.log.append(body); err != nil {
				return false
			}
		}
		var ack []byte
		if ack, err = appendAck(make([]byte, 0, 16), flags, body); err == nil {
			_, err = conn.Write(ack)
		}
	}
	return err == nil
}
