package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Both ends of the load speak the part of dialect v2 (protocol/SPEC.md §4) that a
// correct client needs, with as little CPU time as possible: they share the cores
// with the gateway under test.
const (
	frameRegister     = 1
	frameRegisterAck  = 2
	frameHeartbeat    = 3
	frameHeartbeatAck = 4
	frameData         = 5
	frameAck          = 6
	frameClose        = 7

	frameVersion  = 2
	flagEphemeral = 0x20
)

var (
	heartbeatFrame    = appendFrame(nil, frameHeartbeat, 0, nil)
	heartbeatAckFrame = appendFrame(nil, frameHeartbeatAck, 0, nil)
)

// frame is one unit on the wire. Its body is valid until the next read.
type frame struct {
	kind, flags byte
	body        []byte
}

// appendFrame adds a frame whose body has two parts.
func appendFrame(b []byte, kind, flags byte, start []byte, rest ...byte) []byte {
	b = append(b, kind, frameVersion|flags)
	b = binary.AppendUvarint(b, uint64(len(start)+len(rest)))
	return append(append(b, start...), rest...)
}

// registerFrame asks for a wide window, so that the client's window does not limit
// the gateway.
func registerFrame(id string, heartbeat time.Duration) []byte {
	return appendFrame(nil, frameRegister, 0, fmt.Appendf(nil, `{"id":%q,"heartbeat_ms":%d,"window":256}`, id, heartbeat.Milliseconds()))
}

// appendData appends a DATA frame, from a device or to one.
func appendData(b []byte, id uint64, payload []byte) []byte {
	var number [binary.MaxVarintLen64]byte
	return appendFrame(b, frameData, 0, binary.AppendUvarint(number[:0], id), payload...)
}

// appendAck appends an ok for a DATA frame.
func appendAck(b []byte, data frame) ([]byte, error) {
	_, n := binary.Uvarint(data.body)
	if n <= 0 {
		return b, errBrokenFrame
	}
	return appendFrame(b, frameAck, data.flags&flagEphemeral, data.body[:n], 0), nil
}

var errBrokenFrame = errors.New("the other end sent a broken frame")

// wire is one end of a connection. One goroutine at a time reads from it.
type wire struct {
	net.Conn
	in  *bufio.Reader // of Read
	out []byte        // answers to be written
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	w.in = bufio.NewReaderSize(w, 512) // more than any frame of a measurement; a longer one is broken
	return w
}

// Read first writes the answers, so that those to frames that came together go out in
// one write.
func (w *wire) Read(b []byte) (int, error) {
	if len(w.out) > 0 {
		if _, err := w.Write(w.out); err != nil {
			return 0, err
		}
		w.out = w.out[:0]
	}
	return w.Conn.Read(b)
}

// next reads a frame. A CLOSE is an error.
func (w *wire) next() (f frame, err error) {
	head, err := w.in.Peek(2)
	if err != nil {
		return f, err
	}
	version := head[1] & 0x0f
	f.kind, f.flags = head[0], head[1]&^0x0f
	_, _ = w.in.Discard(len(head))
	length, err := binary.ReadUvarint(w.in)
	switch {
	case err != nil:
		return f, err
	case length > uint64(w.in.Size()) || version != frameVersion:
		return f, errBrokenFrame
	}
	f.body, err = w.in.Peek(int(length))
	_, _ = w.in.Discard(len(f.body))
	if err == nil && f.kind == frameClose {
		err = fmt.Errorf("the other end closed the connection: %q", f.body)
	}
	return f, err
}

// each calls answer for every frame until answer returns an error. answer appends to
// out.
func (w *wire) each(answer func(frame) error) error {
	for {
		f, err := w.next()
		if err == nil {
			err = answer(f)
		}
		if err != nil {
			return err
		}
	}
}

// exchange sends frames and waits for the answer of this kind. It answers heartbeats.
func (w *wire) exchange(frames []byte, kind byte) error {
	if _, err := w.Write(frames); err != nil {
		return err
	}
	for {
		f, err := w.next()
		if err != nil || f.kind == kind {
			return err
		}
		if f.kind == frameHeartbeat {
			w.out = append(w.out, heartbeatAckFrame...)
		}
	}
}
