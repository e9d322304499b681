package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A simulated client speaks the part of dialect v2 (protocol/SPEC.md §4) that a
// correct client needs, with as little CPU time as possible: it shares the cores
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
	heartbeatFrame    = []byte{frameHeartbeat, frameVersion, 0}
	heartbeatAckFrame = []byte{frameHeartbeatAck, frameVersion, 0}
)

// registerFrame asks for a wide window, so that the client's window does not limit
// the gateway.
func registerFrame(id string, heartbeat time.Duration) []byte {
	body := fmt.Sprintf(`{"id":%q,"heartbeat_ms":%d,"window":256}`, id, heartbeat.Milliseconds())
	return appendFrame(nil, frameRegister, 0, []byte(body))
}

// appendFrame adds one frame.
func appendFrame(b []byte, kind, flags byte, body []byte) []byte {
	b = append(b, kind, frameVersion|flags)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

var errBrokenFrame = errors.New("the gateway sent a broken frame")

// nextFrame reads the frame at the start of b; size 0 means that more bytes are
// needed.
func nextFrame(b []byte) (kind, flags byte, body []byte, size int, err error) {
	if len(b) < 3 {
		return 0, 0, nil, 0, nil
	}
	length, n := binary.Uvarint(b[2:min(len(b), 6)])
	switch {
	case n == 0 && len(b) < 6:
		return 0, 0, nil, 0, nil
	case n <= 0 || length > maxFrameLength || b[1]&0x0f != frameVersion:
		return 0, 0, nil, 0, errBrokenFrame
	}
	size = 2 + n + int(length)
	if len(b) < size {
		return 0, 0, nil, 0, nil
	}
	return b[0], b[1] &^ 0x0f, b[2+n : size], size, nil
}

// appendAck appends an ok for a DATA frame.
func appendAck(b []byte, flags byte, data []byte) ([]byte, error) {
	_, n := binary.Uvarint(data)
	if n <= 0 {
		return b, errBrokenFrame
	}
	b = append(b, frameAck, frameVersion|flags&flagEphemeral, byte(n+1))
	b = append(b, data[:n]...)
	return append(b, 0), nil
}

// appendData appends a DATA frame, from a device or to one.
func appendData(b []byte, id uint64, payload []byte) []byte {
	var number [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(number[:], id)
	b = append(b, frameData, frameVersion)
	b = binary.AppendUvarint(b, uint64(n+len(payload)))
	b = append(b, number[:n]...)
	return append(b, payload...)
}
