package protocol

import "time"

// Message types of the binary dialects (SPEC §3, §4). v1 sends the type byte
// and '#'; v2 starts a frame with it.
const (
	typeRegister     = 0x01 // v1: 01 23 id            v2: JSON
	typeRegisterAck  = 0x02 // v1: 02 23 'o' 'k'       v2: JSON
	typeHeartbeat    = 0x03 // v1: 03 23               v2: empty
	typeHeartbeatAck = 0x04 // v1: 04 23 'h'           v2: empty
	typeData         = 0x05 // v1: 05 23 payload       v2: id uvarint | payload; an ASK has no payload
	typeAck          = 0x06 // v1: 06 23               v2: id uvarint | code u8 | result
	typeClose        = 0x07 // v1: none                v2: code u16 | retry_after_ms u32 | UTF-8 reason
)

// The second byte of a v2 frame (SPEC §4.1): version in the low nibble, flags
// in the high one.
//
//	7   6   5   4   3   2   1   0
//	0   |   |   |   0   0   1   0
//	    |   |   DUP
//	    |   EPHEMERAL
//	    HEAD
const (
	version2      = 0x02
	versionMask   = 0x0f
	flagDup       = 0x10 // redelivery
	flagEphemeral = 0x20 // the id counts in this session only
	flagHead      = 0x40 // with flagDup on DATA: an ASK (SPEC §2.3)
)

// Limits of the wire (SPEC §8), in bytes unless a comment says otherwise.
const (
	maxClientID    = 128
	maxLengthBytes = 4        // of the length uvarint: 2^28-1 at most
	maxRegister    = 8 << 10  // a frame body or a line before registration; a REGISTER or REGISTER_ACK body
	maxLine        = 64 << 10 // a text line without its end
	maxTextPayload = 48_000   // fits a line as base64 with the longest prefix
	maxV1Message   = 128      // the v1 client's read buffer
	maxV1Payload   = 126      // maxV1Message without type and '#'
	maxPendingIn   = 64 << 10 // input kept while the driver decides about a registration
	maxCloseText   = 256      // of a CLOSE; the rest is cut off
	maxLabels      = 32       // entries
	maxLabelKey    = 64       //
	maxLabelValue  = 256      //
	maxGroups      = 32       // entries
	maxGroupName   = 64       //
	maxLogName     = 128      //
	maxMalformed   = 16       // refused text lines in a row; then the session is closed
	maxWireWindow  = 256      // deliveries
	maxWirePayload = 1<<28 - 1 - bodyOverhead
	bodyOverhead   = 16 // id (≤ 10), code (1), rounded up: the part of a body besides the payload
)

// maxDeciding bounds the time by which decisions delay the registration deadline of a
// connection (SPEC §2.1). Without it one connection could repeat a refused REGISTER for
// ever, if decisions take long.
const maxDeciding = time.Minute

// The range of a negotiated heartbeat (SPEC §6).
const (
	MinHeartbeat = time.Second
	MaxHeartbeat = time.Hour
)

// textPatience is the least heartbeat by which a text client is given up until it has
// answered a PING in time, because people type at that end (SPEC §6).
const textPatience = time.Minute
