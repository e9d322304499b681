package protocol

import (
	"encoding/binary"
	"time"
)

// frame is one v2 frame (SPEC §4.1):
//
//	type u8 | version u8 | length uvarint | body
//
// Integers are big-endian. body borrows from the input.
type frame struct {
	typ   byte
	flags byte // flagDup | flagEphemeral | flagHead
	body  []byte
}

// appendFrameHeader appends everything before a body of n bytes.
func appendFrameHeader(b []byte, typ, flags byte, n int) []byte {
	b = append(b, typ, version2|flags)
	return binary.AppendUvarint(b, uint64(n))
}

// parseFrame reads the frame at the start of b. n is its size; 0 without an error
// means that more bytes are needed. The length is checked as soon as it is
// complete: the session does not wait for a body longer than maxBody.
func parseFrame(b []byte, maxBody int) (f frame, n int, err *wireError) {
	if len(b) >= 1 && (b[0] < typeRegister || b[0] > typeClose) {
		return f, 0, broken(ReasonProtocolError, "unknown frame type 0x%02x", b[0])
	}
	if len(b) < 2 {
		return f, 0, nil
	}
	if b[1]&versionMask != version2 {
		return f, 0, broken(ReasonProtocolError, "unknown frame version %d", b[1]&versionMask)
	}
	length, ln, ok := parseUvarint(b[2:], maxLengthBytes)
	if !ok {
		return f, 0, broken(ReasonProtocolError, "frame length is not a minimal uvarint of at most %d bytes", maxLengthBytes)
	}
	if ln == 0 {
		return f, 0, nil
	}
	if length > uint64(maxBody) {
		return f, 0, broken(ReasonFrameTooLarge, "frame body of %d bytes, at most %d", length, maxBody)
	}
	head := 2 + ln
	end := head + int(length)
	if len(b) < end {
		return f, 0, nil
	}
	return frame{b[0], b[1] & (flagDup | flagEphemeral | flagHead), b[head:end:end]}, end, nil
}

// parseUvarint reads an LEB128 number of at most maxBytes bytes. n is its size, 0
// if more bytes are needed. ok is false if it is too long or not minimal (SPEC
// §4.2).
func parseUvarint(b []byte, maxBytes int) (v uint64, n int, ok bool) {
	for i := range min(len(b), maxBytes) {
		c := b[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, 0, false // beyond 64 bits
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1, c != 0 || i == 0
		}
	}
	return 0, 0, len(b) < maxBytes
}

// uvarintLen returns how many bytes v takes.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// parseV2 reads the frame at the start of b. After a bad frame nothing can be
// read.
func parseV2(b []byte, r reading) (m message, n int, err *wireError) {
	limit := maxRegister
	if r.open {
		limit = max(limit, r.payload+bodyOverhead) // SPEC §8
	}
	f, n, err := parseFrame(b, limit)
	if n == 0 {
		return m, 0, err
	}
	if m, err = decodeFrame(f, r.ask); err != nil {
		return m, 0, err
	}
	return m, n, nil
}

// checkV2Register returns why r cannot be sent.
func checkV2Register(r *Register) *wireError {
	_, err := decodeRegister(encodeRegister(r))
	return err
}

// appendV2 appends m as a v2 frame.
func appendV2(b []byte, m message) []byte {
	var flags byte
	if m.dup {
		flags |= flagDup
	}
	if m.ephemeral {
		flags |= flagEphemeral
	}
	if m.head {
		flags |= flagHead
	}
	switch m.kind {
	case typeData:
		b = appendFrameHeader(b, m.kind, flags, uvarintLen(m.seq)+len(m.payload))
		b = binary.AppendUvarint(b, m.seq)
		return append(b, m.payload...)
	case typeAck:
		b = appendFrameHeader(b, m.kind, flags, uvarintLen(m.seq)+1+len(m.payload))
		b = binary.AppendUvarint(b, m.seq)
		b = append(b, byte(m.code))
		return append(b, m.payload...)
	case typeClose:
		text := closeText(*m.close)
		b = appendFrameHeader(b, m.kind, flags, 6+len(text))
		b = binary.BigEndian.AppendUint16(b, uint16(m.close.Code))
		b = binary.BigEndian.AppendUint32(b, uint32(retryMillis(*m.close)))
		return append(b, text...)
	case typeRegister:
		return appendBody(b, m.kind, encodeRegister(m.register))
	case typeRegisterAck:
		return appendBody(b, m.kind, encodeRegistered(m.accepted))
	}
	return appendFrameHeader(b, m.kind, flags, 0)
}

func appendBody(b []byte, typ byte, body []byte) []byte {
	b = appendFrameHeader(b, typ, 0, len(body))
	return append(b, body...)
}

// decodeFrame reads the body of f (SPEC §4.1). It accepts an ASK, and the codes
// that answer one, only if ask is set: both ends have agreed on them.
func decodeFrame(f frame, ask bool) (m message, err *wireError) {
	m.kind = f.typ
	m.dup = f.flags&flagDup != 0
	m.ephemeral = f.flags&flagEphemeral != 0
	m.head = f.flags&flagHead != 0
	switch f.typ {
	case typeRegister:
		m.register, err = decodeRegister(f.body)
	case typeRegisterAck:
		m.accepted, err = decodeRegistered(f.body)
	case typeHeartbeat, typeHeartbeatAck:
		if len(f.body) != 0 {
			err = broken(ReasonProtocolError, "a heartbeat has no body")
		}
	case typeData:
		m.seq, m.payload, err = decodeSeq(f.body)
		if err == nil && m.head {
			err = checkAsk(&m, ask)
		}
	case typeAck:
		m.seq, m.payload, err = decodeSeq(f.body)
		if err != nil {
			return m, err
		}
		most := AckRetry
		if ask {
			most = AckWorking
		}
		if len(m.payload) == 0 || m.payload[0] > byte(most) {
			return m, broken(ReasonProtocolError, "ack without a code of 0 to %d", most)
		}
		m.code, m.payload = AckCode(m.payload[0]), m.payload[1:]
	case typeClose:
		m.close, err = decodeClose(f.body)
	}
	return m, err
}

func decodeSeq(body []byte) (seq uint64, rest []byte, err *wireError) {
	seq, n, ok := parseUvarint(body, binary.MaxVarintLen64)
	if !ok || n == 0 || seq == 0 {
		return 0, nil, broken(ReasonProtocolError, "id is not a minimal uvarint above 0")
	}
	return seq, body[n:], nil
}

func decodeClose(body []byte) (*Close, *wireError) {
	if len(body) < 6 {
		return nil, broken(ReasonProtocolError, "close body of %d bytes, at least 6", len(body))
	}
	return &Close{
		Code:       CloseCode(binary.BigEndian.Uint16(body)),
		RetryAfter: time.Duration(binary.BigEndian.Uint32(body[2:])) * time.Millisecond,
		Text:       cutText(string(body[6:])),
	}, nil
}
