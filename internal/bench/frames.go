package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A simulated client speaks just enough of the dialect v2 (protocol/SPEC.md §4)
// to be a good one, with as little CPU time as can be: its cores are those of
// the gateway under test.
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

// registerFrame asks for heartbeats once in an hour, so that they are not in
// the measurements, and for a wide window.
func registerFrame(id string) []byte {
	body := fmt.Sprintf(`{"id":%q,"heartbeat_ms":3600000,"window":256}`, id)
	b := binary.AppendUvarint([]byte{frameRegister, frameVersion}, uint64(len(body)))
	return append(b, body...)
}

var errBrokenFrame = errors.New("the gateway sent a broken frame")

// nextFrame cuts one frame off b; size 0 means that more bytes are needed.
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

// appendAck answers a DATA frame with ok.
func appendAck(b []byte, flags byte, data []byte) ([]byte, error) {
	_, n := binary.Uvarint(data)
	if n <= 0 {
		return b, errBrokenFrame
	}
	b = append(b, frameAck, frameVersion|flags&flagEphemeral, byte(n+1))
	b = append(b, data[:n]...)
	return append(b, 0), nil
}
