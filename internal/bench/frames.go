package bench

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
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

	frameVersion   = 2
	flagEphemeral  = 0x20
	maxFrameLength = 1 << 20
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

// nextFrame reads the frame at the start of b; size 0 means that more bytes are
// needed.
func nextFrame(b []byte) (f frame, size int, err error) {
	if len(b) < 3 {
		return f, 0, nil
	}
	length, n := binary.Uvarint(b[2:min(len(b), 6)])
	switch {
	case n == 0 && len(b) < 6:
		return f, 0, nil
	case n <= 0 || length > maxFrameLength || b[1]&0x0f != frameVersion:
		return f, 0, errBrokenFrame
	}
	size = 2 + n + int(length)
	if len(b) < size {
		return f, 0, nil
	}
	return frame{kind: b[0], flags: b[1] &^ 0x0f, body: b[2+n : size]}, size, nil
}

// wire is one end of a connection. One goroutine at a time reads from it.
type wire struct {
	net.Conn
	in  []byte // the start of a frame; its capacity is for reads
	out []byte // answers to be written
}

// each calls answer for every frame until answer returns an error. answer appends to
// out; the answers to frames that came together go out in one write.
func (w *wire) each(answer func(frame) error) error {
	for {
		taken, err := 0, error(nil)
		for err == nil {
			f, size, broken := nextFrame(w.in[taken:])
			if err = broken; size == 0 {
				break
			}
			taken += size
			if err = answer(f); f.kind == frameClose {
				err = fmt.Errorf("the other end closed the connection: %q", f.body)
			}
		}
		w.in = w.in[:copy(w.in, w.in[taken:])]
		if len(w.out) > 0 {
			_, failed := w.Write(w.out)
			w.out, err = w.out[:0], cmp.Or(err, failed)
		}
		if err != nil {
			return err
		}
		w.in = slices.Grow(w.in, 1) // a longer frame; its length was checked
		n, err := w.Read(w.in[len(w.in):cap(w.in)])
		if err != nil {
			return err
		}
		w.in = w.in[:len(w.in)+n]
	}
}

var errCame = errors.New("the frame has come")

// await reads until a frame of this kind has come. It answers heartbeats.
func (w *wire) await(kind byte) error {
	err := w.each(func(f frame) error {
		switch f.kind {
		case kind:
			return errCame
		case frameHeartbeat:
			w.out = append(w.out, heartbeatAckFrame...)
		}
		return nil
	})
	if err == errCame {
		return nil
	}
	return err
}

// exchange sends frames and waits for the answer of this kind.
func (w *wire) exchange(frames []byte, kind byte) error {
	if _, err := w.Write(frames); err != nil {
		return err
	}
	return w.await(kind)
}
