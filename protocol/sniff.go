package protocol

import (
	"bytes"
	"fmt"
)

// sniff learns the dialect from the first bytes (SPEC §1). It returns false if
// they are too few, or if it has closed the session because of them.
//
//	01–06 '#'          v1
//	01, 03–07 x2       v2; anything but a REGISTER or CLOSE is answered not_registered
//	letter or newline  text; a first line that is HTTP or PROXY is found there
//	16 03              TLS: closed, because the driver has TLS off
//	0d 0a 0d 0a 00 …   PROXY v2, likewise
func (s *Session) sniff(b []byte) bool {
	first := b[0]
	switch {
	case isLetter(first), first == '\n':
		s.speak(Text)
		return true
	case first == '\r':
		return s.sniffReturn(b)
	case len(b) == 1 && (typeRegister <= first && first <= typeClose || first == tlsHandshake):
		return false
	case isV1Start(b):
		s.speak(V1)
		return true
	case typeRegister <= first && first <= typeClose && first != typeRegisterAck && b[1]&versionMask == version2:
		s.speak(V2)
		return true
	case first == tlsHandshake && b[1] == tlsMajor:
		s.fail(broken(ReasonTLSUnsupported, "this port does not expect TLS"))
	default:
		s.fail(stranger(b))
	}
	return false
}

// stranger describes first bytes of no dialect to the operator. The peer gets no answer,
// because it would not read one.
func stranger(b []byte) *wireError {
	switch start := b[:min(len(b), 16)]; {
	case start[0] == mqttConnect && (bytes.Contains(start, []byte("MQTT")) || bytes.Contains(start, []byte("MQIsdp"))):
		return broken(ReasonProtocolError, "MQTT on the device port")
	case start[0] == '{', start[0] == '[':
		return broken(ReasonProtocolError, "JSON without a frame on the device port")
	default:
		return broken(ReasonProtocolError, "not a device protocol: it begins with % x", b[:min(len(b), 8)])
	}
}

// Unspoken reports whether the peer has spoken no dialect, yet or at all.
func (s *Session) Unspoken() bool { return s.traits == unspoken }

const mqttConnect = 0x10 // type and flags of the first packet of an MQTT client

const (
	tlsHandshake = 0x16 // content type of the record that carries a ClientHello
	tlsMajor     = 0x03
)

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// sniffReturn distinguishes a PROXY v2 header from an Enter key.
func (s *Session) sniffReturn(b []byte) bool {
	n := min(len(b), len(proxySignature))
	switch {
	case !bytes.Equal(b[:n], proxySignature[:n]):
		if b[1] == '\n' {
			s.speak(Text)
			return true
		}
		s.fail(stranger(b))
	case n == len(proxySignature):
		s.fail(broken(ReasonProxyUnexpected, "PROXY header where none is expected"))
	}
	return false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// foreignLine recognizes other protocols in a line that is not a command before
// registration, and closes the session. Their clients do not read ERROR lines.
func (s *Session) foreignLine(line []byte, e *wireError) bool {
	if s.role != Server || s.state != awaiting || e.reason != ReasonUnknownCommand {
		return false
	}
	switch {
	case bytes.Contains(line, []byte(" HTTP/")):
		w := s.busy()
		w.out = append(w.out, httpAnswer...)
		s.traits = unspoken // no CLOSE line
		s.fail(broken(ReasonHTTPRequest, "HTTP on the device port"))
	case bytes.HasPrefix(line, []byte("PROXY ")):
		s.traits = unspoken
		s.fail(broken(ReasonProxyUnexpected, "PROXY header where none is expected"))
	default:
		return false
	}
	return true
}

var httpAnswer = func() string {
	const text = "This is the device port: it speaks the Longwire device protocol, not HTTP.\n" +
		"The HTTP API listens on another port, 8080 by default: try /swagger/ or /v1/clients there.\n"
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}()
