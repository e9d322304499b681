package hostile

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// h2 is a raw HTTP/2 connection to the API, with a codec of its own (RFC 9113)
// that writes what no library would.
type h2 struct {
	*wire
	settings map[uint16]uint32 // of the gateway
}

const (
	h2Data, h2Headers, h2Priority, h2Reset, h2Settings, h2Push, h2Ping, h2GoAway, h2Window, h2Continuation = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9

	endStream, endHeaders, padded, isAck = 1, 4, 8, 1 // flags

	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// Settings and error codes.
const (
	maxStreams, initialWindow, maxFrame = 3, 4, 5

	protocolError, internalError, flowControlError, frameSizeError, refusedStream, cancel, compressionError, enhanceYourCalm = 1, 2, 3, 6, 7, 8, 9, 11
)

func h2frame(kind, flags byte, stream uint32, payload string) string {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

// h2settings is the payload of a SETTINGS frame, from pairs.
func h2settings(pairs ...uint32) string {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return string(b)
}

func h2number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// hpack is a header block of name, value pairs: literals without index and
// without Huffman codes (RFC 7541 §6.2.2).
func hpack(fields ...string) string {
	var b []byte
	for i, s := range fields {
		if i%2 == 0 {
			b = append(b, 0)
		}
		b = append(hpackLength(b, len(s)), s...)
	}
	return string(b)
}

// hpackLength is an integer with a prefix of 7 bits (RFC 7541 §5.1).
func hpackLength(b []byte, n int) []byte {
	const full = 127
	if n < full {
		return append(b, byte(n))
	}
	return binary.AppendUvarint(append(b, full), uint64(n-full))
}

// get is the header block of a GET, with more fields.
func get(path string, more ...string) string {
	return hpack(append([]string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", path}, more...)...)
}

func post(path string, more ...string) string {
	return hpack(append([]string{":method", "POST", ":scheme", "https", ":authority", "localhost", ":path", path}, more...)...)
}

// request is a whole request without a body.
func request(stream uint32, block string) string {
	return h2frame(h2Headers, endHeaders|endStream, stream, block)
}

// h2 connects, says what an honest client says first, and settles.
func (s *site) h2(settings ...uint32) *h2 {
	s.Helper()
	c := s.h2begin()
	_ = c.send(h2Preface + h2frame(h2Settings, 0, 0, h2settings(settings...)) + h2frame(h2Settings, isAck, 0, ""))
	theirs := []byte(c.want(h2Settings, 0))
	for ; len(theirs) >= 6; theirs = theirs[6:] {
		c.settings[binary.BigEndian.Uint16(theirs)] = binary.BigEndian.Uint32(theirs[2:])
	}
	for {
		if kind, flags, _, _ := c.next(); kind == h2Settings && flags == isAck || kind < 0 {
			return c
		}
	}
}

// h2begin connects, and nothing more.
func (s *site) h2begin() *h2 {
	s.Helper()
	conn, err := handshake(s.dialHTTP(), &tls.Config{NextProtos: []string{"h2"}})
	if err != nil {
		s.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		s.Fatalf("the API has chosen %q, want h2", got)
	}
	return &h2{s.wireOn(conn), map[uint16]uint32{}}
}

// next reads one frame, and answers a ping; kind is -1 at the end of the
// connection.
func (c *h2) next() (kind int, flags byte, stream uint32, payload string) {
	c.s.Helper()
	for {
		var head [9]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			if !gone(err) {
				c.s.Fatalf("want a frame: %v\n%s", err, c.s.log)
			}
			return -1, 0, 0, ""
		}
		b := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c.r, b); err != nil && !gone(err) {
			c.s.Fatalf("want a frame: %v\n%s", err, c.s.log)
		}
		if kind, flags = int(head[3]), head[4]; kind != h2Ping || flags == isAck {
			return kind, flags, binary.BigEndian.Uint32(head[5:]), string(b)
		}
		_ = c.send(h2frame(h2Ping, isAck, 0, string(b)))
	}
}

// want reads until a frame of a kind on a stream and returns its payload.
func (c *h2) want(kind int, stream uint32) string {
	c.s.Helper()
	for {
		got, _, id, payload := c.next()
		switch {
		case got == kind && id == stream:
			return payload
		case got < 0 || got == h2GoAway && kind != h2GoAway:
			c.s.Fatalf("want frame %d on stream %d, got the end: %d %x\n%s", kind, stream, got, payload, c.s.log)
		}
	}
}

// body reads the answer on a stream, to its end.
func (c *h2) body(stream uint32) string {
	c.s.Helper()
	var all strings.Builder
	for {
		kind, flags, id, payload := c.next()
		switch {
		case kind < 0 || kind == h2GoAway:
			c.s.Fatalf("want an answer on stream %d, got the end: %d %x\n%s", stream, kind, payload, c.s.log)
		case id != stream:
			continue
		case kind == h2Reset:
			c.s.Fatalf("want an answer on stream %d, got a reset: %x", stream, payload)
		case kind == h2Data:
			all.WriteString(payload)
		}
		if (kind == h2Data || kind == h2Headers) && flags&endStream != 0 {
			return all.String()
		}
	}
}

// wantReset wants a stream to be reset with one of the codes.
func (c *h2) wantReset(stream uint32, codes ...uint32) {
	c.s.Helper()
	if got := binary.BigEndian.Uint32([]byte(c.want(h2Reset, stream))); !slices.Contains(codes, got) {
		c.s.Errorf("stream %d is reset with code %d, want one of %v", stream, got, codes)
	}
}
